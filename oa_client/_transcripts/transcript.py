"""The export of a chat, as JSON or Markdown, and how it is read again."""

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
        messages: in any order: they are a tree, linked by their `parent_id`.
        ends_at_tail: whether the active thread ends at the chat's `active_thread_tail_message_id`, as one that
            `Chat.export` wrote does; else it goes on to the newest messages below.
    """

    chat: ChatInfo
    messages: tuple[Message, ...] = ()
    ends_at_tail: bool = False

    @classmethod
    def parse(cls, text: str) -> Transcript:
        """
        Read what `to_json` or `to_markdown` wrote; the first starts with "{". A byte order mark is skipped.

        From Markdown come the chat's id and title, and the messages of its active thread, each linked to the one
        before, with id, role, state and content.

        Raises:
            ConfigurationError: if it is neither, is cut short, or comes from a later version; says where, by line or
                key.
        """
        if not isinstance(text, str):
            raise ConfigurationError(f"transcript: must be a string, not {type(text).__name__}")
        text = text.removeprefix("\ufeff")
        return _parse_json(text) if text.lstrip()[:1] == "{" else _parse_markdown(text)

    def to_json(self) -> str:
        """
        Return the JSON text that `parse` reads back to an equal value, with a line for each field.

        Raises:
            ConfigurationError: if a value that did not come from a server is no JSON, or one is nested too deep.
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
            raise ConfigurationError(f"transcript: a value in it is no JSON: {error}") from error
        # Halves of surrogate pairs stand only in strings, and cannot be encoded.
        return SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"

    def to_markdown(self) -> str:
        """
        Return the active thread for people to read: the title, and a heading and the text for each message.

        The marks by which `parse` finds its way, whatever the texts hold, are comments that Markdown does not show.
        """
        # Not before it is needed, as its patterns take some milliseconds to compile.
        from oa_client._transcripts.markdown import write_markdown

        return write_markdown(VERSION, self.chat, self.thread())

    def thread(self) -> list[Message]:
        """Return the messages of the active thread, from the first prompt on, as the chat's tail and times say."""
        tree = Tree(self.messages, self.chat.active_thread_tail_message_id)
        return tree.path(tree.tail_id) if self.ends_at_tail and tree.tail_id is not None else tree.thread()

    def followed_by(self, text: str) -> list[dict[str, str]]:
        """
        Return the messages for `Client.stream` that go on with the active thread: its turns, and a new prompt.

        A turn is a prompt with its complete answer; what has none, or an empty one, is left out.
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
        raise ConfigurationError(f"transcript: {where}: {show(version)} is no version")
    if version > VERSION:
        words = f"version {show(version)} is newer than {VERSION}, the newest that this oa-client reads: upgrade it"
        raise ConfigurationError(f"transcript: {where}: {words}")


def _read(where: str, cls: Any, data: Any) -> Any:
    try:
        return cls.from_json(data)
    except ProtocolError as error:
        # Where it is says more than the noun at the start.
        words = str(error).partition(": ")[2]
        raise ConfigurationError(f"transcript: {where}: {words}") from error
