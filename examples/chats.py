"""
List, rename, hide, export, import and delete chats.

    python examples/chats.py

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from oa_client import Client, Transcript


def main() -> None:
    """Make a chat, manage it, and make another from its export."""
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        chat = client.create_chat(sampling={"max_new_tokens": 30})
        other = client.create_chat(sampling={"max_new_tokens": 30})
        try:
            chat.ask("Why is the sky blue?")
            chat.rename("The sky")
            chat.allow_data_use(False)
            info = chat.info()
            print(f"title: {info.title}; may be used for training: {info.allow_data_use}")

            chat.hide()
            shown = chat.id in [item.id for item in client.list_chats()]
            hidden = chat.id in [item.id for item in client.list_chats(include_hidden=True)]
            print(f"hidden: listed {shown}, listed with the hidden ones {hidden}")
            chat.show()

            print("the newest chats:")
            for page in client.list_chats().pages():
                for item in page.chats[:5]:
                    print(f"  {item.created_at:%Y-%m-%d}  {item.title or '(empty)'}")
                break

            for format in ("json", "markdown"):
                file = Path(folder, f"sky.{format}")
                file.write_text(chat.export(format), encoding="utf-8")
                transcript = Transcript.parse(file.read_text(encoding="utf-8"))
                print(f"{format}: {transcript.chat.title!r}, {len(transcript.messages)} messages")

            other.ask(transcript.followed_by("And at night?"))
            print("imported:", len(other.messages()), "messages")
        finally:
            for each in (chat, other):
                print("deleted at once:", each.delete())


if __name__ == "__main__":
    main()
