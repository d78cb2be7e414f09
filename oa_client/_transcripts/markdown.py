"""Write a chat as Markdown for people, and read it again, whatever the texts hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from oa_client._values.argument import show
from oa_client._values.chat import ChatInfo
from oa_client._values.errors import ConfigurationError
from oa_client._values.json_object import SURROGATE
from oa_client._values.message import Message

#: The heading of a turn, by role.
_HEADINGS = {"prompter": "User", "assistant": "Assistant"}
#: characters of a title that fit in a heading.
_TITLE_LIMIT = 100

_END = "<!-- oa-client end -->"
_MARK = re.compile(r"<!-- oa-client (?:(chat|message) (\{.*\})|end) -->\s*")
#: The start of a mark. A line of a text that looks like one gets one more backslash, which Markdown does not show.
_MARK_START = re.compile(r"^(\\*)(?=<!-- oa-client\b)", re.MULTILINE)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
#: The start and the end of a block of HTML that an empty line does not end; a tag ends with its closing tag.
_HTML = re.compile(r" {0,3}<(!--|!\[CDATA\[|!(?=[a-z])|\?|(?:pre|script|style|textarea)(?=[\s>]|$))", re.IGNORECASE)
_HTML_ENDS = {"!--": "-->", "![cdata[": "]]>", "!": ">", "?": "?>"}


def write_markdown(version: int, chat: ChatInfo, thread: Iterable[Message]) -> str:
    """Return the title, then a heading and the text of each message, with marks that `read_markdown` finds."""
    title = _one_line(chat.title or "")[:_TITLE_LIMIT] or "Chat"
    mark: dict[str, Any] = {"version": version, "id": chat.id}
    if title != chat.title:
        mark["title"] = chat.title
    lines = [_mark("chat", mark), "", f"# {title}", ""]
    for message in thread:
        lines += _message_lines(message)
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", "\n".join([*lines, _END, ""]))


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
        # Editors and files change line ends, so all are written alike, and the mark records the original ones.
        ends = _NEWLINE.findall(message.content)
        if set(ends) - {"\n"}:
            mark["newlines"] = ends[0] if len(set(ends)) == 1 else ends
        text = _MARK_START.sub(r"\\\1", _NEWLINE.sub("\n", message.content))
        lines = text.split("\n")
        closing = _open_block(text)
        if closing:
            mark["closed_by"] = closing
            lines.append(closing)
    return [_mark("message", mark), f"## {heading}", "", *lines, ""]


def _open_block(text: str) -> str:
    """
    Return the line that closes the block of code or HTML that a text leaves open, or "".

    Otherwise the block would swallow all that follows. In lists and quotations the end of a block is only a guess.
    """
    closing = end = ""
    for line in text.split("\n"):
        if not closing:
            if fence := _FENCE.match(line):
                indent, run = fence.groups()
                # Indented as its opening is: it may be in an item of a list.
                closing, end = indent + run, rf" {{0,3}}{run}{run[0]}*[ \t]*$"
                continue
            if html := _HTML.match(line):
                closing = _HTML_ENDS.get(html[1].lower(), f"</{html[1]}>")
                end = f".*{re.escape(closing)}"
        if closing and re.match(end, line, re.IGNORECASE):
            closing = ""
    return closing


class _Section(NamedTuple):
    """
    A mark, and the lines up to the next mark.

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

    def only(self, *names: str) -> dict[str, Any]:
        """Return those of the named fields that the mark has."""
        return {name: self.mark[name] for name in names if name in self.mark}

    def error(self, words: str, below: int = 0) -> ConfigurationError:
        """Return an error that names the line of the mark, or a line below."""
        return ConfigurationError(f"transcript: line {self.line + below}: {words}")


def read_markdown(text: str, check_version: Callable[[str, Any], None]) -> list[tuple[int, dict[str, Any]]]:
    """
    Return the JSON objects of the chat and of its thread's messages, each with its line number.

    Before anything else is read, `check_version` is called with the place of the version and the version.

    Raises:
        ConfigurationError: if `write_markdown` did not write it; names the line.
    """
    sections: list[_Section] = []
    lines = _NEWLINE.sub("\n", text).split("\n")
    for number, line in enumerate(lines, 1):
        found = _MARK_START.match(line)
        if found and not found[1]:
            section = _read_mark(number, line)
            if (section.kind == "chat") != (not sections):
                raise section.error(f"the mark of a chat must come first, and only once: {show(line)}")
            if not sections:
                check_version(f"line {number}", section.mark.get("version"))
            elif sections[-1].kind == "end":
                raise section.error(f"there is a mark after the end: {show(line)}")
            sections.append(section)
        elif sections:
            sections[-1].body.append(line)
        elif line.strip():
            words = f"a chat that oa-client wrote does not start with {show(line)}"
            raise ConfigurationError(f"transcript: line {number}: {words}")
    if not sections:
        raise ConfigurationError("transcript: line 1: the text is empty")
    if sections[-1].kind != "end":
        raise ConfigurationError(f"transcript: line {len(lines)}: the mark {_END} is missing: is the text cut short?")
    first, *messages, last = sections
    for below, line in enumerate(last.body, 1):
        if line.strip():
            raise last.error(f"there is text after the end: {show(line)}", below)
    return [(first.line, _read_chat(first)), *((section.line, _read_message(section)) for section in messages)]


def _read_mark(number: int, line: str) -> _Section:
    found = _MARK.fullmatch(line)
    if not found:
        raise ConfigurationError(f"transcript: line {number}: this mark is damaged: {show(line)}")
    kind, data = found.groups()
    try:
        return _Section(number, kind or "end", json.loads(data or "{}"), [])
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"transcript: line {number}: not JSON: {show(data)}") from error


def _read_chat(section: _Section) -> dict[str, Any]:
    headings = [(below, line) for below, line in enumerate(section.body, 1) if line.strip()]
    if not headings or not headings[0][1].startswith("# "):
        raise section.error("the next line must be the heading with the title, '# …'")
    for below, line in headings[1:]:
        raise section.error(f"this belongs to no message: {show(line)}", below)
    title = headings[0][1].removeprefix("# ")
    return {"title": title, **section.only("id", "title")}


def _read_message(section: _Section) -> dict[str, Any]:
    content = _read_content(section)
    if "role" not in section.mark:
        raise section.error("it has no role")
    state = _usual_state(section.mark["role"])
    return {"state": state, "content": content, **section.only("id", "role", "state", "content")}


def _read_content(section: _Section) -> str:
    if not section.body or not section.body[0].startswith("## "):
        raise section.error("the next line must be the heading of the message, '## …'")
    lines = section.body[1:]
    # The empty lines around it are not part of the text.
    if lines and not lines[0]:
        del lines[0]
    if lines and not lines[-1]:
        del lines[-1]
    if lines and lines[-1] == section.mark.get("closed_by"):
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
