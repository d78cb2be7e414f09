"""What is asked: the messages of a user, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from oa_client import ConfigurationError
from oa_client._values.question import check_text, format_prompt, read_any_messages, read_messages


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        pytest.param([("user", " Hi\n")], " Hi\n", id="one"),
        pytest.param([("assistant", "Hi")], "Hi", id="one of another role"),
        pytest.param([("user", "a"), ("assistant", "b")], "User: a\nAssistant: b\nAssistant:", id="two"),
        pytest.param([("sYsTeM", "a"), ("fOO bar", "b\nc")], "System: a\nFoo bar: b\nc\nAssistant:", id="capitalised"),
        pytest.param([("user", ""), ("user", "b")], "User: \nUser: b\nAssistant:", id="empty"),
    ],
)
def test_format_prompt(messages: list[tuple[str, str]], prompt: str) -> None:
    """One message is its content; several are a line with the capitalised role each, and a last line for the answer."""
    assert prompt == format_prompt(messages)


def message(role: Any, content: Any) -> dict[str, Any]:
    """Make one of the user's messages."""
    return {"role": role, "content": content}


USER, SYSTEM = message("user", "Why?"), message("system", "Be brief.")
TEXT = {"type": "text", "text": "Wh"}
PARTS = [TEXT, {"type": "text", "text": "y?", "cache_control": None}]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param("Why?", ("Why?", None), id="string"),
        pytest.param(" \n", (" \n", None), id="white space"),
        pytest.param([USER], ("Why?", None), id="list of one"),
        pytest.param((USER,), ("Why?", None), id="tuple"),
        pytest.param([message("prompter", "Why?")], ("Why?", None), id="prompter"),
        pytest.param([message("assistant", "So.")], ("So.", None), id="assistant alone"),
        pytest.param([{**USER, "name": "x"}], ("Why?", None), id="other keys"),
        pytest.param([SYSTEM, USER], ("Why?", "Be brief."), id="system first"),
        pytest.param(
            [message("prompter", "a"), message("assistant", "b"), USER],
            ("User: a\nAssistant: b\nUser: Why?\nAssistant:", None),
            id="several",
        ),
        pytest.param(
            [SYSTEM, USER, SYSTEM],
            ("User: Why?\nSystem: Be brief.\nAssistant:", "Be brief."),
            id="system first and later",
        ),
        pytest.param([message("user", PARTS)], ("Why?", None), id="text parts"),
        pytest.param([message("user", (TEXT, "y?"))], ("Why?", None), id="a text part and a string"),
        pytest.param(PARTS, ("Why?", None), id="text parts without a role"),
        pytest.param(
            [message("system", PARTS), message("assistant", PARTS), USER],
            ("Assistant: Why?\nUser: Why?\nAssistant:", "Why?"),
            id="text parts of every role",
        ),
        pytest.param([USER, SYSTEM], ("User: Why?\nSystem: Be brief.\nAssistant:", None), id="system later"),
    ],
)
def test_read_messages(messages: Any, expected: tuple[str, str | None]) -> None:
    """Messages become one prompt, and a system message at the start the system prompt."""
    assert expected == read_messages(messages, None)


def test_system_prompt_is_passed_on() -> None:
    """The argument `system_prompt` is given back beside messages without one at the start."""
    assert ("Why?", "Be brief.") == read_messages([USER], "Be brief.")
    assert ("Why?", "") == read_messages("Why?", "")


def test_text_parts_for_the_provider() -> None:
    """The provider joins text parts as well, and refuses others by the name of their type."""
    assert [("tool", "Why?"), ("user", "")] == read_any_messages([message("tool", PARTS), message("user", [])])
    with pytest.raises(ConfigurationError, match=r"messages\[0\]\['content'\]\[0\] is of the type 'file'"):
        read_any_messages([message("user", [{"type": "file"}])])


def test_messages_are_not_changed() -> None:
    """The caller's list and its messages stay as they were."""
    messages = [dict(SYSTEM), message("prompter", "a"), dict(USER)]
    read_messages(messages, None)

    assert [SYSTEM, message("prompter", "a"), USER] == messages


@pytest.mark.parametrize(
    ("messages", "system_prompt", "words"),
    [
        pytest.param(None, None, "messages must be a string or a list", id="none"),
        pytest.param(5, None, "messages must be .* not int", id="number"),
        pytest.param(b"Why?", None, "messages must be .* not bytes", id="bytes"),
        pytest.param(bytearray(b"Why?"), None, "messages must be .* not bytearray", id="bytearray"),
        pytest.param(USER, None, "messages must be .* not dict", id="a message alone"),
        pytest.param(iter([USER]), None, "messages must be .* not list_iterator", id="iterator"),
        pytest.param({"a"}, None, "messages must be .* not set", id="set"),
        pytest.param("", None, "messages is empty", id="empty string"),
        pytest.param([], None, "messages is empty", id="empty list"),
        pytest.param(["Why?"], None, r"messages\[0\] must be a mapping", id="list of strings"),
        pytest.param([USER, None], None, r"messages\[1\] must be a mapping", id="none in the list"),
        pytest.param([("user", "Why?")], None, r"messages\[0\] must be a mapping", id="pairs"),
        pytest.param([{"role": "user"}], None, r"messages\[0\] must be .*'content'", id="no content"),
        pytest.param([{"content": "a"}], None, r"messages\[0\] must be .*'role'", id="no role"),
        pytest.param(
            [USER, message("usr", "a")], None, r"messages\[1\]\['role'\].*'usr'; did you mean 'user'", id="role"
        ),
        pytest.param(
            [message("User", "a")], None, r"messages\[0\]\['role'\].*did you mean 'user'", id="role in capitals"
        ),
        pytest.param([message(None, "a")], None, r"messages\[0\]\['role'\].*known are", id="role none"),
        pytest.param([message(["user"], "a")], None, r"messages\[0\]\['role'\]", id="role list"),
        pytest.param([message("user", None)], None, r"messages\[0\]\['content'\] must .* NoneType", id="content none"),
        pytest.param(
            [message("user", [{"type": "text"}])],
            None,
            r"messages\[0\]\['content'\]\[0\]\['text'\] must .* NoneType",
            id="part without text",
        ),
        pytest.param(
            [message("user", [TEXT, {"type": "image_url", "image_url": {"url": "http://h"}}])],
            None,
            r"messages\[0\]\['content'\]\[1\] is of the type 'image_url', and the servers take only text",
            id="picture",
        ),
        pytest.param([TEXT, {"type": "input_audio"}], None, r"messages\[1\] .* 'input_audio'", id="sound"),
        pytest.param([message("user", [{}])], None, r"\['content'\]\[0\] must be \{'type'", id="part without a type"),
        pytest.param([message("user", [5])], None, r"\['content'\]\[0\] must be \{'type'", id="part number"),
        pytest.param([message("user", [])], None, r"messages\[0\]\['content'\] is empty", id="no parts"),
        pytest.param([message("user", b"a")], None, r"messages\[0\]\['content'\] .* bytes", id="content bytes"),
        pytest.param([USER, message("user", "")], None, r"messages\[1\]\['content'\] is empty", id="content empty"),
        pytest.param("ab\0", None, "messages has a NUL at character 2", id="NUL"),
        pytest.param("a\ud83d", None, "messages has half of a surrogate pair at character 1", id="high half"),
        pytest.param("\ude42", None, "messages has half of a surrogate pair at character 0", id="low half"),
        pytest.param([message("user", "\0")], None, r"messages\[0\]\['content'\] has a NUL", id="NUL in the list"),
        pytest.param([SYSTEM], None, "messages has only a system message", id="system alone"),
        pytest.param([SYSTEM], "Be brief.", "messages has only a system message", id="system alone and argument"),
        pytest.param([SYSTEM, USER], "Be brief.", "system_prompt .* choose one", id="two system prompts"),
        pytest.param([SYSTEM, USER], "", "system_prompt .* choose one", id="two system prompts, one empty"),
        pytest.param("Why?", 5, "system_prompt must be a string, not int", id="system_prompt number"),
        pytest.param("Why?", "a\0", "system_prompt has a NUL at character 1", id="system_prompt NUL"),
        pytest.param("Why?", "\ud83d", "system_prompt has half", id="system_prompt half a pair"),
        pytest.param(
            [message(10**5000, "a")],
            None,
            r"messages\[0\]\['role'\]",
            id="role huge",
        ),
    ],
)
def test_bad_messages(messages: Any, system_prompt: Any, words: str) -> None:
    """A bad argument is refused, and the error names the argument and what is wrong with it."""
    with pytest.raises(ConfigurationError, match=words):
        read_messages(messages, system_prompt)


def test_long_content_is_not_quoted() -> None:
    """An error about a prompt does not repeat the prompt."""
    with pytest.raises(ConfigurationError) as caught:
        read_messages([message("user", "confidential \0")], None)

    assert "confidential" not in str(caught.value)


def test_check_text_of_what_is_fine() -> None:
    """None, empty text and characters beyond the basic plane can be stored."""
    for value in (None, "", "\N{SLIGHTLY SMILING FACE}\n\u2028"):
        check_text("argument", value)
