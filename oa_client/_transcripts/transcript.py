"""The export of a chat as JSON or Markdown, and its import."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from oa_client._transcripts.tree import Tree
from oa_client._values.argument import show
from oa_client._values.chat import ChatInfo
from oa_client._values.errors import ConfigurationError, ProtocolError
from oa_client._values.json_object import SURROGATE
from oa_client._values.message import Message

FORMAT = "oa-client chat"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Transcript:
    """
    A chat with all its messages, to be kept in a file and read again.

    ```python
    Path("chat.md").write_text(transcript.to_markdown(), encoding="utf-8")
    again = Transcript.parse(Path("chat.md").read_text(encoding="utf-8"))
    for text in client.stream(again.followed_by("And at night?")):
        print(text, end="", flush=True)
    ```

    Attributes:
        chat: the chat itself.
        messages: in any order; their `parent_id` links them to a tree.
        ends_at_tail: whether the active thread ends at the chat's `active_thread_tail_message_id`, as in an export by
            `Chat.export`; otherwise it goes on to the newest messages below.
    """

    chat: ChatInfo
    messages: tuple[Message, ...] = ()
    ends_at_tail: bool = False

    @classmethod
    def parse(cls, text: str) -> Transcript:
        """
        Read the text of `to_json` (which starts with "{") or `to_markdown`; skip a byte order mark.

        Markdown gives the chat's id and title, and the messages of its active thread, each linked to the one before,
        with id, role, state and content.

        Raises:
            ConfigurationError: if it is neither, is cut short, or comes from a later version; names the line or key.
        """
        if not isinstance(text, str):
            raise ConfigurationError(f"transcript: must be a string, not {type(text).__name__}")
        text = text.removeprefix("\ufeff")
        return _parse_json(text) if text.lstrip()[:1] == "{" else _parse_markdown(text)

    def to_json(self) -> str:
        """
        Return the JSON text that `parse` reads back to an equal value, with a line for each field.

        Raises:
            ConfigurationError: if a value is not JSON, or is nested too deep.
        """
        document = {
            "format": FORMAT,
            "version": VERSION,
            "ends_at_tail": self.ends_at_tail,
            "chat": self.chat.to_json(),
            "messages": [message.to_json() for message in self.messages],
        }
        try:
            text = json.dumps(document, ensure_ascii=False, indent=2)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"transcript: a value in it is not JSON: {error}") from error
        # Halves of surrogate pairs occur only in strings, and cannot be encoded.
        return SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"

    def to_markdown(self) -> str:
        """
        Return the active thread for people to read: the title, and a heading and the text for each message.

        `parse` finds the messages again by comments, which Markdown does not show.
        """
        # Imported late: its patterns take some milliseconds to compile.
        from oa_client._transcripts.markdown import write_markdown

        return write_markdown(VERSION, self.chat, self.thread())

    def thread(self) -> list[Message]:
        """Return the messages of the active thread, from the first prompt on."""
        tree = Tree(self.messages, self.chat.active_thread_tail_message_id)
        return tree.path(tree.tail_id) if self.ends_at_tail and tree.tail_id is not None else tree.thread()

    def followed_by(self, text: str) -> list[dict[str, str]]:
        """
        Return the turns of the active thread and a new prompt, for `Client.stream`.

        A prompt without a complete answer, or with an empty one, is left out.
        """
        turns: list[dict[str, str]] = []
        prompt = None
        for message in self.thread():
            if message.role == "prompter":
                prompt = message
                continue
            if prompt and prompt.content and message.content and message.state == "complete":
                turns.append({"role": "user", "content": prompt.content})
                turns.append({"role": "assistant", "content": message.content})
            prompt = None
        return [*turns, {"role": "user", "content": text}]


def _parse_json(text: str) -> Transcript:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"transcript: {where}: not JSON: {error.msg}") from error
    except ValueError as error:
        raise ConfigurationError("transcript: a number in it is too long") from error
    except RecursionError as error:
        raise ConfigurationError("transcript: it is nested too deep") from error
    if document.get("format") != FORMAT:
        raise ConfigurationError(f"transcript: format must be {FORMAT!r}, not {show(document.get('format'))}")
    _check_version("version", document.get("version"))
    ends_at_tail = document.get("ends_at_tail", False)
    if not isinstance(ends_at_tail, bool):
        raise ConfigurationError(f"transcript: ends_at_tail must be true or false, not {show(ends_at_tail)}")
    messages = document.get("messages")
    if not isinstance(messages, list):
        raise ConfigurationError(f"transcript: messages must be a list, not {type(messages).__name__}")
    chat = _read("chat", ChatInfo, document.get("chat"))
    read = tuple(_read(f"messages[{at}]", Message, item) for at, item in enumerate(messages))
    return Transcript(chat, read, ends_at_tail)


def _parse_markdown(text: str) -> Transcript:
    from oa_client._transcripts.markdown import read_markdown

    (line, data), *turns = read_markdown(text, _check_version)
    chat: ChatInfo = _read(f"line {line}", ChatInfo, data)
    messages: dict[str, Message] = {}
    for line, data in turns:
        links = {"chat_id": chat.id, "parent_id": next(reversed(messages), None)}
        message: Message = _read(f"line {line}", Message, {**data, **links})
        if message.id in messages:
            raise ConfigurationError(f"transcript: line {line}: a second message has the id {show(message.id)}")
        messages[message.id] = message
    return Transcript(chat, tuple(messages.values()))


def _check_version(where: str, version: Any) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigurationError(f"transcript: {where}: a version is a number of 1 or more, not {show(version)}")
    if version > VERSION:
        words = f"version {show(version)} is newer than {VERSION}, the newest that this oa-client reads: upgrade it"
        raise ConfigurationError(f"transcript: {where}: {words}")


def _read(where: str, cls: Any, data: Any) -> Any:
    try:
        return cls.from_json(data)
    except ProtocolError as error:
        # The place says more than the noun at the start.
        words = str(error).partition(": ")[2]
        raise ConfigurationError(f"transcript: {where}: {words}") from error
