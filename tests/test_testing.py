"""
The server for tests of one's own program: what a client sees of each fault is what `docs/faults.md` promises.

Each row is tried with both clients on both surfaces; what is on the wire then, with a plain socket.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
import requests

from oa_client import (
    APIError,
    AsyncClient,
    AuthError,
    BusyError,
    CancelledReplyError,
    Client,
    GenerationError,
    IncompleteReplyError,
    OAError,
    RateLimitError,
    RequestError,
    Timeout,
    TransportError,
    TransportTimeout,
)
from oa_client.testing import (
    Cancelled,
    Cut,
    Drop,
    ErrorEvent,
    OAServer,
    Pause,
    Pings,
    Queued,
    RateLimit,
    Refuse,
    Reply,
    SeenChat,
    Stall,
    TimedOut,
)

PATIENCE = 30  # seconds after which a test that waits for something has failed
WHOLE = "Hello, wörld"
TOKENS = ["Hello,", " wörld"]
#: Short limits of which one runs out.
QUICK_FIRST_TOKEN = Timeout(first_token=0.2)
QUICK_IDLE = Timeout(idle=0.2)
QUICK_READ = Timeout(read=0.2)


@dataclass(frozen=True)
class Row:
    """
    A promise.

    Attributes:
        fault: what goes wrong: with the answer, or a call's (route, fault).
        error: what is raised; None for the whole answer.
        facts: attributes of the error.
        text: what came before it.
        timeout: the client's limits.
        chat: what becomes of the chat.
    """

    fault: Any
    error: type[OAError] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    timeout: Timeout = field(default_factory=Timeout)
    chat: str = "deleted"


FIRST = "Hello,"
ROWS = {
    "closed": Row(Drop(after=1)),
    "closed before the first token": Row(Drop()),
    "closed behind the last token": Row(Drop(after=2)),
    "reset": Row(Drop(after=1, how="reset")),
    "ended without the last event": Row(Drop(after=1, how="end")),
    "cut in a chunk": Row(Cut(after=1)),
    "cut in an event": Row(Cut(after=1, inside="event")),
    "cut in a character": Row(Cut(after=1, inside="character")),
    "closed and never complete": Row(
        Drop(after=1, then="unfinished"), IncompleteReplyError, text=FIRST, timeout=QUICK_IDLE
    ),
    "cut and never complete": Row(
        Cut(after=1, then="unfinished"), IncompleteReplyError, text=FIRST, timeout=QUICK_IDLE
    ),
    "closed and given up": Row(Drop(after=1, then="aborted"), GenerationError, text=FIRST),
    "silent": Row(Stall(), TransportTimeout, {"phase": "first_token"}, timeout=QUICK_FIRST_TOKEN),
    "silent in mid-answer": Row(Stall(after=1), TransportTimeout, {"phase": "idle"}, FIRST, QUICK_IDLE),
    "not one byte": Row(Stall(), TransportTimeout, {"phase": "read"}, timeout=QUICK_READ),
    "silent, but the server has it": Row(Stall(after=1, then="complete"), timeout=QUICK_IDLE),
    "pings only": Row(Pings(), TransportTimeout, {"phase": "first_token"}, timeout=Timeout(first_token=0.2, read=5)),
    "pings only in mid-answer": Row(Pings(after=1), TransportTimeout, {"phase": "idle"}, FIRST, QUICK_IDLE),
    "pings only, but the server has it": Row(Pings(after=1, then="complete"), timeout=QUICK_IDLE),
    "error": Row(ErrorEvent("no more power"), GenerationError, {"args": ("no more power",)}),
    "error in mid-answer": Row(ErrorEvent("oh", after=1), GenerationError, {"args": ("oh",)}, FIRST),
    "error at the end": Row(ErrorEvent("oh", after=2), GenerationError, {"args": ("oh",)}, WHOLE),
    "queued": Row(Queued(), TransportTimeout, {"phase": "first_token"}, timeout=QUICK_FIRST_TOKEN),
    "cancelled": Row(
        Cancelled(), CancelledReplyError, {"reason": "cancelled"}, timeout=QUICK_FIRST_TOKEN, chat="hidden"
    ),
    "timed out": Row(TimedOut(), CancelledReplyError, {"reason": "timeout"}),
    "queue is full": Row(("assistant_message", Refuse(503)), BusyError, {"status": 503}),
    "rate limit": Row(("assistant_message", RateLimit()), RateLimitError, {"status": 500, "retry_after": None}),
    "rate limit as meant": Row(
        ("assistant_message", Refuse(429, retry_after=7)), RateLimitError, {"status": 429, "retry_after": 7.0}
    ),
    "too long": Row(
        ("prompter_message", Refuse(413, "Message content exceeds max length")),
        RequestError,
        {"status": 413, "detail": "Message content exceeds max length"},
    ),
    "fields": Row(("assistant_message", Refuse(422, [{"loc": []}])), RequestError, {"detail": [{"loc": []}]}),
    "signed out": Row(("create_chat", Refuse(401)), AuthError, {"status": 401}, chat="not made"),
    "bad gateway": Row(("create_chat", Refuse(502)), APIError, {"status": 502}, chat="not made"),
    "events cannot be opened": Row(("events", Refuse(500)), APIError, {"status": 500}),
    "dropped call": Row(("create_chat", Drop()), TransportError, chat="not made"),
    "reset call": Row(("create_chat", Drop(how="reset")), TransportError, chat="not made"),
    "silent call": Row(
        ("create_chat", Stall()), TransportTimeout, {"phase": "read"}, timeout=QUICK_READ, chat="not made"
    ),
    "silent prompt": Row(("prompter_message", Stall()), TransportTimeout, {"phase": "read"}, timeout=QUICK_READ),
    "silent question": Row(
        ("assistant_message", Stall(), True), TransportTimeout, {"phase": "first_token"}, timeout=QUICK_FIRST_TOKEN
    ),
    "silent events": Row(("events", Stall()), TransportTimeout, {"phase": "read"}, timeout=QUICK_READ),
}


def play(server: OAServer, row: Row) -> None:
    """Tell the server what is to happen."""
    if not isinstance(row.fault, tuple):
        server.reply(WHOLE, tokens=TOKENS, fault=row.fault)
        return
    route, fault, *carried_out = row.fault
    server.fail(route, fault, carried_out=bool(carried_out))
    if route == "events" or carried_out:
        server.reply(WHOLE, tokens=TOKENS)


def read(server: OAServer, timeout: Timeout) -> Iterator[str]:
    """Ask with the blocking client."""
    with Client(server.url, **server.credentials, timeout=timeout, max_retries=0) as client:
        yield from client.stream("Hi")


def read_async(server: OAServer, timeout: Timeout, *, backend: str) -> Iterator[str]:
    """Ask with the async client."""
    texts: list[str] = []

    async def ask() -> None:
        async with AsyncClient(server.url, **server.credentials, timeout=timeout, max_retries=0) as client:
            async for text in client.stream("Hi"):
                texts.append(text)

    try:
        anyio.run(ask, backend=backend)
    finally:
        yield from texts


READERS = {"blocking": read, "asyncio": partial(read_async, backend="asyncio")}


@pytest.mark.oa_surface("inference", "website")
@pytest.mark.parametrize("reader", [pytest.param(reader, id=name) for name, reader in READERS.items()])
@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_fault(oa_server: OAServer, row: Row, reader: Callable[[OAServer, Timeout], Iterator[str]]) -> None:
    """A client sees what the table of faults promises, and leaves of the chat what it promises."""
    play(oa_server, row)
    texts: list[str] = []
    error: OAError | None = None
    try:
        texts.extend(reader(oa_server, row.timeout))
    except OAError as raised:
        error = raised

    assert type(error) is (row.error or type(None))
    if error is None:
        assert "".join(texts) == WHOLE
    else:
        assert error.text == row.text
        assert {name: getattr(error, name) for name in row.facts} == row.facts
    oa_server.assert_no_chat_left()
    became = ["deleted" if chat.deleted else "hidden" if chat.hidden else "left" for chat in oa_server.chats]
    assert became == ([] if row.chat == "not made" else [row.chat])


# What is on the wire.


class Plain:
    """A program that speaks the protocol without a client of ours."""

    def __init__(self, server: OAServer) -> None:
        self.server = server
        self.is_website = server.surface == "website"
        self.headers = (
            {"Cookie": "; ".join(f"{name}={value}" for name, value in server.credentials["cookies"].items())}
            if self.is_website
            else {"Authorization": f"Bearer {server.credentials['token']}"}
        )

    def send(self, method: str, path: str, data: Any = None) -> requests.Response:
        """Send a request."""
        return requests.request(
            method, self.server.url + path, json=data, headers=self.headers, timeout=PATIENCE, stream=True
        )

    def post(self, noun: str, chat_id: str, **data: Any) -> requests.Response:
        """Post a message."""
        if self.is_website:
            return self.send("POST", f"/api/chat/{noun}", {"chat_id": chat_id, **data})
        return self.send("POST", f"/chats/{chat_id}/{noun}", data)

    def create(self) -> str:
        """Make a chat."""
        return str(self.send("POST", "/api/chat" if self.is_website else "/chats", {}).json()["id"])

    def ask(self, prompt: str, chat_id: str | None = None, parent_id: str | None = None) -> tuple[str, str]:
        """Ask, and return the ids of the chat and of the answer."""
        chat_id = chat_id or self.create()
        asked = self.post("prompter_message", chat_id, content=prompt, parent_id=parent_id).json()
        model = "OA_SFT_Llama_30B_6"
        answer = self.post("assistant_message", chat_id, parent_id=asked["id"], model_config_name=model).json()
        return chat_id, answer["id"]

    def look(self, chat_id: str, message_id: str) -> dict[str, Any]:
        """Ask for a message."""
        path = f"/chats/{chat_id}/messages/{message_id}"
        if self.is_website:
            path = f"/api/chat/message?chat_id={chat_id}&message_id={message_id}"
        message: dict[str, Any] = self.send("GET", path).json()
        return message

    def update(self, chat_id: str, **changes: Any) -> None:
        """Change a chat."""
        if self.is_website:
            self.send("PUT", "/api/chat", {"chat_id": chat_id, **changes})
        else:
            self.send("PUT", f"/chats/{chat_id}", changes)

    def delete(self, chat_id: str) -> None:
        """Delete a chat."""
        self.send("DELETE", f"/api/chat?chat_id={chat_id}" if self.is_website else f"/chats/{chat_id}")

    def events_path(self, chat_id: str, message_id: str) -> str:
        """Where the events are."""
        if self.is_website:
            return f"/api/chat/events?chat_id={chat_id}&message_id={message_id}"
        return f"/chats/{chat_id}/messages/{message_id}/events"

    def events(self, chat_id: str, message_id: str) -> requests.Response:
        """Open the events."""
        return self.send("GET", self.events_path(chat_id, message_id))

    def open(self, chat_id: str, message_id: str) -> socket.socket:
        """Open the events on a socket of one's own."""
        parts = urlsplit(self.server.url)
        (line,) = self.headers.items()
        head = f"GET {self.events_path(chat_id, message_id)} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        opened = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        opened.sendall(f"{head}{': '.join(line)}\r\n\r\n".encode())
        return opened


@pytest.fixture
def plain(oa_server: OAServer) -> Plain:
    """A program of somebody else."""
    return Plain(oa_server)


def read_all(opened: socket.socket) -> tuple[bytes, bool]:
    """Return what comes until the connection ends, without the head, and whether it is reset."""
    data, is_reset = b"", False
    with opened:
        try:
            while block := opened.recv(1 << 16):
                data += block
        except ConnectionResetError:
            is_reset = True
    return data.partition(b"\r\n\r\n")[2], is_reset


def chunk(event: str) -> bytes:
    """Return a token event as a chunk of a body."""
    data = f'data: {{"event_type": "token", "text": {event}}}\r\n\r\n'.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


both_surfaces = pytest.mark.oa_surface("inference", "website")
HELLO, WORLD = chunk('"Hello,"'), chunk('" w\\u00f6rld"')


@both_surfaces
@pytest.mark.parametrize(
    ("fault", "expected", "is_reset"),
    [
        pytest.param(Drop(), b"", False, id="close at once"),
        pytest.param(Drop(after=1), HELLO, False, id="close"),
        pytest.param(Drop(after=1, how="reset"), HELLO, True, id="reset"),
        pytest.param(Cut(after=1), HELLO + WORLD[:32], False, id="in a chunk"),
        pytest.param(Cut(after=1, inside="event"), HELLO + b"1c\r\n" + WORLD[4:32] + b"\r\n", False, id="in an event"),
        pytest.param(
            Cut(after=1, inside="character"),
            HELLO + b'28\r\ndata: {"event_type": "token", "text": "\xc3\r\n',
            False,
            id="in a character",
        ),
    ],
)
def test_bytes_of_a_broken_stream(
    oa_server: OAServer, plain: Plain, fault: Any, expected: bytes, is_reset: bool
) -> None:
    """The stream breaks off at the byte that the fault says, in the framing of a real server."""
    oa_server.reply(WHOLE, tokens=TOKENS, fault=fault)

    assert read_all(plain.open(*plain.ask("Hi"))) == (expected, is_reset)


@both_surfaces
def test_stream_that_ends_in_good_order(oa_server: OAServer, plain: Plain) -> None:
    """It has its last chunk, but not its last event, and the server has the answer."""
    oa_server.reply(WHOLE, tokens=TOKENS, fault=Drop(after=2, how="end"))
    ids = plain.ask("Hi")

    assert plain.events(*ids).text.count('"event_type": "token"') == 2
    assert plain.look(*ids)["content"] == WHOLE


@both_surfaces
def test_reply_without_a_fault(oa_server: OAServer, plain: Plain) -> None:
    """It is the local server's own: tokens, the message, and nothing more to be read."""
    oa_server.reply(WHOLE, tokens=TOKENS)
    ids = plain.ask("Hi")
    lines = [line for line in plain.events(*ids).text.splitlines() if line]
    again = plain.events(*ids)

    assert [json.loads(line[6:])["event_type"] for line in lines] == ["token", "token", "message"]
    assert json.loads(lines[-1][6:])["message"]["content"] == WHOLE
    assert (again.status_code, again.content) == (200 if plain.is_website else 204, b"")


@both_surfaces
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        pytest.param(Stall(after=1), "in_progress", id="stall"),
        pytest.param(Queued(), "pending", id="queued"),
        pytest.param(Cancelled(), "cancelled", id="cancelled"),
    ],
)
def test_state_of_an_answer_that_does_not_come(oa_server: OAServer, plain: Plain, fault: Any, state: str) -> None:
    """It is shown with the message, no prompt can follow it, and whoever reads it later hears that he has to wait."""
    oa_server.reply(WHOLE, tokens=TOKENS, fault=fault)
    chat_id, answer_id = plain.ask("Hi")
    with plain.events(chat_id, answer_id) as first, plain.events(chat_id, answer_id) as second:
        assert next(first.iter_content(1)) == b"d"
        assert next(second.iter_lines()).startswith(b'data: {"event_type": "pending", "queue_position": 0')
    shown = plain.look(chat_id, answer_id)
    (chat,) = oa_server.chats
    refused = plain.post("prompter_message", chat_id, content="And?", parent_id=answer_id)

    assert (shown["state"], shown["content"]) == (state, None)
    assert (refused.status_code, list(refused.json().values())) == (400, ["Parent message is not complete"])
    assert not chat.settled


@both_surfaces
def test_error_event_of_an_answer_that_waited_too_long(oa_server: OAServer, plain: Plain) -> None:
    """It is the one of the real server, with the message."""
    oa_server.reply(WHOLE, fault=TimedOut())
    chat_id, answer_id = plain.ask("Hi")
    event = json.loads(plain.events(chat_id, answer_id).text[6:])

    assert (event["event_type"], event["error"], event["message"]["state"]) == ("error", "Timeout", "timeout")
    assert event["message"] == plain.look(chat_id, answer_id)


def test_a_queued_answer_is_superseded(oa_server: OAServer, plain: Plain) -> None:
    """Another question cancels it."""
    oa_server.reply("one", fault=Queued())
    oa_server.reply("two")
    first = plain.ask("1")
    with plain.events(*first):
        second = plain.ask("2")

    assert plain.look(*first)["state"] == "cancelled"
    assert plain.look(*second)["state"] != "cancelled"


@both_surfaces
@pytest.mark.parametrize("fault", [pytest.param(Stall(), id="stall"), pytest.param(Queued(), id="queued")])
def test_a_hidden_chat_keeps_nobody_waiting(oa_server: OAServer, plain: Plain, fault: Any) -> None:
    """Hiding it says that its answer is not waited for, which then is completed; and the chat was not left."""
    oa_server.reply(WHOLE, fault=fault)
    ids = plain.ask("Hi")
    with plain.events(*ids):
        plain.update(ids[0], hidden=True)
        while plain.look(*ids)["state"] != "complete":
            continue

    assert plain.look(*ids)["content"] == WHOLE
    oa_server.assert_no_chat_left()


def test_an_answer_is_looked_at_but_not_read(oa_server: OAServer, plain: Plain) -> None:
    """It is written as soon as somebody looks."""
    oa_server.reply(WHOLE)
    ids = plain.ask("Hi")
    while plain.look(*ids)["state"] != "complete":
        continue

    assert plain.look(*ids)["content"] == WHOLE


@both_surfaces
@pytest.mark.parametrize(
    ("route", "fault", "website", "inference"),
    [
        ("assistant_message", RateLimit(), '{"message":"Something went wrong"}', "Internal Server Error"),
        (
            "assistant_message",
            Refuse(503),
            '{"message":"The server is currently busy. Please try again later."}',
            '{"detail":"The server is currently busy. Please try again later."}',
        ),
        ("create_chat", Refuse(502), "Bad Gateway", '{"detail":"Bad Gateway"}'),
        ("create_chat", Refuse(503), "Service Unavailable", '{"detail":"Service Unavailable"}'),
        ("create_chat", Refuse(401), "Unauthorized", '{"detail":"Invalid token"}'),
        ("assistant_message", Refuse(500, "oh"), '{"message":"oh"}', '{"detail":"oh"}'),
        ("create_chat", Refuse(418, "tea"), "tea", '{"detail":"tea"}'),
        ("create_chat", Refuse(599), "Status 599", '{"detail":"Status 599"}'),
        ("create_chat", Refuse(204), "", ""),
    ],
)
def test_words_of_a_refusal(
    oa_server: OAServer, plain: Plain, route: Any, fault: Any, website: str, inference: str
) -> None:
    """A call is refused as its surface does it."""
    oa_server.fail(route, fault)
    if route == "create_chat":
        response = plain.send("POST", "/api/chat" if plain.is_website else "/chats", {})
    else:
        response = plain.post(route, "c")

    assert response.status_code == getattr(fault, "status", 500)
    assert response.text == (website if plain.is_website else inference)


UNKNOWN = "00000000-0000-0000-0000-000000000000"


def by_body(route: str, **data: Any) -> Callable[[Plain], requests.Response]:
    """Return what posts to a route of a chat that is not there."""
    return lambda plain: plain.post(route, UNKNOWN, **data)


def in_chat(method: str, data: Any = None) -> Callable[[Plain], requests.Response]:
    """Return what calls for a chat that is not there."""

    def send(plain: Plain) -> requests.Response:
        if not plain.is_website:
            return plain.send(method, f"/chats/{UNKNOWN}", data)
        if data is None:
            return plain.send(method, f"/api/chat?chat_id={UNKNOWN}")
        return plain.send(method, "/api/chat", {"chat_id": UNKNOWN, **data})

    return send


def create_signed_out(plain: Plain) -> requests.Response:
    """Make a chat as nobody."""
    plain.headers = {}
    return plain.send("POST", "/api/chat" if plain.is_website else "/chats", {})


def create_by_a_wrong_token(plain: Plain) -> requests.Response:
    """Make a chat with a credential that is none."""
    plain.headers = {"Authorization": "Bearer wrong"}
    return plain.send("POST", "/api/chat" if plain.is_website else "/chats", {})


def vote(plain: Plain) -> requests.Response:
    """Vote on a message that is not there."""
    if plain.is_website:
        return plain.send("POST", "/api/chat/vote", {"chat_id": UNKNOWN, "message_id": UNKNOWN, "score": 1})
    return plain.send("POST", f"/chats/{UNKNOWN}/messages/{UNKNOWN}/votes", {"score": 1})


def post_with_a_wrong_parent(plain: Plain) -> requests.Response:
    """Post a prompt behind a message that is not there."""
    return plain.post("prompter_message", plain.create(), content="Hi", parent_id=UNKNOWN)


def open_nothing(plain: Plain) -> requests.Response:
    """Open the events of a message that is not there."""
    return plain.events(UNKNOWN, UNKNOWN)


@both_surfaces
@pytest.mark.parametrize(
    ("route", "call"),
    [
        pytest.param("create_chat", create_signed_out, id="signed out"),
        pytest.param("create_chat", create_by_a_wrong_token, id="wrong token"),
        pytest.param("get_chat", in_chat("GET"), id="get"),
        pytest.param("delete_chat", in_chat("DELETE"), id="delete"),
        pytest.param("update_chat", in_chat("PUT", {"title": "x"}), id="update"),
        pytest.param("prompter_message", by_body("prompter_message", content="Hi"), id="prompt without a chat"),
        pytest.param("prompter_message", post_with_a_wrong_parent, id="prompt without its parent"),
        pytest.param("vote", vote, id="vote"),
        pytest.param("events", open_nothing, id="events"),
    ],
)
def test_refusals_are_the_servers_own(
    oa_server: OAServer, plain: Plain, route: Any, call: Callable[[Plain], requests.Response]
) -> None:
    """One that a test wants with a status has the head and the body with which the server itself refuses."""
    own = call(plain)
    oa_server.fail(route, status=own.status_code)
    wanted = call(plain)
    heads = [{name: value for name, value in one.headers.items() if name != "date"} for one in (own, wanted)]

    assert own.status_code >= 400
    assert (wanted.status_code, wanted.text) == (own.status_code, own.text)
    assert heads[0] == heads[1]


@both_surfaces
def test_a_full_queue_leaves_a_stub(oa_server: OAServer, plain: Plain) -> None:
    """
    It is pending for ever, read or not, and hiding its chat does not change that; one may delete the chat.

    Asked again, the same prompt gets the reply that is meant for it.
    """
    oa_server.fail("assistant_message", status=503)
    oa_server.reply(WHOLE)
    chat_id = plain.create()
    prompt = plain.post("prompter_message", chat_id, content="Hi").json()["id"]
    question = {"parent_id": prompt, "model_config_name": "OA_SFT_Llama_30B_6"}
    refused = plain.post("assistant_message", chat_id, **question)
    path = f"/api/chat?chat_id={chat_id}" if plain.is_website else f"/chats/{chat_id}"
    (stub,) = (one for one in plain.send("GET", path).json()["messages"] if one["role"] == "assistant")
    with plain.events(chat_id, stub["id"]) as events:
        first = json.loads(next(events.iter_lines())[6:])
    answer = plain.post("assistant_message", chat_id, **question).json()["id"]
    text = plain.events(chat_id, answer).text
    plain.update(chat_id, hidden=True)
    later = plain.look(chat_id, stub["id"])
    follow_up = plain.post("prompter_message", chat_id, content="more", parent_id=stub["id"])
    (chat,) = oa_server.chats

    assert refused.status_code == 503
    assert (stub["parent_id"], stub["state"], stub["content"]) == (prompt, "pending", None)
    assert first == {"event_type": "pending", "queue_position": 0, "queue_size": 0}
    assert text.count('"event_type": "message"') == 1
    assert (later["state"], later["content"]) == ("pending", None)
    assert follow_up.status_code == 400
    assert chat.settled


def test_a_stub_is_cancelled_like_any_that_waits(oa_server: OAServer, plain: Plain) -> None:
    """Asking for an answer to another prompt does it."""
    oa_server.fail("assistant_message", status=503)
    oa_server.reply(WHOLE)
    chat_id = plain.create()
    prompt = plain.post("prompter_message", chat_id, content="Hi").json()["id"]
    plain.post("assistant_message", chat_id, parent_id=prompt, model_config_name="OA_SFT_Llama_30B_6")
    plain.ask("else")
    (stub,) = (one for one in plain.send("GET", f"/chats/{chat_id}").json()["messages"] if one["role"] == "assistant")

    assert stub["state"] == "cancelled"


# What is answered.


def test_replies_come_in_their_order(oa_server: OAServer, oa_client: Client) -> None:
    """Each question has the next, in the pieces that were given, or words."""
    oa_server.reply(" Two  words\n")
    oa_server.reply("Hello", tokens=["Hel", "", "lo"])
    oa_server.reply("")

    assert list(oa_client.stream("1")) == [" Two", "  words\n"]
    assert list(oa_client.stream("2")) == ["Hel", "lo"]
    assert list(oa_client.stream("3")) == []
    assert oa_server.prompts == ["1", "2", "3"]


def test_message_that_differs_from_its_tokens(oa_server: OAServer, oa_client: Client) -> None:
    """The final message has the text, whatever the tokens are."""
    oa_server.reply("Goodbye", tokens=["Hello"])
    with oa_client.stream("Hi") as stream:
        assert list(stream) == ["Hello"]
        assert (stream.diverged, str(stream.message)) == (True, "Goodbye")


def test_a_function_answers(oa_server: OAServer, oa_client: Client) -> None:
    """It is given the whole conversation, in the place of replies that are not queued."""
    seen: list[Any] = []

    def answer(messages: Any) -> Any:
        seen.append([(message["role"], message["content"]) for message in messages])
        return Reply("faulty", fault=Drop()) if len(seen) == 2 else f"number {len(seen)}"

    oa_server.replies(answer)
    oa_server.reply("zero")
    chat = oa_client.create_chat(system_prompt="Be brief")
    answers = [str(chat.ask(prompt)) for prompt in "abcd"]

    assert answers == ["zero", "number 1", "faulty", "number 3"]
    assert seen[1][:3] == [("system", "Be brief"), ("user", "a"), ("assistant", "zero")]
    assert seen[1][-1] == ("user", "c")


def test_one_that_stalls_keeps_no_other_waiting(oa_server: OAServer, oa_client: Client) -> None:
    """Other answers are given meanwhile."""
    oa_server.reply("never", fault=Stall(after=0))
    oa_server.replies(lambda messages: messages[-1]["content"])
    with oa_client.stream("0"):
        answers = [str(oa_client.ask(prompt)) for prompt in "123"]

    assert answers == list("123")


@both_surfaces
def test_a_pause(oa_server: OAServer, oa_client: Client) -> None:
    """What came before it can be read meanwhile, and the rest comes when the test says so; also if it says so early."""
    oa_server.reply(WHOLE, tokens=TOKENS, fault=Pause(after=1))
    with oa_client.stream("Hi") as stream:
        before = next(stream)
        (chat,) = oa_server.chats
        oa_server.resume()
        after = list(stream)

    assert [before, *after] == TOKENS
    assert not chat.settled


def test_a_pause_that_is_left(oa_server: OAServer, oa_client: Client) -> None:
    """Leaving early, and closing the client, does not wait for the test."""
    oa_server.reply(WHOLE, tokens=TOKENS, fault=Pause(after=1))
    with oa_client.stream("Hi") as stream:
        next(stream)

    assert oa_client.close() == ()
    oa_server.assert_no_chat_left()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Stall(), id="stall"),
        pytest.param(Queued(), id="queued"),
        pytest.param(Pause(), id="pause"),
    ],
)
def test_the_server_closes_while_an_answer_does_not_come(fault: Any) -> None:
    """The connection ends then, at once."""
    with OAServer() as server:
        plain = Plain(server)
        server.reply("never", fault=fault)
        opened = plain.open(*plain.ask("Hi"))
        with opened:
            opened.recv(1)
            server.close()
            read_all(opened)


# What was seen.


@both_surfaces
def test_requests(oa_server: OAServer, oa_client: Client) -> None:
    """They are named by their nouns, the same on both surfaces, with their bodies and without their secrets."""
    oa_server.reply("Hello")
    oa_client.ask("Hi", sampling={"top_k": 5})
    seen = oa_server.requests
    (secret,) = Plain(oa_server).headers.values()

    assert [request.route for request in seen] == [
        "create_chat",
        "prompter_message",
        "assistant_message",
        "events",
        "delete_chat",
    ]
    assert [request.surface for request in seen] == [oa_server.surface] * 5
    assert (seen[1].json["content"], seen[2].json["sampling_parameters"]) == ("Hi", {"top_k": 5})
    assert {request.chat_id for request in seen[1:]} == {oa_server.chats[0].id}
    assert str(seen[0]) == ("POST /api/chat" if oa_server.surface == "website" else "POST /chats")
    assert secret not in repr(seen)
    assert secret.partition("=")[2] not in repr(seen) or oa_server.surface == "inference"
    assert "***" in seen[0].headers.values()


def test_other_requests(oa_server: OAServer, plain: Plain) -> None:
    """What is no call of the protocol is "other", also where there is no JSON, and a login shows no code."""
    plain.send("GET", "/nowhere")
    plain.send("GET", "/auth/callback/debug?code=secret")
    plain.send("GET", "/api/auth/session")
    other, login, session = oa_server.requests

    assert (other.route, other.json, other.method, other.path) == ("other", None, "GET", "/nowhere")
    assert (login.route, dict(login.query)) == ("login", {"code": "***"})
    assert session.route == "session"


@both_surfaces
def test_chats(oa_server: OAServer, plain: Plain) -> None:
    """Each is known with what has become of it; one that is left is named, unless it is to be kept."""
    left, hidden, deleted, kept = (plain.create() for _ in range(4))
    plain.update(hidden, hidden=True)
    plain.update(left, title="New")
    plain.delete(deleted)

    assert oa_server.chats == [
        SeenChat(left, hidden=False, deleted=False, settled=True, was_left=True),
        SeenChat(hidden, hidden=True, deleted=False, settled=True, was_left=True),
        SeenChat(deleted, hidden=False, deleted=True, settled=True, was_left=False),
        SeenChat(kept, hidden=False, deleted=False, settled=True, was_left=True),
    ]
    words = rf"chats are left on the server: {left} \(not even hidden\), {hidden} \(hidden\); is the client closed\?"
    with pytest.raises(AssertionError, match=words):
        oa_server.assert_no_chat_left(kept=[kept])
    with pytest.raises(AssertionError, match=f"to be kept, and are not there: {deleted}, nonsense"):
        oa_server.assert_no_chat_left(kept=[deleted, "nonsense"])
    oa_server.assert_no_chat_left(kept=[left, hidden, kept])


@pytest.mark.parametrize(("word", "hidden"), [(1, True), ("on", True), ("true", True), (0, False), (None, False)])
def test_words_for_hidden(oa_server: OAServer, plain: Plain, word: Any, hidden: bool) -> None:
    """A chat is hidden by each word that the server takes for yes."""
    chat_id = plain.create()
    plain.update(chat_id, hidden=word)

    assert [chat.hidden for chat in oa_server.chats] == [hidden]


def test_changes_that_are_none(oa_server: OAServer, plain: Plain) -> None:
    """An empty list passes for an object, and changes nothing."""
    chat_id = plain.create()

    assert plain.send("PUT", f"/chats/{chat_id}", []).text == "null"
    assert not oa_server.chats[0].hidden


def test_chat_that_nobody_could_know_of(oa_server: OAServer) -> None:
    """One whose making was carried out, but never told, is not the program's to delete."""
    oa_server.fail("create_chat", Drop(), carried_out=True)
    with pytest.raises(TransportError):
        oa_server.client(max_retries=0).create_chat()

    assert oa_server.chats == []
    oa_server.assert_no_chat_left()


# Mistakes of the test.


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        pytest.param(lambda: OAServer("web"), ValueError, "'inference' or 'website', not 'web'", id="surface"),  # type: ignore[arg-type]
        pytest.param(lambda: Drop(after=-1), ValueError, "0 or more, not -1", id="after"),
        pytest.param(lambda: ErrorEvent("x", after=True), ValueError, "not True", id="after of an error"),
        pytest.param(lambda: ErrorEvent(""), ValueError, "words of the error", id="no words"),
        pytest.param(lambda: Drop(how="x"), ValueError, "'close', 'reset', 'end', not 'x'", id="how"),  # type: ignore[arg-type]
        pytest.param(lambda: Drop(then="x"), ValueError, "'complete', 'unfinished', 'aborted'", id="then"),  # type: ignore[arg-type]
        pytest.param(lambda: Cut(inside="x"), ValueError, "'chunk', 'event', 'character'", id="inside"),  # type: ignore[arg-type]
        pytest.param(lambda: Pings(every=0), ValueError, "more than 0, not 0", id="every"),
        pytest.param(lambda: Refuse(99), ValueError, "200 to 599, not 99", id="status"),
        pytest.param(lambda: Refuse(500, 5), ValueError, "a text or a list, not 5", id="detail"),  # type: ignore[arg-type]
        pytest.param(lambda: Refuse(500, retry_after=-1), ValueError, "0 or more, not -1", id="retry_after"),
        pytest.param(lambda: Refuse(500, retry_after="a\r\nx: y"), ValueError, "a header can hold", id="two lines"),
        pytest.param(lambda: Refuse(500, retry_after="é"), ValueError, "a header can hold", id="not ASCII"),
        pytest.param(lambda: Refuse(500, retry_after=""), ValueError, "a header can hold", id="nothing to say"),
        pytest.param(lambda: Reply(5), TypeError, "is a str, not int", id="text"),  # type: ignore[arg-type]
        pytest.param(lambda: Reply("x", tokens="x"), TypeError, "a list of str", id="tokens"),
        pytest.param(lambda: Reply("x", fault=Refuse(503)), TypeError, r"use fail\(\)", id="fault of a call"),  # type: ignore[arg-type]
        pytest.param(lambda: Reply("x", fault=5), TypeError, "5 cannot happen", id="no fault"),  # type: ignore[arg-type]
        pytest.param(
            lambda: Reply("x", fault=Stall(after=2)), ValueError, "2 tokens, and the reply has 1", id="too late"
        ),
    ],
)
def test_impossible_values(make: Callable[[], object], error: type[Exception], words: str) -> None:
    """What cannot be is refused where it is said."""
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        pytest.param({"route": "assistant", "status": 503}, ValueError, "no route 'assistant': there are", id="route"),
        pytest.param({"route": "events"}, TypeError, "a fault, or a status", id="nothing"),
        pytest.param({"route": "events", "fault": Drop(), "status": 500}, TypeError, "a fault, or a status", id="both"),
        pytest.param({"route": "events", "fault": Pings()}, TypeError, "cannot happen to a call", id="of answers"),
        pytest.param({"route": "events", "fault": Drop(after=1)}, ValueError, "a call has no tokens", id="tokens"),
        pytest.param({"route": "events", "fault": RateLimit()}, ValueError, "'assistant_message'", id="rate limit"),
        pytest.param({"route": "events", "status": 500, "times": 0}, ValueError, "1 or more, not 0", id="times"),
    ],
)
def test_impossible_failures(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """So are calls that cannot fail so."""
    with pytest.raises(error, match=words):
        OAServer().fail(**arguments)


def test_function_that_is_none() -> None:
    """A text is no function."""
    with pytest.raises(TypeError, match="reply\\(\\) takes a text"):
        OAServer().replies("Hello")  # type: ignore[arg-type]


def test_a_question_without_a_reply() -> None:
    """It has an error event, and leaving the server names it."""
    server = OAServer()
    server.start()
    with pytest.raises(GenerationError, match="the test has no reply to 'Hi'"):
        server.client().ask("Hi")
    with pytest.raises(AssertionError, match="nobody scripted an answer to 'Hi'"):
        server.__exit__(None, None, None)


def test_what_never_came() -> None:
    """Replies, faults and failures that were not used are named."""
    server = OAServer()
    server.start()
    server.reply("one", fault=Stall())
    server.reply("two")
    server.fail("vote", status=500)
    Plain(server).ask("Hi")
    server.close()
    server.check(unused=False)
    with pytest.raises(AssertionError) as raised:
        server.check()

    assert str(raised.value).split("; ") == [
        "nobody asked for the reply 'two'",
        "nobody read the events of the answer 'one', so Stall(after=0, then='unfinished') never came",
        "Refuse(status=500, detail=None, retry_after=None) of vote never came",
    ]


def test_an_error_of_the_test_comes_first() -> None:
    """Leaving the server with one says nothing of what was not used."""
    server = OAServer()
    server.start()
    server.reply("one")
    server.__exit__(ZeroDivisionError, ZeroDivisionError(), None)


@pytest.mark.parametrize(
    "answer", [pytest.param(lambda _: 1 / 0, id="raises"), pytest.param(lambda _: 5, id="no text")]
)
def test_a_function_that_fails(answer: Any) -> None:
    """Its error is in the stream, and a complaint."""
    server = OAServer()
    server.start()
    server.replies(answer)
    with pytest.raises(GenerationError):
        server.client().ask("Hi")
    server.close()
    with pytest.raises(AssertionError, match=r"the function of oa_server.replies\(\) raised"):
        server.check()


def test_without_the_extra() -> None:
    """The import fails with the line that installs what is missing, and names that as Python does."""
    program = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    import oa_client.testing\n"
        "except ModuleNotFoundError as error:\n    print(error.name, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.startswith("starlette")
    assert "oa_client.testing needs an extra: pip install 'oa-client[testing]' (" in done.stdout


def test_repr() -> None:
    """It says where, and no secret."""
    with OAServer("website") as server:
        assert repr(server) == f"<OAServer website, on {server.url}>"
    assert repr(server) == "<OAServer website, closed>"


@both_surfaces
def test_environment(oa_server: OAServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without arguments goes there."""
    for name, value in oa_server.environment.items():
        monkeypatch.setenv(name, value)
    oa_server.reply("Hello")
    with Client() as client:
        assert str(client.ask("Hi")) == "Hello"

    assert oa_server.requests[0].surface == oa_server.surface
