"""Conversations at random: turns, drafts, edits, selections, other clients and faults, in any order."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPMessage
from typing import Any

import pytest
import requests
import requests.adapters
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oa_client import Client, ConfigurationError, OAError, Timeout, TransportTimeout, UnsupportedError
from tests.scripted import (
    END_OF_HEAD,
    Connection,
    Disconnected,
    EventWriter,
    Handler,
    OpenAssistantScript,
    Request,
    Surface,
)

#: What can happen to one call: nothing is done; it is done and the answer is lost; it is refused; the server fails.
FAULTS = ("lost", "answer lost", "refused", "failed", "busy")
ROUTES = (*["prompter", "assistant"] * 3, "events", "message", "chat", "update")
#: What becomes of an answer.
ENDS = ("complete", "aborted_by_worker", "timeout", "left", "cut")
#: A route with what happens to it, or nothing; and what becomes of the answer.
Weather = tuple[tuple[str, str] | None, str]
WEATHER = st.tuples(
    st.none() | st.tuples(st.sampled_from(ROUTES), st.sampled_from(FAULTS)),
    st.sampled_from(["complete"] * 4 + list(ENDS)),
)


class StrictScript(OpenAssistantScript):
    """
    A server that refuses what the real one does, and has faults.

    Attributes:
        faults: what is to happen, once, by route.
        ends: what becomes of the next answers.
        refused: the 400s that it gave, in its own words.
    """

    def __init__(self, surface: Surface) -> None:
        super().__init__(surface)
        self.faults: dict[str, str] = {}
        self.ends: list[str] = []
        self.refused: list[str] = []
        self.events = self._play
        for route in set(ROUTES):
            setattr(self, f"on_{route}", self._with_faults(route, getattr(self, f"on_{route}")))

    def messages(self) -> dict[str, dict[str, Any]]:
        """Return the messages of the one chat."""
        return self.chats["c1"].messages

    def _with_faults(self, route: str, handler: Handler) -> Handler:
        def answer(connection: Connection, request: Request) -> None:
            fault = self.faults.pop(route, None)
            if fault == "lost":
                connection.reset()
            elif fault == "refused":
                self._refuse(connection, 422, "value is wrong")
            elif fault == "failed":
                self.send_text(connection, "Internal Server Error", 500)
            elif fault == "busy":
                if route == "assistant":
                    self._leave_stub(request)
                self._refuse(connection, 503, "The server is currently busy.")
            else:
                if fault == "answer lost":
                    connection.cut_after(1, reset=True)
                problem = self._problem(route, request)
                if problem:
                    self.refused.append(problem)
                    self._refuse(connection, 400, problem)
                else:
                    handler(connection, request)

        return answer

    def _refuse(self, connection: Connection, status: int, words: str) -> None:
        self.send_json(connection, {"message" if self.surface == "website" else "detail": words}, status)

    def _leave_stub(self, request: Request) -> None:
        send, self.send_new = self.send_new, lambda *_: None  # type: ignore[method-assign]  # for this request
        self._add_message(None, request, self.assistant_ids)  # type: ignore[arg-type]  # nothing is sent
        self.send_new = send  # type: ignore[method-assign]  # as it was

    def _problem(self, route: str, request: Request) -> str:
        """Return what the real server has against a request for a message."""
        if route not in ("prompter", "assistant"):
            return ""
        messages = self.messages()
        parent_id = request.json()["parent_id"]
        if route == "prompter" and parent_id is None:
            return "Trying to add first message to non-empty chat" if messages else ""
        parent = messages.get(parent_id)
        if parent is None:
            return "Parent message not found"
        if route == "assistant":
            return "" if parent["role"] == "prompter" else "Parent message is not a prompter message"
        if parent["role"] != "assistant":
            return "Parent message is not an assistant message"
        return "" if parent["state"] == "complete" else "Parent message is not complete"

    def _play(self, stream: EventWriter) -> None:
        end = self.ends.pop(0) if self.ends else "complete"
        stream.token("Hello")
        if end == "left":
            # Nobody has heard how it ended.
            self.change_message(stream.message_id, state="complete", content="Hello")
            stream.connection.wait_until_left()
        elif end == "cut":
            self.change_message(stream.message_id, state="complete", content="Hello")
            stream.connection.reset()
        elif end == "complete":
            stream.message(content="Hello")
        else:
            stream.error("no luck", state=end)


class Line(Connection):
    """A connection without a socket, for one answer."""

    def __init__(self) -> None:
        self.data = b""
        self.is_broken = False
        self._left: int | None = None

    def send(self, data: bytes) -> None:
        """Keep what is sent."""
        self.data += data if self._left is None else data[: self._left]
        if self._left is not None:
            self.reset()
            raise Disconnected

    def reset(self) -> None:
        """Break off."""
        self.is_broken = True

    def close(self) -> None:
        """Nobody waits for the end."""

    def cut_after(self, count: int, *, reset: bool = False) -> None:
        """Break off soon, however it was meant."""
        self._left = count

    def wait_until_left(self) -> None:
        """Nobody holds the line."""


class Broken(io.BytesIO):
    """A body that breaks off."""

    def read1(self, size: int | None = -1, /) -> bytes:
        """Read, and fail at the end."""
        data = super().read1(size)
        if not data:
            raise ConnectionResetError
        return data


class Memory(requests.adapters.HTTPAdapter):
    """Takes requests straight to a script: sockets would take most of the time of the many short turns."""

    def __init__(self, script: OpenAssistantScript) -> None:
        super().__init__()
        self._script = script
        # The body ends when the connection does.
        script.chunked = False

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Have the script answer."""
        line, body = Line(), request.body or b""
        assert isinstance(body, bytes)
        with suppress(Disconnected):
            self._script._answer(line, Request(str(request.method), request.path_url, HTTPMessage(), body))
        head, end, rest = line.data.partition(END_OF_HEAD)
        if not end:
            raise requests.ConnectionError("the line is dead", request=request)
        status = int(head.split(b" ")[1])
        raw = urllib3.HTTPResponse(
            Broken(rest) if line.is_broken else io.BytesIO(rest), status=status, preload_content=False
        )
        return self.build_response(request, raw)


class Walk:
    """Uses one chat by all its means, and looks after each turn whether its prompt went where it had to."""

    def __init__(self, surface: Surface) -> None:
        self.script = StrictScript(surface)
        session = requests.Session()
        session.mount("http://", Memory(self.script))
        limits = Timeout(first_token=10)
        self.client = Client(self.script.url, **self.script.credentials, max_retries=0, timeout=limits, session=session)
        self.texts = (f"Text {number}" for number in itertools.count())
        self.last_text = ""
        self.selected = ""
        #: Whether the last turn was refused since it was at a wrong place.
        self.was_refused = False
        #: Whether another client may have gone on where this one does not know of it.
        self.is_stale = False
        self.chat = self.client.create_chat()

    def step(self, action: str, number: int, weather: Weather) -> None:
        """Do one thing; the number stands for what it is done to."""
        messages = sorted(self.script.messages())
        getattr(self, action)(messages[number % len(messages)] if messages else None, weather)
        self.check()

    # What is done.

    def ask(self, _: str | None, weather: Weather) -> None:
        """Say something new at the end of the branch in use."""
        self.last_text = next(self.texts)
        self.say(self.last_text, weather)

    def say_it_again(self, _: str | None, weather: Weather) -> None:
        """Repeat oneself, as after an error."""
        self.say(self.last_text or next(self.texts), weather)

    def ask_after(self, message_id: str | None, weather: Weather) -> None:
        """Say something after any message, also one that is no complete answer."""
        if message_id is not None:
            self.last_text = next(self.texts)
            before = set(self.script.messages())
            self.turn(lambda: self.chat.stream(self.last_text, parent=message_id), weather)
            new = self.new_prompts(before)
            assert {message_id} >= {message["parent_id"] for message in new}
            if weather[0] in (("prompter", "lost"), ("prompter", "failed")):
                # It is to be said there.
                assert message_id == self.chat.thread()[-1].id

    def edit(self, message_id: str | None, weather: Weather) -> None:
        """Say something in the place of any prompt but the first."""
        before = dict(self.script.messages())
        if message_id is None or before[message_id]["role"] != "prompter":
            return
        self.last_text = next(self.texts)
        old = before[message_id]["parent_id"]
        self.turn(lambda: self.chat.edit(message_id, self.last_text), weather, may_be=(UnsupportedError,))
        assert {old} >= {message["parent_id"] for message in self.new_prompts(set(before))}

    def regenerate(self, message_id: str | None, weather: Weather) -> None:
        """Have the prompt of any message answered once more."""
        before = set(self.script.messages())
        self.turn(lambda: self.chat.regenerate(message_id), weather, may_be=(ConfigurationError,))
        assert [] == self.new_prompts(before)

    def regenerate_last(self, _: str | None, weather: Weather) -> None:
        """Have the last prompt answered once more."""
        self.regenerate(None, weather)

    def select(self, message_id: str | None, _: Weather) -> None:
        """Choose any message that is not what a full queue has left: nobody can tell that from one that is coming."""
        if message_id is not None and message_id not in self.stubs():
            self.chat.select(message_id)
            self.is_stale, self.selected = False, message_id
            # Said again there, it may well be said twice.
            self.last_text = ""
            assert message_id == self.chat.thread()[-1].id

    def open_again(self, _: str | None, __: Weather) -> None:
        """Go on with what is known to the server alone."""
        if not self.stubs():
            self.chat = self.client.open_chat(self.chat.id)
            self.is_stale = False

    def another_client(self, _: str | None, __: Weather) -> None:
        """Have another client go on where the chat ends for it."""
        if not self.stubs():
            self.is_stale = True
            with suppress(UnsupportedError):
                self.client.open_chat(self.chat.id).ask(next(self.texts))

    # How it is looked at.

    def say(self, text: str, weather: Weather) -> None:
        """Have a turn at the end, and see where its prompt went."""
        before = dict(self.script.messages())
        thread = None if self.is_stale else self.chat.thread()
        known = set(before)
        refused = len(self.script.refused)
        self.turn(lambda: self.chat.stream(text), weather, may_be=(UnsupportedError,))
        # If another client has begun the chat, this one learns that by being told.
        is_refused = refused < len(self.script.refused)
        assert not is_refused or (self.is_stale and not self.was_refused)
        self.was_refused = is_refused
        new = self.new_prompts(known)
        assert len(new) <= 1
        for message in new:
            parent_id = message["parent_id"]
            assert parent_id is None or "complete" == before[parent_id]["state"]
            if thread is None:
                continue
            last = thread[-1] if thread else None
            if last is not None and last.role == "assistant" and last.state != "complete":
                drafts = [item["state"] for item in before.values() if item["parent_id"] == last.parent_id]
                assert last.id == self.selected or "complete" not in drafts
            if last is None:
                assert parent_id is None
            elif last.role == "assistant" and last.state == "complete":
                assert last.id == parent_id
            else:
                prompt = last if last.role == "prompter" else thread[-2]
                assert (prompt.parent_id, True) == (parent_id, prompt.content != text)

    def new_prompts(self, before: set[str]) -> list[dict[str, Any]]:
        """Return the prompts that were posted since."""
        messages = self.script.messages().values()
        return [item for item in messages if item["id"] not in before and item["role"] == "prompter"]

    def stubs(self) -> list[str]:
        """Return the answers that will never come."""
        return [item["id"] for item in self.script.messages().values() if item["state"] == "pending"]

    def turn(self, begin: Callable[[], Any], weather: Weather, may_be: tuple[type[OAError], ...] = ()) -> None:
        """Have a turn, and read it to its end, or leave it."""
        fault, end = weather
        is_left = end == "left"
        self.script.faults, self.script.ends = dict([fault] if fault else []), [end]
        try:
            with begin() as stream:
                if is_left:
                    next(stream)
                else:
                    stream.finish()
            self.is_stale = False
        except may_be:
            pass
        except OAError as error:
            self.judge(error)
        self.script.faults, self.script.ends = {}, []
        # What was asked for, and of which nobody has heard, is complete by now.
        self.settle()

    def settle(self) -> None:
        """Have the answers that are being written come to their end; those of a full queue never do."""
        known = self.chat._position
        for message in self.script.messages().values():
            if message["state"] == "pending" and message["id"] in known._asked | self.lost():
                message.update(state="complete", content="Hello")

    def lost(self) -> set[str]:
        """Return the answers that were asked for while the answer to that was lost."""
        stubbed = self.chat._position._stubbed
        return {item["id"] for item in self.script.messages().values() if item["parent_id"] not in stubbed}

    def judge(self, error: OAError) -> None:
        """See whether an error is one that had to be expected."""
        assert not isinstance(error, TransportTimeout)
        assert "session" not in str(error)

    def check(self) -> None:
        """See that each prompt stands once, below a complete answer, and that nothing is left over."""
        messages = self.script.messages()
        for message in messages.values():
            if message["role"] == "prompter" and message["parent_id"] is not None:
                assert ("assistant", "complete") == tuple(
                    messages[message["parent_id"]][key] for key in ("role", "state")
                )
        assert len([item for item in messages.values() if item["parent_id"] is None]) <= 1
        places = [(item["parent_id"], item["content"]) for item in messages.values() if item["role"] == "prompter"]
        assert len(places) == len(set(places))
        assert {None} >= {exchange.thread for exchange in self.client._engine._exchanges}
        assert [] == self.script.errors

    def close(self) -> None:
        """Leave nothing."""
        try:
            assert () == self.client.close()
            assert ["c1"] == self.script.visible_chats
        finally:
            self.script.close()


#: Those that matter most come more often.
ACTIONS = (
    *["ask", "say_it_again"] * 3,
    *["ask_after", "edit", "regenerate", "regenerate_last", "select"] * 2,
    *("open_again", "another_client"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1000), WEATHER),
    min_size=40,
    max_size=40,
)


@pytest.mark.full
@pytest.mark.parametrize("surface", ["inference", "website"])
def test_any_order(surface: Surface) -> None:
    """Whatever was done before, and went wrong, each prompt goes once to the end of the branch in use."""

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        # With real sockets it takes minutes to make a failure shorter.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STEPS)
    def go(steps: list[tuple[str, int, Weather]]) -> None:
        walk = Walk(surface)
        try:
            for step in steps:
                walk.step(*step)
        finally:
            walk.close()

    go()
