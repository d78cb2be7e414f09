"""Backends of one's own: how they are written, found, checked, and how they fail."""

from __future__ import annotations

import textwrap
import threading
from typing import Any

import pytest

from oa_client.local import Backend, LocalServer
from oa_client.local._backends import MOST_WORDS, words_of
from tests.local.support import User


def example() -> str:
    """The code of the class in the docstring of the protocol."""
    lines = textwrap.dedent(Backend.__doc__ or "").splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("    class "))
    last = next(index for index, line in enumerate(lines) if index > first and line[:4].strip())
    return textwrap.dedent("\n".join(lines[first:last]))


def test_a_backend_is_twenty_lines() -> None:
    """The one in the docstring is no longer, is a backend, and answers."""
    code = example()
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own words
    shout = names["Shout"]()
    with LocalServer(shout) as server:
        user = User(server, "inference")
        with user.events(*user.ask("make some noise")) as events:
            texts = [event["text"] for event in events if event["event_type"] == "token"]

    assert len(code.strip().splitlines()) <= 20
    assert isinstance(shout, Backend)
    assert server.model == "shout"
    assert texts == ["MAKE ", "SOME ", "NOISE "]


class Failing:
    """A backend that fails as it is told, after one piece."""

    name = "failing"
    description = "It fails"
    slots = 1

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def generate(self, messages: Any, sampling: Any, cancelled: threading.Event) -> Any:
        """Say a word and fail, unless that is asked for no more."""
        yield "Well"
        if messages[-1]["content"] == "fail":
            raise self.error

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(RuntimeError("out of memory"), "out of memory", id="words"),
        pytest.param(ValueError(), "ValueError", id="no words"),
        pytest.param(KeyError("delta"), "KeyError: 'delta'", id="a key"),
        pytest.param(FileNotFoundError(2, "No such file", "/home/ada/x.bin"), "No such file", id="a file"),
        pytest.param(OSError("broken"), "broken", id="an OSError with words alone"),
    ],
)
def test_an_error_is_told_and_the_server_lives_on(error: BaseException, words: str) -> None:
    """Its words are the error event after what was written, nothing is printed, and the next answer comes."""
    with LocalServer(Failing(error)) as server:
        user = User(server, "inference")
        chat_id, answer_id = user.ask("fail")
        with user.events(chat_id, answer_id) as events:
            received = [event for event in events if event["event_type"] != "pending"]
        with user.events(*user.ask("go on")) as events:
            last = list(events)[-1]

    assert [event["event_type"] for event in received] == ["token", "error"]
    assert received[-1]["error"] == words
    assert received[-1]["message"]["state"] == "aborted_by_worker"
    assert (last["event_type"], last["message"]["content"]) == ("message", "Well")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("cannot read /home/ada/models/big.gguf: it is cut", "cannot read big.gguf: it is cut"),
        ("cannot read '/home/ada lovelace/big.gguf' at all", "cannot read 'big.gguf' at all"),
        (r"cannot read C:\Users\ada\big.gguf", "cannot read big.gguf"),
        (r'cannot read "C:\Users\ada lovelace\big.gguf"', 'cannot read "big.gguf"'),
        ("http://127.0.0.1:11434/v1/models refused", "http://127.0.0.1:11434/v1/models refused"),
        ("yes and/or no, 1/2, 2026/11/23", "yes and/or no, 1/2, 2026/11/23"),
        ('Traceback (most recent call last):\n  File "/x/y.py", line 1\nValueError: no\n', "ValueError: no"),
        ("x" * 2000, "x" * MOST_WORDS),
    ],
)
def test_words_hold_no_path_and_no_traceback(said: str, told: str) -> None:
    """Of a path the name of the file stays, of a traceback the last line, of a long text the beginning."""
    assert words_of(RuntimeError(said)) == told
