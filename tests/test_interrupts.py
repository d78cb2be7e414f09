"""Ctrl-C at every point of a turn where Python lets it in."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import oa_client
from oa_client import Chat, Client, Message, Timeout
from tests.scripted import OpenAssistantScript

PACKAGE = Path(oa_client.__file__).parent
#: Where a turn is made. What is below has tests of its own, and what the collector calls cannot raise.
PLACES = {
    str(PACKAGE / name)
    for name in ("_blocking/chat.py", "_calls/engine.py", "_calls/turns.py", "_chats/absence.py", "_chats/position.py")
}
#: Of Python's own, as far as they are called from there.
TOOLS = (contextlib.__file__, sys.modules["threading"].__file__)


@contextlib.contextmanager
def ctrl_c_at(number: int) -> Iterator[list[int]]:
    """
    Raise KeyboardInterrupt at one of the points where the interpreter looks for signals: calls and their returns.

    Yields:
        a list with how many points are left; below 0 it has come.
    """
    left = [number]

    def look(frame: FrameType, kind: str, _: Any) -> None:
        if kind not in ("call", "c_return"):
            return
        here, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename if frame.f_back else ""
        if here in PLACES or (here in TOOLS and caller in PLACES):
            left[0] -= 1
            if left[0] < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        yield left
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    ("turn", "step"),
    [
        pytest.param(lambda chat, text, last: chat.ask(text), 2, id="ask"),
        pytest.param(lambda chat, text, last: chat.regenerate().finish(), 5, id="regenerate"),
        pytest.param(lambda chat, text, last: chat.select(last), 4, id="select"),
    ],
)
def test_ctrl_c_anywhere(turn: Callable[[Chat, str, Message], object], step: int) -> None:
    """Wherever Ctrl-C comes, it is all that comes out, and the next turn works, at its right place, at most once."""
    with (
        OpenAssistantScript("website") as script,
        Client(script.url, **script.credentials, max_retries=0, timeout=Timeout(first_token=10)) as client,
    ):
        chat = client.create_chat()
        last = chat.ask("Zero")
        messages = script.chats[chat.id].messages
        for number in itertools.count(step=step):
            text = f"After {number}"
            try:
                with ctrl_c_at(number) as left:
                    turn(chat, text, last)
            except KeyboardInterrupt:
                pass
            if left[0] >= 0:
                break
            # What it had sent has come to the server then.
            script.wait_until(lambda: script.open_connections == 0)
            for message in messages.values():
                if message["state"] == "pending":
                    message.update(state="complete", content="Hello")
            last = chat.ask(text)

            prompts = [message for message in messages.values() if message["content"] == text]
            followed = [messages[prompt["parent_id"]] for prompt in prompts]
            assert {("assistant", "complete")} == {(message["role"], message["state"]) for message in followed}
            assert len(prompts) == len({message["id"] for message in followed})
            assert last.parent_id == prompts[-1]["id"]
            assert {None} >= {exchange.thread for exchange in client._engine._exchanges}

    assert number > 30
