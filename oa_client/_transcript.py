"""The export of a chat, as JSON or Markdown, and how it is read again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ._errors import ConfigurationError, ProtocolError
from ._models import SURROGATE, ChatInfo, Message, show
from ._tree import Tree

FORMAT = "oa-client chat"
VERSION = 1

#: The heading of a turn, by role.
_HEADINGS = {"prompter": "User", "assistant": "Assistant"}
#: characters of a title that fit in a heading.
_TITLE_LIMIT = 100

_END = "<!-- oa-client end -->"
_MARK = re.compile(r"<!-- oa-client (?:(chat|message) (\{.*\})|end) -->\s*")
#: What starts a mark, or a line of a text that is none: that gets one backslash more, which Markdown does not show.
_MARK_START = re.compile(r"^(\\*)(?=<!-- oa-client\b)", re.MULTILINE)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


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
    """

    chat: ChatInfo
    messages: tuple[Message, ...] = ()

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
        title = _one_line(self.chat.title or "")[:_TITLE_LIMIT] or "Chat"
        mark: dict[str, Any] = {"version": VERSION, "id": self.chat.id}
        if title != self.chat.title:
            mark["title"] = self.chat.title
        lines = [_mark("chat", mark), "", f"# {title}", ""]
        for message in self.thread():
            lines += _message_lines(message)
        return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", "\n".join([*lines, _END, ""]))

    def thread(self) -> list[Message]:
        """Return the messages of the active thread, from the first prompt on, as the chat's tail and times say."""
        return Tree(self.messages, self.chat.active_thread_tail_message_id).thread()

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
    messages = document.get("messages")
    if not isinstance(messages, list):
        raise ConfigurationError(f"transcript: messages must be a list, not {type(messages).__name__}")
    chat = _read("chat", ChatInfo, document.get("chat"))
    return Transcript(chat, tuple(_read(f"messages[{at}]", Message, item) for at, item in enumerate(messages)))


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


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _usual_state(role: object) -> str:
    return "manual" if role == "prompter" else "complete"


def _mark(kind: str, data: Mapping[str, Any]) -> str:
    # Nothing in a comment may end it.
    text = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e")
    return f"<!-- oa-client {kind} {text} -->"


def _message_lines(message: Message) -> list[str]:
    mark: dict[str, Any] = {"id": message.id, "role": message.role}
    if message.state != _usual_state(message.role):
        mark["state"] = message.state
    heading = _HEADINGS.get(message.role) or _one_line(message.role) or "Message"
    if message.content is None:
        mark["content"] = None
        lines = [f"*No text: {_one_line(message.state)}.*"]
    else:
        # Editors and files change line ends, so all are written alike, and the mark says what they were.
        ends = _NEWLINE.findall(message.content)
        if set(ends) - {"\n"}:
            mark["newlines"] = ends[0] if len(set(ends)) == 1 else ends
        text = _NEWLINE.sub("\n", message.content)
        fence = _open_fence(text)
        lines = _MARK_START.sub(r"\\\1", text).split("\n")
        if fence:
            mark["fence"] = fence
            lines.append(fence)
    return [_mark("message", mark), f"## {heading}", "", *lines, ""]


def _open_fence(text: str) -> str:
    """Return what closes the block of code that a text leaves open, or "": all that follows would be shown in it."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not found:
            continue
        run, rest = found.groups()
        if not fence:
            fence = run if run[0] == "~" or "`" not in rest else ""
        elif run.startswith(fence) and not rest.strip():
            fence = ""
    return fence


class _Section(NamedTuple):
    """
    A mark, and the lines up to the next.

    Attributes:
        line: the number of the mark's line.
        kind: "chat", "message" or "end".
        mark: the JSON object in it.
        body: without line ends.
    """

    line: int
    kind: str
    mark: dict[str, Any]
    body: list[str]

    def error(self, words: str, below: int = 0) -> ConfigurationError:
        """Return an error that says where: at the mark, or some lines below it."""
        return ConfigurationError(f"transcript: line {self.line + below}: {words}")


def _parse_markdown(text: str) -> Transcript:
    first, *sections, last = _read_sections(text)
    chat = _read_chat(first)
    messages: dict[str, Message] = {}
    parent_id = None
    for section in sections:
        message = _read_message(section, chat.id, parent_id)
        if message.id in messages:
            raise section.error(f"a second message has the id {show(message.id)}")
        messages[message.id] = message
        parent_id = message.id
    for below, line in enumerate(last.body, 1):
        if line.strip():
            raise last.error(f"there is text after the end: {show(line)}", below)
    return Transcript(chat, tuple(messages.values()))


def _read_sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    lines = _NEWLINE.sub("\n", text).split("\n")
    for number, line in enumerate(lines, 1):
        found = _MARK_START.match(line)
        if found and not found[1]:
            sections.append(_read_mark(number, line))
            if (sections[-1].kind == "chat") != (len(sections) == 1):
                raise sections[-1].error(f"the mark of a chat must come first, and once: {show(line)}")
            if len(sections) > 1 and sections[-2].kind == "end":
                raise sections[-1].error(f"there is a mark after the end: {show(line)}")
        elif sections:
            sections[-1].body.append(line)
        elif line.strip():
            words = f"a chat that oa-client wrote does not start with {show(line)}"
            raise ConfigurationError(f"transcript: line {number}: {words}")
    if not sections:
        raise ConfigurationError("transcript: line 1: the text is empty")
    if sections[-1].kind != "end":
        raise ConfigurationError(f"transcript: line {len(lines)}: the mark {_END} is missing: is the text cut short?")
    return sections


def _read_mark(number: int, line: str) -> _Section:
    found = _MARK.fullmatch(line)
    if not found:
        raise ConfigurationError(f"transcript: line {number}: not a mark of oa-client, or a damaged one: {show(line)}")
    kind, data = found.groups()
    try:
        return _Section(number, kind or "end", json.loads(data or "{}"), [])
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"transcript: line {number}: not JSON: {show(data)}") from error


def _read_chat(section: _Section) -> ChatInfo:
    where = f"line {section.line}"
    _check_version(where, section.mark.get("version"))
    headings = [(below, line) for below, line in enumerate(section.body, 1) if line.strip()]
    if not headings or not headings[0][1].startswith("# "):
        raise section.error("below it must be the heading with the title, '# …'")
    for below, line in headings[1:]:
        raise section.error(f"this belongs to no message: {show(line)}", below)
    title = headings[0][1].removeprefix("# ")
    chat: ChatInfo = _read(where, ChatInfo, {"title": title, **section.mark})
    return ChatInfo(chat.id, title=chat.title)


def _read_message(section: _Section, chat_id: str, parent_id: str | None) -> Message:
    mark = section.mark
    data = {name: mark[name] for name in ("id", "role", "state", "content") if name in mark}
    links = {"chat_id": chat_id, "parent_id": parent_id}
    usual = {"state": _usual_state(mark.get("role")), "content": _read_content(section)}
    if "role" not in mark:
        raise section.error("it has no role")
    message: Message = _read(f"line {section.line}", Message, {**usual, **data, **links})
    return message


def _read_content(section: _Section) -> str:
    if not section.body or not section.body[0].startswith("## "):
        raise section.error("below it must be the heading of the message, '## …'")
    lines = section.body[1:]
    # The empty lines around it are not part of the text.
    if lines and not lines[0]:
        del lines[0]
    if lines and not lines[-1]:
        del lines[-1]
    if lines and lines[-1] == section.mark.get("fence"):
        del lines[-1]
    ends = section.mark.get("newlines", "\n")
    kinds = ends if isinstance(ends, list) else [ends]
    if not all(kind in ("\n", "\r", "\r\n") for kind in kinds):
        raise section.error(f"newlines must be line ends, not {show(ends)}")
    if not isinstance(ends, list):
        ends = kinds * (len(lines) - 1)
    elif len(ends) != len(lines) - 1:
        # Somebody has changed the text.
        ends = ["\n"] * (len(lines) - 1)
    text = _MARK_START.sub(lambda found: found[1][1:], "\n".join(lines))
    return "".join(line + end for line, end in zip(text.split("\n"), [*ends, ""], strict=True))
