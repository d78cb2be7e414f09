"""
Hold a conversation, look at it as a tree, and go on from another place.

    python examples/conversations.py

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one.
"""

from __future__ import annotations

from oa_client import Chat, Client


def show(chat: Chat) -> None:
    """Print the branch in use, a line for each message."""
    for message in chat.thread():
        first_line = str(message).partition("\n")[0]
        print(f"  {message.role:9}  {first_line[:60]}")


def main() -> None:
    """Say something, edit it, have it answered twice, and choose."""
    with Client() as client:
        chat = client.create_chat(system_prompt="Answer in one sentence.", sampling={"max_new_tokens": 40})
        try:
            print("Two turns:")
            chat.ask("What is the capital of France?")
            for text in chat.stream("And of Italy?"):
                print(text, end="", flush=True)
            print()
            show(chat)

            print("The second prompt, edited:")
            prompt = chat.thread()[2]
            chat.edit(prompt, "And of Spain?").finish()
            show(chat)

            print("A second draft of the answer, with the first one selected:")
            draft = chat.regenerate(sampling={"temperature": 1.2, "max_new_tokens": 40}).finish()
            first, second = chat.branches(draft)
            chat.select(first)
            print("  the end is the first draft:", chat.thread()[-1] == first != second)

            print("After the answer that the edit replaced, by the id of the chat:")
            again = client.open_chat(chat.id, sampling={"max_new_tokens": 40})
            old_answer = next(message for message in again.messages() if message.parent_id == prompt.id)
            again.ask("And of Germany?", parent=old_answer)
            show(again)
        finally:
            chat.delete()


if __name__ == "__main__":
    main()
