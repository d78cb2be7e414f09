"""A server that drips, floods or never ends keeps nobody longer, and takes no more, than the limits say."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import requests

from oa_client import APIError, BusyError, Client, ProtocolError, Timeout, TransportError, TransportTimeout
from oa_client._wire.limits import ANSWER_LIMIT, EVENT_LIMIT
from tests.scripted import (
    LAST_CHUNK,
    Connection,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    chunk,
    dripping,
    json_response,
    reply,
    response,
    sse_head,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


#: What may be encoded is read by urllib3.
ENCODED = {"content-encoding": "identity"}

DRIPS = [
    pytest.param(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", id="header lines"),
    pytest.param(b"HTTP/1.1 200 OK\r\nx: ", b"y", id="a header line"),
    pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim answers"),
    pytest.param(HEAD + b"content-length: 1000000\r\n\r\n", b" ", id="a body"),
    pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
    pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nfffff\r\n", b" ", id="a chunk"),
    pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"0", id="a chunk's size"),
    pytest.param(HEAD + b"connection: close\r\n\r\n", b" ", id="a body without an end"),
]


@pytest.mark.parametrize(("start", "drop"), DRIPS)
def test_ordinary_answers_have_to_be_whole_in_time(start: bytes, drop: bytes) -> None:
    """An answer that drips is given up when the read limit is over, whatever drips."""
    with (
        ScriptedServer(dripping(start, drop)) as server,
        Client(server.url, token="t", timeout=Timeout(read=0.2), max_retries=0) as client,
        pytest.raises(TransportTimeout) as caught,
    ):
        client.list_models()

    assert caught.value.phase == "read"


@pytest.fixture
def impatient(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script with short limits."""
    limits = Timeout(first_token=0.2)
    with Client(script.url, **script.credentials, timeout=limits, max_retries=0) as made:
        yield made


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", id="header lines"),
        pytest.param(sse_head(), chunk(b": x\n"), id="comments"),
        pytest.param(sse_head() + b"fffff\r\n", b"x", id="a chunk"),
        pytest.param(sse_head(), b"0", id="a chunk's size"),
        pytest.param(sse_head(headers=ENCODED) + b"fffff\r\n", b"x", id="a chunk that urllib3 reads"),
        pytest.param(sse_head(headers=ENCODED), b"0", id="a chunk's size that urllib3 reads"),
        pytest.param(sse_head(chunked=False), b"x", id="a line without chunks"),
    ],
)
def test_events_that_drip_are_no_events(
    script: OpenAssistantScript, impatient: Client, start: bytes, drop: bytes
) -> None:
    """A stream that drips without an event is given up when the first-token limit is over, and its chat hidden."""
    script.on_events = dripping(start, drop)

    with pytest.raises(TransportTimeout) as caught:
        impatient.ask("Hi")
    script.message_state = "complete"
    assert impatient.close() == ()

    assert caught.value.phase == "first_token"
    assert script.deleted_chats == ["c1"]


@pytest.mark.parametrize("is_own", [True, False])
def test_endless_redirect(is_own: bool) -> None:
    """The body of a redirect is not read to its end, also with a session of the user's."""
    head = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 1000000\r\n\r\n"
    with requests.Session() as session, ScriptedServer(reply(head + b"x" * 1000)) as server:
        made = Client(server.url, token="t", timeout=Timeout(read=0.2), session=None if is_own else session)
        with made as client, pytest.raises((APIError, TransportTimeout)):
            client.list_models()


def test_compressed_bomb_in_place_of_an_answer() -> None:
    """An answer is refused when it has grown past the limit, however small it came."""
    bomb = gzip.compress(b" " * (ANSWER_LIMIT + 1))
    head = {"content-type": "application/json", "content-encoding": "gzip"}
    with (
        ScriptedServer(reply(response(200, bomb, head))) as server,
        Client(server.url, token="t", max_retries=0) as client,
        pytest.raises(ProtocolError, match="more than"),
    ):
        client.list_models()


def test_compressed_bomb_in_place_of_events(script: OpenAssistantScript) -> None:
    """An event is refused when it has grown past the limit, however small it came."""
    bomb = gzip.compress(b"data: " + b"x" * EVENT_LIMIT)
    head = sse_head(headers={"content-encoding": "gzip"})
    script.on_events = reply(head + chunk(bomb) + LAST_CHUNK)
    script.message_state = "complete"
    with (
        Client(script.url, **script.credentials, max_retries=0) as client,
        pytest.raises(ProtocolError, match="event is longer"),
    ):
        client.ask("Hi")


def test_flood_of_headers() -> None:
    """An answer with headers without end is given up, with an error that is ours."""
    flood = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))
    with (
        ScriptedServer(reply(b"HTTP/1.1 200 OK\r\n" + flood + b"\r\n")) as server,
        Client(server.url, token="t", max_retries=0) as client,
        pytest.raises(TransportError),
    ):
        client.list_models()


@pytest.mark.parametrize(
    ("start", "drop"), [drip for drip in DRIPS if drip.id in ("a body", "chunks", "a chunk", "a body without an end")]
)
def test_ordinary_answers_have_to_be_whole_in_time_on_a_session_of_the_users(start: bytes, drop: bytes) -> None:
    """A body that drips is given up when the read limit is over, also on a session that does not look at it."""
    with (
        ScriptedServer(dripping(start, drop)) as server,
        requests.Session() as session,
        Client(server.url, token="t", timeout=Timeout(read=0.2), max_retries=0, session=session) as client,
        pytest.raises(TransportTimeout) as caught,
    ):
        client.list_models()

    assert caught.value.phase == "read"


def test_events_that_drip_on_a_session_of_the_users(script: OpenAssistantScript) -> None:
    """A chunk that drips is given up when the first-token limit is over, also on a session that does not look at it."""
    script.on_events = dripping(sse_head() + b"fffff\r\n", b"x")
    limits = Timeout(first_token=0.2)
    with (
        requests.Session() as session,
        Client(script.url, **script.credentials, timeout=limits, max_retries=0, session=session) as client,
    ):
        with pytest.raises(TransportTimeout) as caught:
            client.ask("Hi")
        script.message_state = "complete"

    assert caught.value.phase == "first_token"


def flood(start: bytes) -> Handler:
    """Return a handler that sends a start, and then spaces until the client has left."""

    def answer(connection: Connection, _: Request) -> None:
        connection.send(start)
        while True:
            connection.send(b" " * (1024 * 1024))

    return answer


def test_chunk_of_negative_size_in_place_of_an_answer() -> None:
    """A chunk that is said to have the size -1, which is for all that comes, is refused when it is past the limit."""
    with (
        ScriptedServer(flood(HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n")) as server,
        Client(server.url, token="t", max_retries=0) as client,
        pytest.raises(ProtocolError, match="more than"),
    ):
        client.list_models()


def test_chunk_of_negative_size_in_place_of_events(script: OpenAssistantScript) -> None:
    """The same in an event stream that urllib3 reads."""
    script.on_events = flood(sse_head(headers=ENCODED) + b"-1\r\ndata: ")
    script.message_state = "complete"
    with (
        Client(script.url, **script.credentials, max_retries=0) as client,
        pytest.raises(ProtocolError, match="event is longer"),
    ):
        client.ask("Hi")


def test_compressed_bomb_of_two_layers() -> None:
    """An answer that was compressed twice takes no more memory than its limit, though a piece of it holds far more."""
    packer = zlib.compressobj(level=1, wbits=31)
    layer = b"".join(packer.compress(b" " * (1024 * 1024)) for _ in range(400)) + packer.flush()
    head = {"content-type": "application/json", "content-encoding": "gzip, gzip"}
    with (
        ScriptedServer(reply(response(200, gzip.compress(layer), head))) as server,
        Client(server.url, token="t", max_retries=0) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="more than"):
                client.list_models()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 3 * ANSWER_LIMIT


def test_limit_holds_for_all_attempts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an attempt has taken is gone for the next, and past the limit there is none."""
    now = itertools.count()
    passed = [0.0]
    monkeypatch.setattr("oa_client._calls.clock.monotonic", lambda: next(now) * 1e-6 + passed[0])
    monkeypatch.setattr("oa_client._calls.retry.FIRST_DELAY", 0.001)

    def refuse(connection: Connection, _: Request) -> None:
        passed[0] += 6.0
        connection.send(json_response({"detail": "busy"}, 503))

    limits = Timeout(connect=30, read=30, total=10)
    with (
        ScriptedServer(refuse) as server,
        Client(server.url, token="t", timeout=limits, max_retries=5) as client,
        pytest.raises(BusyError),
    ):
        client.create_chat()

    assert len(server.requests) == 2
