"""
Whatever happens, a stream yields text that agrees with the final message, once and in order, or raises one error of
ours with all that came, within the user's limits, and leaves nothing behind.

`TABLE` is the promise, row by row, and `docs/faults.md` the same table in words: `python -m tests.test_faults` prints
it. Every row is tried with both clients, on both event loops and on both servers, over real sockets, through a proxy.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from oa_client import (
    APIError,
    AsyncClient,
    AsyncStream,
    AuthError,
    BusyError,
    CancelledReplyError,
    Client,
    ConfigurationError,
    GenerationError,
    IncompleteReplyError,
    NotFoundError,
    OAError,
    ProtocolError,
    RateLimitError,
    RequestError,
    Stream,
    Timeout,
    TransportError,
    TransportTimeout,
)
from oa_client._calls import retry as _retry
from tests.faulty import Deed, FaultyProxy
from tests.scripted import (
    END_OF_HEAD,
    PING_COMMENT,
    Connection,
    EventWriter,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    Surface,
    chunk,
    dripping,
    empty_response,
    event,
    in_turn,
    json_response,
    message_json,
    reply,
    response,
    sse_head,
    stall,
)

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "faults.md"
PAGE = b"<!doctype html><title>Are you human?</title>"
#: Until behind the first token, and until into the second.
FIRST, SECOND = b'"text": "Hello"}\r\n\r\n\r\n', b'"text": " wo'


class Scene:
    """
    A server, a proxy before it, and what a row does to them.

    Attributes:
        script: the server.
        proxy: before it; where the client goes.
        patch: undone after the test.
        prompt: what is asked.
        url: another address to go to.
        token_is_read: set when the client has yielded the first token.
        before_close: called when the reply is over.
        leave: how the user leaves the loop after the first token: "break", "close" or "raise"; "" is not at all.
    """

    def __init__(self, surface: Surface, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self.script = stack.enter_context(OpenAssistantScript(surface))
        self.proxy = stack.enter_context(FaultyProxy(self.script.url))
        self.stack, self.patch = stack, patch
        self.credentials = self.script.credentials
        self.prompt = "Hi"
        self.url = self.proxy.url
        self.token_is_read = threading.Event()
        self.before_close: Callable[[], object] = lambda: None
        self.leave = ""

    def delete_chat(self) -> None:
        """Delete the chat behind the client's back."""
        with self.script.update():
            self.script.chats["c1"].deleted = True

    def spoil(self, route: str, handler: Handler) -> None:
        """Have the proxy treat the requests of one route in another way."""
        before = self.proxy.handle

        def handle(connection: Connection, request: Request) -> None:
            (handler if self.script.route(request)[0] == route else before)(connection, request)

        self.proxy.handle = handle

    def when_read(self, deed: Deed) -> Deed:
        """Do something to a connection as soon as the client has yielded the first token."""

        def wait_and_do(connection: Connection) -> None:
            connection.wait(self.token_is_read)
            deed(connection)

        return wait_and_do

    def refusal(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Handler:
        """Return a handler that refuses in the words of the server."""
        name = "message" if self.script.surface == "website" else "detail"
        return reply(json_response({name: detail}, status, {"connection": "close", **(headers or {})}))


Fault = Callable[[Scene], object]
Writer = Callable[[EventWriter], object]


# How a fault is made.


def all_of(*faults: Fault) -> Fault:
    """Make several faults."""
    return lambda scene: [fault(scene) for fault in faults]


def state(name: str, final: str | None = None) -> Fault:
    """Have the message in a state whatever happens, with a text if that is not what the tokens say."""

    def make(scene: Scene) -> None:
        scene.script.message_state, scene.script.final_text = name, final

    return make


def events(*writers: Writer) -> Fault:
    """Have the server write these events."""

    def make(scene: Scene) -> None:
        def write(stream: EventWriter) -> None:
            for writer in writers:
                writer(stream)

        scene.script.events = write

    return make


def hello(stream: EventWriter) -> None:
    """Send the first token."""
    stream.token("Hello")


def silence(stream: EventWriter) -> None:
    """Send nothing more until the client leaves."""
    stream.connection.wait_until_left()


def raw(data: bytes) -> Writer:
    """Send bytes in a chunk."""
    return lambda stream: stream.raw(data)


def endless(data: bytes) -> Writer:
    """Send the same bytes until the client leaves."""

    def write(stream: EventWriter) -> None:
        while True:
            stream.raw(data)

    return write


def fail(words: str, state: str = "aborted_by_worker") -> Writer:
    """End with an error event."""
    return lambda stream: stream.error(words, state=state)


#: Of a message that nobody has asked for.
STRANGERS: dict[str, dict[str, str]] = {
    "another message": {"id": "m9"},
    "a message of another chat": {"chat_id": "c9"},
    "a prompt": {"role": "prompter"},
}


def stranger(**changes: str) -> dict[str, Any]:
    """Return a complete message that is the answer but for the changes."""
    return message_json("m1", "c1", "p1", state="complete", content="Not yours") | changes


def tells_of(kind: str = "message", **changes: str) -> Writer:
    """End with an event about another message."""

    def write(stream: EventWriter) -> None:
        stream.event(kind, error="not yours", message=stranger(**changes))
        stream.end()

    return write


def deleted(*writers: Writer) -> Fault:
    """Have somebody delete the chat while the server writes these events."""
    return lambda scene: events(lambda _: scene.delete_chat(), *writers)(scene)


def deleted_before_a_look(scene: Scene) -> None:
    """Have somebody delete the chat before its message is asked for."""

    def answer(connection: Connection, request: Request) -> None:
        scene.delete_chat()
        scene.proxy.pass_on(connection, request)

    scene.spoil("message", answer)


def pings(*before: bytes) -> Fault:
    """Have the server send pings for ever, behind some events."""

    def make(scene: Scene) -> None:
        head = sse_head(headers={"connection": "close"})
        scene.script.on_events = dripping(head + b"".join(map(chunk, before)), chunk(PING_COMMENT))

    return make


HELLO = event({"event_type": "token", "text": "Hello"})
PENDING = event({"event_type": "pending", "queue_position": 1, "queue_size": 1})


def answers(route: str, handler: Handler) -> Fault:
    """Have the proxy answer all requests of a route."""
    return lambda scene: scene.spoil(route, handler)


def refuses(route: str, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Fault:
    """Have the server refuse all requests of a route."""
    return lambda scene: scene.spoil(route, scene.refusal(status, detail, headers))


def fails(*routes: str) -> Fault:
    """Have the server fail at some routes, as the real ones do: the website in words of its own."""

    def make(scene: Scene) -> None:
        for route in routes:
            if scene.script.surface == "website" and route == "assistant":
                scene.spoil(route, scene.refusal(500, "Something went wrong"))
            else:
                scene.spoil(route, reply(response(500, b"Internal Server Error", {"connection": "close"})))

    return make


def everywhere(handler: Handler) -> Fault:
    """Have the proxy answer whatever is asked."""
    return lambda scene: setattr(scene.proxy, "handle", handler)


def then(fault: Fault, deed: Deed = Connection.reset) -> Fault:
    """Make a fault once the client has read the first token, and cut its connection."""

    def make(scene: Scene) -> None:
        def spoil(connection: Connection) -> None:
            fault(scene)
            deed(connection)

        cut(FIRST, spoil)(scene)

    return make


def cut(behind: bytes, deed: Deed) -> Fault:
    """Have the proxy cut the events behind some bytes, when the client has read the first token."""
    return lambda scene: scene.spoil("events", scene.proxy.spoil(behind, scene.when_read(deed)))


def reset(connection: Connection, _: Request) -> None:
    """Reset a connection in place of an answer."""
    connection.reset()


def cut_head(connection: Connection, _: Request) -> None:
    """Close a connection in the head of an answer."""
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    connection.close()


def troubled_at_two_looks(scene: Scene) -> None:
    """Have all that is read of a chat fail while the message is asked for twice; the website says 500, and 404."""
    looks = itertools.count(1)
    is_well = threading.Event()
    good = scene.proxy.handle
    failure = reply(response(500, b"Internal Server Error", {"connection": "close"}))
    missing = reply(empty_response(404, {"connection": "close"})) if scene.script.surface == "website" else failure

    def handle(connection: Connection, request: Request) -> None:
        route = scene.script.route(request)[0]
        if route == "message" and next(looks) > 2:
            is_well.set()
        bad = {"message": failure, "chats": failure, "chat": missing}
        (good if is_well.is_set() else bad.get(route, good))(connection, request)

    scene.proxy.handle = handle


def chat_cannot_be_read(scene: Scene) -> None:
    """Have a chat fail as on a server in trouble: the website says 404, as for one that was deleted."""
    if scene.script.surface == "website":
        scene.spoil("chat", reply(empty_response(404, {"connection": "close"})))
    else:
        fails("chat")(scene)


def killed(scene: Scene) -> None:
    """Kill the server when the client has read the first token."""
    cut(FIRST, scene.proxy.die)(scene)


def in_utf8(scene: Scene) -> None:
    """Cut the events inside a character."""
    token = 'data: {"event_type": "token", "text": " wörld"}\r\n\r\n'.encode()
    events(hello, raw(token), silence)(scene)
    cut(" wö".encode()[:-1], Connection.close)(scene)


def with_stub(scene: Scene) -> None:
    """Have the queue full: the server refuses, and a pending message stays in the chat."""

    def refuse(connection: Connection, request: Request) -> None:
        with scene.script.update():
            scene.script.chats["c1"].messages["stub"] = message_json("stub", "c1", "p1")
        scene.refusal(503, BUSY)(connection, request)

    scene.script.on_assistant = refuse


def completes_at_the_third_look(scene: Scene) -> None:
    """Have the message in progress when it is asked for, and complete at the third time."""
    good = scene.script.on_message
    states = iter(["in_progress", "in_progress"])

    def tell(connection: Connection, request: Request) -> None:
        scene.script.message_state = next(states, "complete")
        good(connection, request)

    scene.script.on_message = tell


def before_a_repetition(deed: Callable[[Scene], None]) -> Fault:
    """Do something each time when the client has found out that it will repeat a call."""

    def make(scene: Scene) -> None:
        original = _retry.pause_before

        def wait(*arguments: Any) -> float | None:
            deed(scene)
            return original(*arguments)

        scene.patch.setattr("oa_client._calls.exchange.pause_before", wait)

    return make


def not_started(scene: Scene) -> None:
    """Have nobody listen."""
    scene.proxy.refuse()


def no_connection(scene: Scene) -> None:
    """Have a server that takes no connection: its backlog is full."""
    listener = scene.stack.enter_context(socket.socket())
    filler = scene.stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    filler.setblocking(False)
    filler.connect_ex(listener.getsockname())
    scene.url = f"http://127.0.0.1:{listener.getsockname()[1]}"


def too_long(scene: Scene) -> None:
    """Ask more than the website takes."""
    scene.prompt = "é" * (512 * 1024)


def without_credentials(scene: Scene) -> None:
    """Ask without credentials."""
    scene.credentials = {}


def finished(scene: Scene) -> None:
    """Have nothing left of the events: the website makes an empty body of a 204."""
    if scene.script.surface == "website":
        events(EventWriter.end)(scene)
    else:
        scene.script.on_events = reply(empty_response(204))


def patched(name: str, value: Any) -> Fault:
    """Have a limit of the package be another, so that what passes it is small."""
    return lambda scene: scene.patch.setattr(f"oa_client.{name}", value)


def flooded(block: bytes) -> Fault:
    """Have the server send more than can be read, for ever."""

    def flood(connection: Connection, _: Request) -> None:
        connection.send(sse_head(headers={"connection": "close"}))
        while True:
            connection.send(chunk(block))

    return lambda scene: setattr(scene.script, "on_events", flood)


def deletes_at_second_try(first: Handler) -> Fault:
    """Have the first call that deletes the chat go wrong."""
    return lambda scene: scene.spoil("delete", in_turn(first, scene.proxy.pass_on))


def leaves(how: str) -> Fault:
    """Have the user leave after the first token, though more would come."""
    return all_of(lambda scene: setattr(scene, "leave", how), events(hello, silence))


BUSY = "The server is currently busy. Please try again later."
WORLD = "Hello world"


# The table.


@dataclass(frozen=True)
class Row:
    """
    One fault.

    Attributes:
        name: in the user's words.
        fault: how it is made.
        error: what the user sees; None is the text.
        having: attributes of the error.
        words: in its text.
        tokens: what is yielded.
        final: the text of the final message, if that is another.
        ids: how much is known at the end: of the chat, and of the message.
        chat: what becomes of the chat: "deleted", "hidden" (and its id returned by `close`), "left" (its id is too: the
            server cannot be reached), or "none" (was made).
        within: the field of `Timeout` that bounds it, or words.
        limit: of that field, in seconds.
        retries: `max_retries`.
        calls: how often a route is called.
        surfaces: where it can happen.
        is_left: whether the user leaves before the end.
    """

    name: str
    fault: Fault
    error: type[OAError] | None = None
    having: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    tokens: Sequence[str] = ()
    final: str | None = None
    ids: int = 2
    chat: str = "deleted"
    within: str = "at once"
    limit: float | None = None
    retries: int = 0
    calls: Mapping[str, int] = field(default_factory=dict)
    surfaces: Sequence[Surface] = ("website", "inference")
    is_left: bool = False

    @property
    def text(self) -> str:
        """What is yielded."""
        return "".join(self.tokens)

    def __str__(self) -> str:
        """The row of the document."""
        if self.error is not None:
            having = [(name, value) for name, value in self.having.items() if value is not None]
            shown = {name: value for name, value in having if name in ("status", "phase", "reason", "retry_after")}
            sees = ", ".join([f"`{self.error.__name__}`", *(f"`{name}` {value!r}" for name, value in shown.items())])
        elif self.is_left:
            sees = "the text so far; `message` is None"
        else:
            sees = "the whole answer" if self.final is None else "the text so far; `diverged` is true"
        where = "" if len(self.surfaces) > 1 else f" ({self.surfaces[0]})"
        within = f"`{self.within}`" if self.within in FIELDS else self.within
        return f"| {self.name}{where} | {sees} | {within} | {CHATS[self.chat]} |"


FIELDS = ("connect", "read", "first_token", "idle", "total")
CHATS = {"deleted": "deleted", "hidden": "hidden", "left": "left", "none": "not made"}
HEAD = "| what happens | what you see | within | the chat |\n|---|---|---|---|"
#: Of limits that are to be passed: long enough for the calls before the events on a busy machine, and short.
SHORT, CALLS = 0.05, 0.25
GENEROUS = 30.0

#: Breaks in mid-stream, the text as far as it can come being "Hello".
BREAKS: dict[str, Fault] = {
    "the connection is reset in mid-answer": cut(FIRST, Connection.reset),
    "the connection is closed in mid-answer": cut(FIRST, Connection.close),
    "the stream ends in good order, but without its last event": events(hello, EventWriter.end),
    "the stream is cut inside a chunk": cut(SECOND, Connection.close),
    "the stream is cut inside a character": in_utf8,
    "the stream is cut inside an event": events(hello, raw(b'data: {"event_type": "token", "te'), EventWriter.end),
}


def _recovered(name: str, fault: Fault) -> Row:
    final = "Hello wörld" if fault is in_utf8 else WORLD
    whole = all_of(fault, state("complete", final))
    return Row(f"{name}; the server has the answer", whole, tokens=["Hello", final[5:]])


def _lost(name: str, fault: Fault) -> Row:
    unfinished = all_of(fault, state("in_progress"))
    return Row(
        f"{name}; the server never completes it",
        unfinished,
        IncompleteReplyError,
        tokens=["Hello"],
        chat="hidden",
        within="idle",
        limit=SHORT,
    )


def _silence(name: str, fault: Fault, within: str, limit: float, tokens: Sequence[str]) -> Iterator[Row]:
    rest = [WORLD.removeprefix("".join(tokens))]
    yield Row(
        f"{name}; the server has the answer",
        all_of(fault, state("complete")),
        tokens=[*tokens, *rest],
        within=within,
        limit=limit,
    )
    yield Row(
        name,
        fault,
        TransportTimeout,
        {"phase": within},
        tokens=tokens,
        chat="hidden",
        within=within,
        limit=limit,
    )


def _unopened(name: str, handler: Handler) -> Row:
    """The request for the events fails on the line; the answer was asked for all the same."""
    return Row(
        f"{name}; the server has the answer", all_of(answers("events", handler), state("complete")), tokens=[WORLD]
    )


def _look_at_once(scene: Scene) -> None:
    scene.patch.setattr("oa_client._calls.reply.PENDING_LOOK", 0.0)


LOOK = "about 10 s"


def _pending(name: str, *faults: Fault, **outcome: Any) -> Row:
    return Row(name, all_of(_look_at_once, *faults), within=LOOK, **outcome)


def _cancelled(reason: str, chat: str) -> dict[str, Any]:
    return {"error": CancelledReplyError, "having": {"reason": reason}, "chat": chat}


def _broken(name: str, *faults: Fault, words: str) -> Row:
    """A stream in which something comes behind the first token that is no event of an answer."""
    return Row(name, all_of(*faults, state("complete")), ProtocolError, words=words, tokens=["Hello"])


def _bad_answer(name: str, answer: bytes, words: str, *faults: Fault, error: type[OAError] = ProtocolError) -> Row:
    """A server that answers everything in the same bad way."""
    return Row(name, all_of(everywhere(reply(answer)), *faults), error, words=words, ids=0, chat="none")


JSON_HEAD = {"content-type": "application/json", "connection": "close"}
FINAL = "the last event's message"

TABLE: dict[str, list[Row]] = {
    "While the answer arrives": [
        *(_recovered(*item) for item in BREAKS.items()),
        *(_lost(*item) for item in BREAKS.items()),
        Row(
            "the connection is reset before the first token; the server has the answer",
            all_of(
                lambda scene: scene.spoil("events", scene.proxy.spoil(END_OF_HEAD, Connection.reset)), state("complete")
            ),
            tokens=[WORLD],
        ),
        Row(
            "the connection is reset, and the server completes the answer some time later",
            all_of(cut(FIRST, Connection.reset), completes_at_the_third_look),
            tokens=["Hello", " world"],
            calls={"message": 3},
            within="idle",
        ),
        Row(
            "the connection is reset, and nothing can be read for a while, since the database is down",
            all_of(cut(FIRST, Connection.reset), troubled_at_two_looks, state("complete")),
            tokens=["Hello", " world"],
            calls={"message": 3},
            within="idle",
        ),
        Row(
            "the connection is reset, and nothing can be read any more, since the database is down",
            then(all_of(fails("message", "chats", "update", "delete"), chat_cannot_be_read)),
            IncompleteReplyError,
            tokens=["Hello"],
            chat="left",
            within="idle",
            limit=SHORT,
        ),
        Row(
            "the connection is reset; the server's answer does not continue what came",
            all_of(cut(FIRST, Connection.reset), state("complete", "Goodbye")),
            tokens=["Hello"],
            final="Goodbye",
        ),
        Row(
            "the connection is reset; the session has expired meanwhile",
            then(everywhere(reply(empty_response(403)))),
            AuthError,
            {"status": 403},
            tokens=["Hello"],
            chat="left",
        ),
        Row(
            "the connection is reset; from then on a page answers in place of the server",
            then(everywhere(reply(response(200, PAGE, {"content-type": "text/html"})))),
            ProtocolError,
            words="not JSON",
            tokens=["Hello"],
            chat="left",
        ),
        Row(
            "the server is killed",
            killed,
            IncompleteReplyError,
            tokens=["Hello"],
            chat="left",
            within="idle",
            limit=SHORT,
        ),
        Row(
            "the server is stopped and gives the answer up",
            all_of(events(hello, EventWriter.end), state("aborted_by_worker")),
            GenerationError,
            tokens=["Hello"],
        ),
        Row(
            "the answer comes byte by byte",
            lambda scene: scene.spoil("events", scene.proxy.drip),
            tokens=["Hello", " world"],
        ),
        Row(
            "an event is not JSON",
            all_of(events(hello, raw(b"data: {broken\r\n\r\n")), state("complete")),
            ProtocolError,
            words="not JSON",
            tokens=["Hello"],
        ),
    ],
    "Silence": [
        *_silence("not one byte comes", events(silence), "read", CALLS, []),
        *_silence("silence before the first token", events(silence), "first_token", CALLS, []),
        *_silence("nothing but pings before the first token", pings(), "first_token", CALLS, []),
        *_silence("silence in mid-answer", events(hello, silence), "idle", SHORT, ["Hello"]),
        *_silence("nothing but pings in mid-answer", pings(HELLO), "idle", SHORT, ["Hello"]),
        Row(
            "the server behind the website is killed: the connection stays open and silent",
            then(fails("message", "chat", "chats", "update", "delete"), Connection.wait_until_left),
            TransportTimeout,
            {"phase": "read"},
            tokens=["Hello"],
            chat="left",
            within="read",
            limit=CALLS,
            surfaces=["website"],
        ),
        Row(
            "the answer takes too long in all",
            events(hello, silence),
            TransportTimeout,
            {"phase": "total"},
            tokens=["Hello"],
            chat="hidden",
            within="total",
            limit=2 * CALLS,
        ),
        Row(
            "the answer stays in the queue",
            lambda scene: setattr(scene.script, "on_events", dripping(sse_head(), chunk(PENDING))),
            TransportTimeout,
            {"phase": "first_token"},
            chat="hidden",
            within="first_token",
            limit=CALLS,
        ),
    ],
    "The answer will not come": [
        Row("the answer is complete before its events are opened", all_of(finished, state("complete")), tokens=[WORLD]),
        Row(
            "the server gave the answer up before its events are opened",
            all_of(finished, state("aborted_by_worker")),
            GenerationError,
        ),
        Row(
            "the server reports an error before the first token",
            events(fail("out of memory")),
            GenerationError,
            words="out of memory",
        ),
        Row(
            "the server reports an error in mid-answer",
            events(hello, fail("Aborted due to worker error.")),
            GenerationError,
            words="Aborted due to worker error.",
            tokens=["Hello"],
        ),
        Row(
            "the server reports an error whose text is lost",
            all_of(cut(FIRST, Connection.close), state("aborted_by_worker")),
            GenerationError,
            words="gave the answer up",
            tokens=["Hello"],
        ),
        Row(
            "the server reports that the answer waited too long",
            events(fail("Timeout", "timeout")),
            **_cancelled("timeout", "deleted"),
        ),
        Row(
            "the stream ends at once: another request took the answer's place",
            all_of(events(EventWriter.end), state("cancelled")),
            **_cancelled("cancelled", "hidden"),
        ),
        Row(
            "the stream ends at once: the answer waited too long",
            all_of(events(EventWriter.end), state("timeout")),
            **_cancelled("timeout", "deleted"),
        ),
        Row(
            "the stream ends at once: the chat was deleted",
            deleted(EventWriter.end),
            **_cancelled("deleted", "deleted"),
        ),
        Row(
            "the chat is deleted in mid-answer, and only pings come then",
            all_of(pings(HELLO), deleted_before_a_look),
            **_cancelled("deleted", "deleted"),
            tokens=["Hello"],
            within="idle",
            limit=SHORT,
        ),
        _pending(
            "the answer stays in the queue: another request took its place",
            events(EventWriter.pending, silence),
            state("cancelled"),
            **_cancelled("cancelled", "hidden"),
        ),
        _pending(
            "the answer stays in the queue: it waited too long",
            events(EventWriter.pending, silence),
            state("timeout"),
            **_cancelled("timeout", "deleted"),
        ),
        _pending(
            "the answer stays in the queue: the chat was deleted",
            deleted(EventWriter.pending, silence),
            **_cancelled("deleted", "deleted"),
        ),
        _pending(
            "the answer stays in the queue: the server gave it up",
            events(EventWriter.pending, silence),
            state("aborted_by_worker"),
            error=GenerationError,
        ),
        _pending(
            "the answer stays in the queue, and is complete all the same",
            events(EventWriter.pending, silence),
            state("complete"),
            tokens=[WORLD],
        ),
        Row(
            "the answer is in the queue and cannot be looked at; then it comes",
            all_of(
                _look_at_once,
                fails("message"),
                events(EventWriter.pending, hello, lambda stream: stream.message(content=WORLD)),
            ),
            tokens=["Hello", " world"],
        ),
    ],
    "The server refuses": [
        Row("the queue is full", with_stub, BusyError, {"status": 503, "detail": BUSY, "retry_after": None}, ids=1),
        Row(
            "the rate limit, as the real server says it: a plain 500",
            fails("assistant"),
            RateLimitError,
            {"status": 500, "retry_after": None},
            words="probably the rate limit",
            ids=1,
        ),
        Row(
            "the rate limit as 429, with seconds to wait",
            refuses("assistant", 429, "slow down", {"Retry-After": "7"}),
            RateLimitError,
            {"status": 429, "detail": "slow down", "retry_after": 7.0},
            ids=1,
        ),
        Row(
            "the rate limit as 429, with a date that is past",
            refuses("assistant", 429, "slow down", {"Retry-After": "Sun, 22 Nov 2020 15:30:30 GMT"}),
            RateLimitError,
            {"status": 429, "detail": "slow down", "retry_after": 0.0},
            ids=1,
        ),
        Row(
            "the model is unknown",
            refuses("assistant", 422, "Model X not found"),
            RequestError,
            {"status": 422, "detail": "Model X not found"},
            words="list_models",
            ids=1,
        ),
        Row(
            "the message is too long to be sent",
            too_long,
            ConfigurationError,
            words="too long",
            ids=0,
            chat="none",
            surfaces=["website"],
        ),
        Row(
            "the message is too long for the server",
            refuses("prompter", 413, "Message content exceeds max length"),
            RequestError,
            {"status": 413, "detail": "Message content exceeds max length"},
            ids=1,
        ),
        Row(
            "the chat is too long for the server",
            refuses("prompter", 413, "Maximum number of messages reached for this chat"),
            RequestError,
            {"status": 413, "detail": "Maximum number of messages reached for this chat"},
            ids=1,
        ),
        Row(
            "the token has expired",
            refuses("create", 401, "Token expired"),
            AuthError,
            {"status": 401, "detail": "Token expired"},
            words="log in again",
            ids=0,
            chat="none",
            surfaces=["inference"],
        ),
        Row(
            "the session has expired, or the user is banned",
            answers("create", reply(empty_response(403))),
            AuthError,
            {"status": 403, "detail": ""},
            words="banned",
            ids=0,
            chat="none",
            surfaces=["website"],
        ),
        Row(
            "a login is needed, and no credentials are given",
            all_of(without_credentials, answers("create", reply(empty_response(403)))),
            AuthError,
            {"status": 403},
            words="no credentials are given",
            ids=0,
            chat="none",
            surfaces=["website"],
        ),
        Row(
            "an inference server is asked, and no token is given",
            all_of(without_credentials, everywhere(reply(json_response({"detail": "Not Found"}, 404)))),
            NotFoundError,
            {"status": 404, "detail": "Not Found"},
            words="token=",
            ids=0,
            chat="none",
            surfaces=["inference"],
        ),
        Row(
            "the server behind the website is down",
            fails("create"),
            APIError,
            {"status": 500, "detail": "Internal Server Error"},
            ids=0,
            chat="none",
            surfaces=["website"],
        ),
        Row(
            "the server breaks down when an answer is asked for",
            fails("assistant", "chat", "chats", "update", "delete"),
            APIError,
            {"status": 500},
            ids=1,
            chat="left",
        ),
        Row(
            "the events cannot be opened",
            all_of(fails("events"), state("complete")),
            APIError,
            {"status": 500},
        ),
        Row(
            "the session has expired when the events are asked for",
            all_of(refuses("events", 403, "Forbidden"), state("complete")),
            AuthError,
            {"status": 403},
        ),
        Row(
            "there is no such answer when the events are asked for",
            all_of(refuses("events", 404, "Not found"), state("complete")),
            NotFoundError,
            {"status": 404},
        ),
    ],
    "Something else answers": [
        Row(
            "a page at each call, with status 200: a captive portal, or another server",
            everywhere(reply(response(200, PAGE, {"content-type": "text/html"}))),
            ProtocolError,
            words="is base_url right",
            ids=0,
            chat="none",
        ),
        Row(
            "a page with status 502",
            everywhere(reply(response(502, PAGE, {"content-type": "text/html"}))),
            APIError,
            {"status": 502, "detail": ""},
            words="an HTML page",
            ids=0,
            chat="none",
        ),
        Row(
            "a bot wall's page with status 200 in place of the events",
            all_of(answers("events", reply(response(200, PAGE, {"content-type": "text/html"}))), state("complete")),
            ProtocolError,
            words="HTML",
        ),
        Row(
            "a page with status 502 in place of the events; the server has the answer",
            all_of(answers("events", reply(response(502, PAGE, {"content-type": "text/html"}))), state("complete")),
            tokens=[WORLD],
        ),
        Row(
            "a redirect to another host",
            everywhere(reply(empty_response(302, {"location": "https://oa.example.org/"}))),
            APIError,
            {"status": 302},
            words="https://oa.example.org",
            ids=0,
            chat="none",
        ),
        Row(
            "JSON of another shape: no Open-Assistant server",
            everywhere(reply(json_response({"object": "list", "data": []}))),
            ProtocolError,
            words="is this an Open-Assistant server?",
            ids=0,
            chat="none",
        ),
    ],
    "A broken or hostile server": [
        _broken(
            "a line without end",
            patched("_wire.sse.EVENT_LIMIT", 1000),
            events(hello, raw(b"data: "), endless(b"x" * 600)),
            words="an event is longer",
        ),
        _broken(
            "an event without end",
            patched("_wire.sse.EVENT_LIMIT", 1000),
            events(hello, endless(b"data: x\r\n" * 60)),
            words="an event is longer",
        ),
        Row(
            "an answer without end",
            all_of(
                patched("_calls.reply.TEXT_LIMIT", 5),
                events(hello, lambda stream: stream.token(" world"), silence),
                state("complete"),
            ),
            ProtocolError,
            words="longer than 5 characters",
            tokens=["Hello", " world"],
        ),
        _bad_answer(
            "a small compressed answer that is very large",
            response(200, gzip.compress(b" " * 2000), {**JSON_HEAD, "content-encoding": "gzip"}),
            "more than 1000 bytes",
            patched("_net.transport.ANSWER_LIMIT", 1000),
        ),
        _bad_answer("JSON of endless depth", response(200, b"[" * 100_000, JSON_HEAD), "not JSON"),
        _bad_answer(
            "headers without end",
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n",
            "headers",
            error=TransportError,
        ),
        _bad_answer(
            "an id that cannot be one", json_response({"id": ".."}, 200, JSON_HEAD), "an id that is empty, too long"
        ),
        Row(
            "an answer that drips",
            everywhere(dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b" ")),
            TransportTimeout,
            {"phase": "read"},
            ids=0,
            chat="none",
            within="read",
            limit=CALLS,
        ),
        Row(
            "events that drip",
            lambda scene: setattr(scene.script, "on_events", dripping(sse_head(), chunk(b"x"))),
            TransportTimeout,
            {"phase": "first_token"},
            chat="hidden",
            within="first_token",
            limit=CALLS,
        ),
        Row(
            "pings that come faster than they can be read",
            flooded(PING_COMMENT * 2000),
            TransportTimeout,
            {"phase": "first_token"},
            chat="hidden",
            within="first_token",
            limit=CALLS,
        ),
        _broken(
            "an event of endless depth", events(hello, raw(b"data: " + b"[" * 100_000 + b"\r\n\r\n")), words="not JSON"
        ),
        _broken("an event that is not an object", events(hello, raw(b"data: []\r\n\r\n")), words="not a JSON object"),
        Row(
            f"{FINAL} is not complete; the server has the answer",
            all_of(events(hello, lambda stream: stream.message(state="in_progress")), state("complete")),
            tokens=["Hello", " world"],
        ),
        *(
            Row(
                f"the last event tells of {what}; the server has the answer",
                all_of(events(hello, tells_of(**changes)), state("complete")),
                tokens=["Hello", " world"],
            )
            for what, changes in STRANGERS.items()
        ),
        *(
            Row(
                f"the server reports an error of {what}; it has the answer",
                all_of(events(hello, tells_of("error", **changes)), state("complete")),
                tokens=["Hello", " world"],
            )
            for what, changes in STRANGERS.items()
        ),
        Row(
            "the last event tells of another message; the server never completes the answer",
            all_of(events(hello, tells_of(id="m9")), state("in_progress")),
            IncompleteReplyError,
            tokens=["Hello"],
            chat="hidden",
            within="idle",
            limit=SHORT,
        ),
        Row(
            f"{FINAL} was given up",
            events(hello, lambda stream: stream.message(state="aborted_by_worker")),
            GenerationError,
            tokens=["Hello"],
        ),
        *(
            Row(
                f"the connection is reset; asked for the answer, the server tells of {what}",
                all_of(
                    cut(FIRST, Connection.reset),
                    answers("message", reply(json_response(stranger(**changes), 200, JSON_HEAD))),
                ),
                ProtocolError,
                words="another message",
                tokens=["Hello"],
                chat="hidden",
            )
            for what, changes in STRANGERS.items()
        ),
        Row(
            "bytes that are no UTF-8",
            events(
                hello,
                raw(b'data: {"event_type": "token", "text": " \xff"}\r\n\r\n'),
                lambda stream: stream.message(content=WORLD),
            ),
            tokens=["Hello", " \ufffd"],
            final=WORLD,
        ),
        Row(
            "a character in two halves",
            events(
                hello,
                lambda stream: stream.token("\ud83d"),
                lambda stream: stream.token("\ude42"),
                lambda stream: stream.message(content="Hello\U0001f642"),
            ),
            tokens=["Hello", "\U0001f642"],
        ),
        Row("an error with half of a character", events(fail("no \ud800")), GenerationError, words="no \ufffd"),
    ],
    "The user leaves early": [
        *(
            Row(name, leaves(how), tokens=["Hello"], chat="hidden", is_left=True)
            for how, name in {
                "break": "the loop is left by `break`",
                "close": "the stream is closed in the loop",
                "raise": "the loop raises an error of its own",
            }.items()
        ),
        Row(
            "the loop is left by `break`; the server completes the answer",
            all_of(leaves("break"), state("complete")),
            tokens=["Hello"],
            is_left=True,
        ),
    ],
    "The chat cannot be deleted": [
        Row(
            "deleting it fails at first",
            deletes_at_second_try(reply(response(500, b"Internal Server Error", {"connection": "close"}))),
            tokens=["Hello", " world"],
        ),
        Row("deleting it always fails", fails("delete"), tokens=["Hello", " world"], chat="hidden"),
        Row(
            "deleting it is not answered at first",
            all_of(patched("_calls.exchange.DELETE_LIMIT", SHORT), deletes_at_second_try(stall)),
            tokens=["Hello", " world"],
            within="about 1 s",
        ),
    ],
    "Before the answer begins": [
        Row(
            "nothing listens at the address",
            not_started,
            TransportError,
            {"is_unsent": True},
            words="oa-client serve",
            ids=0,
            chat="none",
        ),
        Row(
            "no connection comes about",
            no_connection,
            TransportTimeout,
            {"phase": "connect", "is_unsent": True},
            ids=0,
            chat="none",
            within="connect",
            limit=SHORT,
        ),
        Row(
            "no answer to the first call",
            answers("create", stall),
            TransportTimeout,
            {"phase": "read"},
            ids=0,
            chat="none",
            within="read",
            limit=SHORT,
        ),
        Row(
            "no answer to the first call within the time for all",
            answers("create", stall),
            TransportTimeout,
            {"phase": "total"},
            ids=0,
            chat="none",
            within="total",
            limit=SHORT,
        ),
        Row(
            "no answer when the prompt is posted",
            answers("prompter", stall),
            TransportTimeout,
            {"phase": "read"},
            ids=1,
            within="read",
            limit=CALLS,
        ),
        Row(
            "no answer when an answer is asked for",
            answers("assistant", stall),
            TransportTimeout,
            {"phase": "first_token"},
            ids=1,
            chat="hidden",
            within="first_token",
            limit=SHORT,
        ),
        _unopened("the connection is reset when the events are asked for", reset),
        _unopened("the connection is closed when the events are asked for", lambda connection, _: connection.close()),
        _unopened("the head of the events is cut", cut_head),
        _unopened("a proxy loses the answer when the events are asked for", reply(empty_response(504))),
        Row(
            "the connection is reset when the events are asked for; the server never completes the answer",
            all_of(answers("events", reset), state("in_progress")),
            IncompleteReplyError,
            chat="hidden",
            within="first_token",
            limit=CALLS,
        ),
        Row(
            "the events are not opened in time; the server has the answer",
            all_of(answers("events", stall), state("complete")),
            tokens=[WORLD],
            within="read",
            limit=CALLS,
        ),
        Row(
            "the events are not opened in time",
            answers("events", stall),
            TransportTimeout,
            {"phase": "read"},
            chat="hidden",
            within="read",
            limit=CALLS,
        ),
        Row(
            "the time for the first token ends before the events are opened; the server has the answer",
            all_of(answers("events", stall), state("complete")),
            tokens=[WORLD],
            within="first_token",
            limit=CALLS,
        ),
    ],
    "Calls that are repeated": [
        Row(
            "nothing listens at first",
            all_of(not_started, before_a_repetition(lambda scene: scene.proxy.listen())),
            tokens=["Hello", " world"],
            within="`max_retries`",
            retries=1,
        ),
        Row(
            "nothing ever listens",
            not_started,
            TransportError,
            {"is_unsent": True},
            ids=0,
            chat="none",
            within="`max_retries`",
            retries=2,
        ),
        Row(
            "the queue is full, then the rate is limited, then it works",
            lambda scene: setattr(
                scene.script,
                "on_assistant",
                in_turn(scene.refusal(503, BUSY), scene.refusal(429, "slow"), scene.script.on_assistant),
            ),
            tokens=["Hello", " world"],
            within="`max_retries`",
            retries=2,
            calls={"assistant": 3},
        ),
        Row(
            "the queue stays full",
            with_stub,
            BusyError,
            {"status": 503, "retry_after": None},
            ids=1,
            within="`max_retries`",
            retries=2,
            calls={"assistant": 3},
        ),
        Row(
            "the server asks for more patience than the limits allow",
            refuses("assistant", 503, BUSY, {"Retry-After": "20"}),
            BusyError,
            {"status": 503, "retry_after": 20.0},
            ids=1,
            within="first_token",
            limit=10,
            retries=2,
            calls={"assistant": 1},
        ),
        Row(
            "the server asks for an hour",
            refuses("create", 429, "slow down", {"Retry-After": "3600"}),
            RateLimitError,
            {"status": 429, "retry_after": 3600.0},
            ids=0,
            chat="none",
            retries=2,
            calls={"create": 1},
        ),
        Row(
            "a proxy loses the answer to a post, which may have had an effect",
            answers("prompter", reply(empty_response(504))),
            APIError,
            {"status": 504},
            ids=1,
            retries=2,
            calls={"prompter": 1},
        ),
        Row(
            "a proxy loses the answer when the message is read",
            all_of(
                cut(FIRST, Connection.reset),
                state("complete"),
                lambda scene: scene.spoil("message", in_turn(reply(empty_response(504)), scene.proxy.pass_on)),
            ),
            tokens=["Hello", " world"],
            within="idle",
        ),
    ],
}


# The test.


@dataclass
class Seen:
    """What a user has seen of one reply."""

    tokens: list[str] = field(default_factory=list)
    stream: Stream | AsyncStream | None = None
    error: OAError | None = None
    undeleted: tuple[str, ...] = ()


class Left(Exception):  # noqa: N818 - the user's own, for leaving
    """What the user raises in the loop."""


Settings = Mapping[str, Any]
Settle = Callable[[], float]


def read_blocking(scene: Scene, settings: Settings, settle: Settle) -> Seen:
    """Read a reply with the blocking client."""
    seen = Seen()
    client = Client(scene.url, **settings)
    try:
        with suppress(Left), client.stream(scene.prompt) as seen.stream:
            for token in seen.stream:
                seen.tokens.append(token)
                scene.token_is_read.set()
                if scene.leave == "break":
                    break
                if scene.leave == "raise":
                    raise Left
                if scene.leave == "close":
                    seen.stream.close()
    except OAError as error:
        seen.error = error
    seen.undeleted = client.close(settle())
    return seen


async def read_async(scene: Scene, settings: Settings, settle: Settle) -> Seen:
    """Read a reply with the async client."""
    seen = Seen()
    client = AsyncClient(scene.url, **settings)
    try:
        with suppress(Left):
            async with client.stream(scene.prompt) as seen.stream:
                async for token in seen.stream:
                    seen.tokens.append(token)
                    scene.token_is_read.set()
                    if scene.leave == "break":
                        break
                    if scene.leave == "raise":
                        raise Left
                    if scene.leave == "close":
                        await seen.stream.aclose()
    except OAError as error:
        seen.error = error
    seen.undeleted = await client.aclose(settle())
    return seen


def is_quick(params: Mapping[str, Any]) -> bool:
    """Whether a combination is needed for each row to be seen on both servers and both event loops."""
    if not {"row", "surface", "face"} <= params.keys() or len(params["row"].surfaces) == 1:
        return True
    return params["face"] == "Client" or (params["face"], params["surface"]) in {
        ("asyncio", "website"),
        ("trio", "inference"),
    }


@pytest.mark.parametrize("face", ["Client", "asyncio", "trio"])
@pytest.mark.parametrize(
    ("row", "surface"),
    [
        pytest.param(row, surface, id=f"{row.name}, {surface}")
        for rows in TABLE.values()
        for row in rows
        for surface in row.surfaces
    ],
)
def test_fault(row: Row, surface: Surface, face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user sees what the row says, with all that came, and nothing is left."""
    for name in ("_calls.clock.FIRST_PAUSE", "_calls.cleanup.FIRST_PAUSE", "_calls.retry.FIRST_DELAY"):
        monkeypatch.setattr(f"oa_client.{name}", 0.01)
    try:
        run_row(row, surface, face, monkeypatch, row.limit)
    except AssertionError:
        if row.limit is None:
            raise
        # A busy machine may pass a limit so short before the row does; a longer one is as good.
        run_row(row, surface, face, monkeypatch, 20 * row.limit)


def run_row(row: Row, surface: Surface, face: str, monkeypatch: pytest.MonkeyPatch, limit: float | None) -> None:
    """Make the fault, and look at what comes of it, with a limit of so many seconds."""
    with ExitStack() as stack:
        scene = Scene(surface, stack.enter_context(monkeypatch.context()), stack)
        row.fault(scene)
        limits = dict.fromkeys(FIELDS, GENEROUS) | ({} if limit is None else {row.within: limit})
        settings = {**scene.credentials, "timeout": Timeout(**limits), "max_retries": row.retries}

        def settle() -> float:
            """See to it that nothing is left to be waited for, and return the limit of `close`."""
            scene.before_close()
            if row.chat == "hidden":
                scene.script.wait_until(lambda: scene.script.chats["c1"].hidden)
            return 0.0 if row.chat in ("hidden", "left") else 10.0

        if face == "Client":
            seen = read_blocking(scene, settings, settle)
        else:
            seen = anyio.run(read_async, scene, settings, settle, backend=face)

        check_reply(row, seen)
        check_remains(row, seen, scene)


def check_reply(row: Row, seen: Seen) -> None:
    """Make sure that the user has got what the row says."""
    ids = ("c1" if row.ids > 0 else None, "m1" if row.ids > 1 else None)
    error, stream = seen.error, seen.stream

    assert (type(error) if error else None) is row.error, repr(error)
    assert seen.tokens == list(row.tokens)
    if stream is not None and stream.chat_id is not None:
        assert (stream.chat_id, stream.message_id, stream.text) == (*ids, row.text)
    if row.is_left:
        assert error is None
        assert stream is not None
        assert stream.message is None
    elif error is None:
        assert stream is not None
        final = row.text if row.final is None else row.final
        assert (str(stream.message), stream.diverged) == (final, row.final is not None)
    else:
        assert stream is None or stream.message is None
        assert (error.chat_id, error.message_id, error.text) == (*ids, row.text)
        assert {name: getattr(error, name) for name in row.having} == dict(row.having)
        assert row.words in str(error)


def check_remains(row: Row, seen: Seen, scene: Scene) -> None:
    """Make sure that nothing is left: no connection, no chat that nobody knows of, no second reader."""
    for server in (scene.script, scene.proxy):
        server.wait_until(partial(has_no_connections, server))
    chats = {
        chat.id: "deleted" if chat.deleted else "hidden" if chat.hidden else "left"
        for chat in scene.script.chats.values()
    }

    assert chats == ({} if row.chat == "none" else {"c1": row.chat})
    assert seen.undeleted == (("c1",) if row.chat in ("hidden", "left") else ())
    assert sum("/events" in request.path for request in scene.proxy.requests) <= 1
    for route, count in row.calls.items():
        assert [scene.script.route(request)[0] for request in scene.proxy.requests].count(route) == count


def has_no_connections(server: ScriptedServer) -> bool:
    """Whether all connections to a server are closed."""
    return server.open_connections == 0


def written() -> str:
    """Return the table as it is in the document."""
    parts = (f"## {title}\n\n{HEAD}\n" + "\n".join(map(str, rows)) for title, rows in TABLE.items())
    return "\n\n".join(parts)


def test_document_is_the_table() -> None:
    """`docs/faults.md` has each row of the table, in the same words, and no other."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    ours = written().splitlines()

    assert [line for line in lines if line.startswith(("## ", "| "))] == [
        line for line in ours if line.startswith(("## ", "| "))
    ]


def test_rows_are_told_apart() -> None:
    """No two rows have the same name."""
    names = [row.name for rows in TABLE.values() for row in rows]

    assert len(set(names)) == len(names)


if __name__ == "__main__":
    print(written())
