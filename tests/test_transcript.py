"""Chats as files: JSON that loses nothing, Markdown for people, and what is said of damaged ones."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oa_client import ChatInfo, ConfigurationError, Message, Transcript
from tests.recorded import recorded_objects

TIME = datetime(2026, 11, 22, 15, 27, 56, 203290, timezone.utc)
PROMPT = Message("p1", "Why is the sky blue?", "c1", None, "prompter", "manual", TIME)
ANSWER = Message("a1", "Because of *Rayleigh*.", "c1", "p1", created_at=TIME, work_parameters={"seed": 2**64 - 2})
CHAT = ChatInfo("c1", TIME, TIME, "Why is the sky blue?", True, False, "a1", {"novelty": [1.5, None]})
TRANSCRIPT = Transcript(CHAT, (ANSWER, PROMPT))
MARKDOWN = """\
<!-- oa-client chat {"version": 1, "id": "c1"} -->

# Why is the sky blue?

<!-- oa-client message {"id": "p1", "role": "prompter"} -->
## User

Why is the sky blue?

<!-- oa-client message {"id": "a1", "role": "assistant"} -->
## Assistant

Because of *Rayleigh*.

<!-- oa-client end -->
"""

#: Any text, and such as is made of what the files themselves are made of.
PIECES = [
    *("\r", "\n", "\r\n", "\\", "a", " ", "-->", "<!--", "{", "}", "&", '"', "\\n", "# ", "```", "<pre>", "\n   ```\n"),
    *("\x0b", "\x1c", "\x85", "\u2028", "\ufeff", "## User\n", "\n```\n", "\n~~~~ py\n", "*No text: pending.*"),
    *("<!-- oa-client end -->", "\n<!-- oa-client end -->\n", '<!-- oa-client message {"id": "x"} -->'),
    *("\n\\<!-- oa-client", "\n\\\\<!-- oa-client end -->"),
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)
STATES = st.sampled_from(["manual", "complete", "pending", "aborted_by_worker"]) | TEXTS


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Make any chat, with messages linked in any way."""
    made: list[Message] = []
    for place in range(draw(st.integers(0, 5))):
        message = Message(
            id=draw(st.just(f"m{place}") | TEXTS),
            content=draw(st.none() | TEXTS),
            chat_id="c1",
            parent_id=draw(st.sampled_from([None, "x", *(item.id for item in made)])),
            role=draw(st.sampled_from(["prompter", "assistant"]) | TEXTS),
            state=draw(STATES),
            created_at=draw(st.none() | st.just(TIME)),
            extra=draw(st.dictionaries(st.just("new"), TEXTS)),
        )
        made.append(message)
    title = draw(st.none() | TEXTS)
    tail = draw(st.sampled_from([None, "x", *(item.id for item in made)]))
    chat = ChatInfo(draw(TEXTS), TIME, title=title, active_thread_tail_message_id=tail)
    return Transcript(chat, tuple(made), draw(st.booleans()))


def is_read_or_refused(text: str) -> bool:
    """Whether a text is a transcript, or the error says whose it is."""
    try:
        Transcript.parse(text)
    except ConfigurationError as error:
        return str(error).startswith("transcript: ")
    return True


def texts(messages: Sequence[Message]) -> list[tuple[str, str, str, str | None]]:
    """Return what Markdown holds of messages."""
    return [(item.id, item.role, item.state, item.content) for item in messages]


@settings(deadline=None)
@given(transcripts())
def test_json_and_back(transcript: Transcript) -> None:
    """JSON loses nothing, whatever the chat is made of."""
    assert transcript == Transcript.parse(transcript.to_json())


@settings(deadline=None)
@given(transcripts())
def test_markdown_and_back(transcript: Transcript) -> None:
    """Markdown keeps the active thread: who said what, to the last character, whatever the texts hold."""
    again = Transcript.parse(transcript.to_markdown())

    assert texts(transcript.thread()) == texts(again.messages) == texts(again.thread())
    assert (transcript.chat.id, transcript.chat.title) == (again.chat.id, again.chat.title)
    assert [None, *(item.id for item in again.messages)][: len(again.messages)] == [
        item.parent_id for item in again.messages
    ]
    assert {again.chat.id} >= {item.chat_id for item in again.messages}


@settings(deadline=None)
@given(transcripts())
def test_markdown_is_stable(transcript: Transcript) -> None:
    """A chat that was read from Markdown is written as the same Markdown."""
    text = transcript.to_markdown()

    assert text == Transcript.parse(text).to_markdown()


@settings(deadline=None)
@given(transcripts(), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]))
def test_line_ends_of_the_file(transcript: Transcript, end: str, start: str) -> None:
    """Neither a byte order mark nor the line ends that a system or an editor puts in a file change what is read."""
    for text in (transcript.to_json(), transcript.to_markdown()):
        assert Transcript.parse(text) == Transcript.parse(start + text.replace("\n", end))


@settings(deadline=None)
@given(TEXTS)
@example('{"format": "oa-client chat", "version": 1}')
@example('<!-- oa-client chat {"version": 1, "id": "c1", "title": null} -->\n<!-- oa-client end -->')
def test_any_text(text: str) -> None:
    """Any text is either read or refused with words; no other error comes out."""
    assert is_read_or_refused(text)


@settings(deadline=None)
@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    """A file of which a piece is gone or doubled is either read or refused with words."""
    text = data.draw(st.sampled_from([TRANSCRIPT.to_json(), MARKDOWN]))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    piece = data.draw(st.sampled_from(["", text[start:end] * 2, "\n", "{", "5"]))

    assert is_read_or_refused(text[:start] + piece + text[end:])


@settings(deadline=None)
@given(st.integers(0, len(MARKDOWN) - 2))
def test_markdown_that_is_cut_short(length: int) -> None:
    """Markdown that is not whole is refused, wherever it ends."""
    with pytest.raises(ConfigurationError, match=r"^transcript: line \d+: "):
        Transcript.parse(MARKDOWN[:length])


def test_json_for_people() -> None:
    """JSON names its format and version, has a line for each field, and the letters of all languages as they are."""
    text = replace(TRANSCRIPT, chat=replace(CHAT, title="Warum? 🙂")).to_json()
    document = json.loads(text)

    assert ["format", "version", "ends_at_tail", "chat", "messages"] == list(document)
    assert ("oa-client chat", 1) == (document["format"], document["version"])
    assert '\n    "title": "Warum? 🙂",\n' in text
    assert text.endswith("}\n")
    assert '"seed": 18446744073709551614' in text


def test_markdown_for_people() -> None:
    """Markdown has the title, and a heading and the text for each message of the active thread."""
    assert MARKDOWN == TRANSCRIPT.to_markdown()


@pytest.mark.parametrize("role", ["extra", "safe_content", "used_plugin"])
def test_half_a_surrogate_pair(role: str) -> None:
    """Half of a surrogate pair, which no file takes, is written in letters, and read again."""
    value = "\ud83d" if role == "safe_content" else {"new": "\ude42"}
    transcript = Transcript(CHAT, (replace(ANSWER, **{role: value}),))  # type: ignore[arg-type]  # each is right for its field

    assert transcript == Transcript.parse(transcript.to_json().encode().decode())


def test_half_a_surrogate_pair_in_markdown() -> None:
    """Half of a surrogate pair in a text that a user made is replaced, so that the file can be written."""
    text = Transcript(ChatInfo("c", title="\ud83d"), (Message("m", "a\ud83d"),)).to_markdown()

    assert "a\ufffd" == str(Transcript.parse(text.encode().decode()).messages[0])


@pytest.mark.parametrize("write", [Transcript.to_json, Transcript.to_markdown])
def test_through_a_file(write: Callable[[Transcript], str], tmp_path: Path) -> None:
    """A file that was written and read as text, with whatever line ends in the messages, brings them back."""
    content = "a\r\nb\rc\n\n d \n"
    file = tmp_path / "chat"
    file.write_text(write(Transcript(CHAT, (replace(PROMPT, content=content),))), encoding="utf-8")

    assert content == str(Transcript.parse(file.read_text(encoding="utf-8")).messages[0])


def test_only_the_active_thread_is_in_markdown() -> None:
    """Of several answers Markdown holds the one that is in use, JSON all."""
    other = replace(ANSWER, id="a2", content="Nobody knows.")
    transcript = Transcript(CHAT, (ANSWER, other, PROMPT))

    assert ["p1", "a1"] == [item.id for item in Transcript.parse(transcript.to_markdown()).messages]
    assert 3 == len(Transcript.parse(transcript.to_json()).messages)


@pytest.mark.parametrize(
    ("tail", "ends_at_tail", "thread"),
    [
        pytest.param("p1", False, ["p1", "a1"], id="goes on"),
        pytest.param("p1", True, ["p1"], id="ends there"),
        pytest.param("x", True, ["p1", "a1"], id="no such message"),
        pytest.param(None, True, ["p1", "a1"], id="no tail"),
    ],
)
def test_where_the_active_thread_ends(tail: str | None, ends_at_tail: bool, thread: list[str]) -> None:
    """The active thread ends at the tail if that is said, and there is one; else it goes on to the newest message."""
    transcript = Transcript(replace(CHAT, active_thread_tail_message_id=tail), (PROMPT, ANSWER), ends_at_tail)

    assert thread == [item.id for item in transcript.thread()]


@pytest.mark.parametrize(
    ("title", "heading"),
    [
        pytest.param(None, "# Chat", id="none"),
        pytest.param("", "# Chat", id="empty"),
        pytest.param(" a\nb\t c ", "# a b c", id="lines"),
        pytest.param("x" * 500, f"# {'x' * 100}", id="long"),
        pytest.param("# {", "# # {", id="marks"),
    ],
)
def test_titles(title: str | None, heading: str) -> None:
    """A title is a heading of one line, and is read as it was."""
    text = Transcript(ChatInfo("c", title=title)).to_markdown()

    assert heading == text.splitlines()[2]
    assert title == Transcript.parse(text).chat.title


@pytest.mark.parametrize(
    ("content", "closing"),
    [
        pytest.param("Look:\n````py\nx = 1\n```", "````", id="code"),
        pytest.param("1. Install:\n\n   ```bash\n   pip install oa", "   ```", id="code in a list"),
        pytest.param("~~~ `\n```\n<pre>", "~~~", id="other marks inside"),
        pytest.param("Look:\n<pre>\n\nx", "</pre>", id="pre"),
        pytest.param("  <SCRIPT src=x>\n```\nx", "</SCRIPT>", id="script"),
        pytest.param("<style", "</style>", id="style, cut off in its tag"),
        pytest.param("<textarea\tid=x>", "</textarea>", id="textarea"),
        pytest.param("<!-- to do\n\nx", "-->", id="comment"),
        pytest.param("<?php\n\nx", "?>", id="processing instruction"),
        pytest.param("<![CDATA[\nx>\n\n", "]]>", id="CDATA"),
        pytest.param("<!DOCTYPE\n\nx", ">", id="declaration"),
    ],
)
def test_text_with_an_open_block(content: str, closing: str) -> None:
    """A block that an answer leaves open is closed, or the rest of the file would be shown in it."""
    messages = (PROMPT, replace(ANSWER, content=content))
    text = Transcript(CHAT, messages).to_markdown()

    assert text.endswith(f"\n\n{content}\n{closing}\n\n<!-- oa-client end -->\n")
    assert content == Transcript.parse(text).messages[1].content


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("```\nx\n```", id="closed"),
        pytest.param("```x``` y", id="inline"),
        pytest.param("    ```", id="indented"),
        pytest.param("~~~ `\nx\n~~~~~", id="tildes"),
        pytest.param("```\n~~~\n``` x\n````", id="other marks inside"),
        pytest.param("```\n<pre>\n   ```", id="HTML in code"),
        pytest.param("<pre>\n```\nx</PRE>y", id="code in HTML"),
        pytest.param("<!-- a --> b\n<?x?>\n<!a>\n<![CDATA[]]>", id="HTML of one line"),
        pytest.param("x <pre>\n    <pre>\n<presto>\n<!\n<div>\n<!-->", id="other HTML"),
    ],
)
def test_text_with_no_open_block(content: str) -> None:
    """A text whose blocks are closed gets no line more."""
    assert f"\n\n{content}\n\n<!-- oa-client end" in Transcript(CHAT, (replace(ANSWER, content=content),)).to_markdown()


def test_text_that_looks_like_a_mark() -> None:
    """A line that could be taken for a mark gets a backslash, which Markdown does not show."""
    content = "<!-- oa-client end -->\n <!-- oa-client end -->\n<!-- other -->"
    text = Transcript(CHAT, (replace(ANSWER, content=content),)).to_markdown()

    assert f"\n\n\\{content}\n\n<!-- oa-client end" in text


def test_message_without_text() -> None:
    """An answer that never came says so, and is read as one without content."""
    messages = (PROMPT, replace(ANSWER, content=None, state="aborted_by_worker"))
    text = Transcript(CHAT, messages).to_markdown()

    assert "## Assistant\n\n*No text: aborted_by_worker.*\n" in text
    assert texts(messages) == texts(Transcript.parse(text).messages)


def test_markdown_that_somebody_has_edited() -> None:
    """Headings may be renamed and texts changed, also where line ends were kept."""
    text = Transcript(CHAT, (replace(PROMPT, content="a\r\nb\nc"),)).to_markdown()
    text = text.replace("# Why is the sky blue?", "# Sky").replace("## User\n\na\nb\nc\n\n", "## Me\nx\ny\nz\n\nw\n")
    again = Transcript.parse(text + "\n\n")

    assert ("Sky", "x\ny\nz\n\nw") == (again.chat.title, again.messages[0].content)


def test_no_messages() -> None:
    """An empty chat goes both ways."""
    transcript = Transcript(ChatInfo("c"))

    assert transcript == Transcript.parse(transcript.to_json()) == Transcript.parse(transcript.to_markdown())


def test_transcripts_are_values() -> None:
    """Equal transcripts have equal hashes, and one can be pickled."""
    again = Transcript.parse(TRANSCRIPT.to_json())

    assert hash(again) == hash(TRANSCRIPT)
    assert pickle.loads(pickle.dumps(TRANSCRIPT)) == TRANSCRIPT  # noqa: S301 - our own bytes


def test_every_recorded_chat() -> None:
    """Each chat that the real servers sent goes through both forms."""
    count = 0
    for data in recorded_objects("messages", "allow_data_use"):
        messages = tuple(Message.from_json(item) for item in data["messages"])
        transcript = Transcript(ChatInfo.from_json(data), messages)
        count += 1

        assert transcript == Transcript.parse(transcript.to_json())
        assert texts(transcript.thread()) == texts(Transcript.parse(transcript.to_markdown()).messages)
    assert count > 10


def turns(*contents: tuple[str, str | None, str]) -> tuple[Message, ...]:
    """Make a thread of (role, content, state)."""
    parents = [None, *(str(place) for place in range(len(contents)))]
    return tuple(
        Message(str(place), content, "c1", parents[place], role, state)
        for place, (role, content, state) in enumerate(contents)
    )


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        pytest.param((), [], id="none"),
        pytest.param((("prompter", "a", "manual"),), [], id="a prompt alone"),
        pytest.param((("prompter", "a", "manual"), ("assistant", "b", "complete")), ["a", "b"], id="a turn"),
        pytest.param((("prompter", "a", "manual"), ("assistant", None, "pending")), [], id="queued"),
        pytest.param((("prompter", "a", "manual"), ("assistant", "b", "cancelled")), [], id="not complete"),
        pytest.param((("prompter", "", "manual"), ("assistant", "b", "complete")), [], id="an empty prompt"),
        pytest.param((("prompter", "a", "manual"), ("assistant", "", "complete")), [], id="an empty answer"),
        pytest.param((("assistant", "b", "complete"),), [], id="an answer alone"),
        pytest.param(
            (
                ("prompter", "a", "manual"),
                ("assistant", None, "timeout"),
                ("prompter", "c", "manual"),
                ("prompter", "d", "manual"),
                ("assistant", "e", "complete"),
                ("assistant", "f", "complete"),
                ("prompter", "g", "manual"),
            ),
            ["d", "e"],
            id="gaps",
        ),
    ],
)
def test_followed_by(messages: tuple[tuple[str, str | None, str], ...], kept: list[str]) -> None:
    """A new prompt follows the turns that are whole."""
    roles = ["user", "assistant"] * len(kept)
    expected = [{"role": role, "content": text} for role, text in zip(roles, kept, strict=False)]

    assert [*expected, {"role": "user", "content": "new"}] == Transcript(ChatInfo("c1"), turns(*messages)).followed_by(
        "new"
    )


def test_followed_by_after_a_file() -> None:
    """A chat goes on from either file in the same way."""
    expected = TRANSCRIPT.followed_by("And at night?")

    assert 3 == len(expected)
    assert expected == Transcript.parse(TRANSCRIPT.to_json()).followed_by("And at night?")
    assert expected == Transcript.parse(TRANSCRIPT.to_markdown()).followed_by("And at night?")


def changed(**changes: Any) -> str:
    """Return the JSON text with other values."""
    return json.dumps({**json.loads(TRANSCRIPT.to_json()), **changes})


LONG = "secret" * 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "line 1, column 2: not JSON: Expecting", id="cut short"),
        pytest.param('{"a": 1}\n x', "line 2, column 2: not JSON: Extra data", id="something behind"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "a number in it is too long", id="a long number"),
        pytest.param('{"a": ' * 100_000, "it is nested too deep", id="deep"),
        pytest.param("{}", "format must be 'oa-client chat', not None", id="no format"),
        pytest.param(changed(format=LONG), "format must be 'oa-client chat', not 'secret", id="another format"),
        pytest.param(changed(version=2), "version: version 2 is newer than 1", id="newer"),
        pytest.param(changed(version=10**100), "version: version 1000", id="much newer"),
        pytest.param(changed(version="1"), "version: a version is a number of 1 or more, not '1'", id="version string"),
        pytest.param(changed(version=True), "version: a version is a number of 1 or more, not True", id="version true"),
        pytest.param(changed(version=0), "version: a version is a number of 1 or more, not 0", id="version 0"),
        pytest.param(changed(version=None), "version: a version is a number of 1 or more, not None", id="version null"),
        pytest.param(changed(chat=None), "chat: expected an object, not NoneType", id="chat null"),
        pytest.param(changed(chat={"id": "c1", "title": 5}), "chat: title has the wrong type int", id="title"),
        pytest.param(changed(ends_at_tail=1), "ends_at_tail must be true or false, not 1", id="end"),
        pytest.param(changed(messages=None), "messages must be a list, not NoneType", id="messages null"),
        pytest.param(changed(messages=[LONG]), r"messages\[0\]: expected an object, not str", id="message"),
        pytest.param(
            changed(messages=[{"id": "m1"}, {"id": "m2", "content": [LONG]}]),
            r"messages\[1\]: content has the wrong type list",
            id="content",
        ),
    ],
)
def test_wrong_json(text: str, words: str) -> None:
    """JSON that is not a chat is refused, and the error says where and what, and shows little of it."""
    with pytest.raises(ConfigurationError, match=f"^transcript: {words}") as caught:
        Transcript.parse(text)

    assert len(str(caught.value)) < 200


CHAT_MARK, PROMPT_MARK = MARKDOWN.splitlines()[0], MARKDOWN.splitlines()[4]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param(MARKDOWN, "", "line 1: the text is empty", id="empty"),
        pytest.param(CHAT_MARK, f"\n{LONG}", "line 2: .* does not start with 'secret", id="no mark"),
        pytest.param(CHAT_MARK, PROMPT_MARK, "line 1: the mark of a chat must come first", id="no mark of a chat"),
        pytest.param(PROMPT_MARK, CHAT_MARK, "line 5: the mark of a chat must come first, and only", id="two chats"),
        pytest.param(CHAT_MARK, "<!-- oa-client end -->", "line 1: the mark of a chat", id="an end at the start"),
        pytest.param('"version": 1', '"version": 2', "line 1: version 2 is newer than 1", id="newer"),
        pytest.param('"version": 1', '"version": 2}', "line 1: ", id="damaged version"),
        pytest.param('1, "id": "c1"} -->', "2} -->\n<!-- oa-client 2 -->", "line 1: version 2 is new", id="new marks"),
        pytest.param('"version": 1, ', "", "line 1: a version is a number of 1 or more, not None", id="no version"),
        pytest.param('"id": "c1"', '"title": "c1"', "line 1: it has no id", id="no id of the chat"),
        pytest.param('"id": "c1"', '"id": "c1", "title": 5', "line 1: title has the wrong", id="title number"),
        pytest.param("# Why", "Why", "line 1: the next line must be the heading", id="no title"),
        pytest.param("\n# Why", f"\n# Why\n\n{LONG}\n", "line 5: this belongs to no message: 'secret", id="stray"),
        pytest.param("## User", "", "line 5: the next line must be the heading", id="no heading"),
        pytest.param('"id": "p1", ', "", "line 5: it has no id", id="no id"),
        pytest.param(', "role": "prompter"', "", "line 5: it has no role", id="no role"),
        pytest.param('"prompter"', '["prompter"]', "line 5: role has the wrong type list", id="role list"),
        pytest.param('"role": "prompter"', f'"role": "prompter", "x": {LONG}', "line 5: not JSON: '{", id="not JSON"),
        pytest.param('"prompter"}', f'"{LONG}"', "line 5: this mark is damaged: '<!--", id="damaged"),
        pytest.param('"prompter"', f'"prompter", "newlines": "{LONG}"', "line 5: newlines must be", id="newlines"),
        pytest.param('"prompter"', '"prompter", "newlines": [5, []]', "line 5: newlines must be", id="newlines list"),
        pytest.param('"prompter"', '"prompter", "newlines": {}', "line 5: newlines must be", id="newlines object"),
        pytest.param('"a1"', '"p1"', "line 10: a second message has the id 'p1'", id="equal ids"),
        pytest.param("<!-- oa-client end -->", "", "line 16: the mark <!-- oa-client end --> is missing", id="no end"),
        pytest.param("end -->\n", f"end -->\n\n{LONG}", "line 17: there is text after the end: 'sec", id="behind"),
        pytest.param(
            "end -->\n", f"end -->\n\n{PROMPT_MARK}", "line 17: there is a mark after the end", id="mark behind"
        ),
    ],
)
def test_wrong_markdown(old: str, new: str, words: str) -> None:
    """Markdown that is not a chat is refused, and the error says in which line and what, and shows little of it."""
    assert old in MARKDOWN
    with pytest.raises(ConfigurationError, match=f"^transcript: {words}") as caught:
        Transcript.parse(MARKDOWN.replace(old, new, 1))

    assert len(str(caught.value)) < 200


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({1}, id="no JSON"),
        pytest.param(DEEP, id="nested too deep"),
    ],
)
def test_value_that_cannot_be_written(value: Any) -> None:
    """A value that JSON does not know is refused with words."""
    transcript = Transcript(ChatInfo("c1", extra={"new": value}))

    with pytest.raises(ConfigurationError, match=r"^transcript: a value in it is not JSON: "):
        transcript.to_json()


@pytest.mark.parametrize("text", [pytest.param(None, id="none"), pytest.param(b"{}", id="bytes")])
def test_no_text(text: Any) -> None:
    """What is no string is refused with words."""
    with pytest.raises(ConfigurationError, match=r"^transcript: must be a string"):
        Transcript.parse(text)


def test_large_chat() -> None:
    """A chat of three thousand messages goes through both forms."""
    messages = [PROMPT]
    for place in range(3_000):
        messages.append(Message(f"m{place}", "a\n" * 10, "c1", messages[-1].id, created_at=TIME))
    transcript = Transcript(ChatInfo("c1"), tuple(messages))

    assert transcript == Transcript.parse(transcript.to_json())
    assert texts(messages) == texts(Transcript.parse(transcript.to_markdown()).messages)
