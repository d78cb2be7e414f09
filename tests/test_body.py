"""The body of an event stream, read from the socket or through urllib3, and what becomes of its connection."""

from __future__ import annotations

import gzip
import select
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from oa_client import OAError, TransportError, TransportTimeout
from oa_client._accounts.credentials import Credentials
from oa_client._accounts.target import Target
from oa_client._net.body import Body, DirectBody
from oa_client._net.interrupt import Interrupt
from oa_client._net.transport import Transport
from oa_client._values.timeout import Timeout
from oa_client._wire.inference import Inference
from tests.scripted import (
    LAST_CHUNK,
    Connection,
    Handler,
    Request,
    ScriptedServer,
    chunk,
    in_turn,
    json_response,
    reply,
    response,
    sse_head,
)
from tests.tls import TLSServer, make_context, wrap

LIMITS = Timeout(connect=20, read=20)
EVENTS = b"data: a\r\n\r\ndata: b\r\n\r\n"
STREAM = sse_head() + chunk(EVENTS[:11]) + chunk(EVENTS[11:]) + LAST_CHUNK
CALL = Inference().open_events("c1", "m1")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's side of TLS; the client's trusts it."""
    made, file = make_context(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    return made


Serve = Callable[[Handler], ScriptedServer]


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """What starts a server, without and with TLS."""
    if request.param == "http":
        return ScriptedServer
    return partial(TLSServer, context=request.getfixturevalue("context"))


@pytest.fixture(params=["from the socket", "through urllib3"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Body]:
    """Each way to read a body; both have to behave alike."""
    if request.param == "from the socket":
        return DirectBody
    monkeypatch.setattr("oa_client._net.body._is_readable", lambda *_: False)
    return Body


class Opener:
    """Opens event streams, all with one transport."""

    def __init__(self) -> None:
        self._transports: dict[str, Transport] = {}

    def __call__(self, url: str, interrupt: Interrupt | None = None, limits: Timeout = LIMITS, **options: Any) -> Body:
        """Open an event stream of a server."""
        body: Body = self.transport(url, **options).send(CALL, limits, interrupt or Interrupt())
        return body

    def transport(self, url: str, **options: Any) -> Transport:
        """Return the transport to a server; it is made once."""
        if url not in self._transports:
            self._transports[url] = Transport(Target(url, Inference(), Credentials()), **options)
        return self._transports[url]

    def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            transport.close()


@pytest.fixture
def opened() -> Iterator[Opener]:
    """What opens event streams; the connections are closed afterwards."""
    opener = Opener()
    yield opener
    opener.close()


def read(body: Body) -> bytes:
    """Read a body to its end."""
    data = b""
    while not body.is_over:
        data += body.read() or b""
    return data


def read_and_close(body: Body) -> bytes:
    """Read a body to its end and let go of the connection."""
    data = read(body)
    body.drain()
    return data


def read_what_is_there(body: Body) -> bytes:
    """Read until there is nothing, which must not wait."""
    data = b""
    while (piece := body.read()) is not None:
        data += piece
    return data


def read_length(body: Body, length: int) -> bytes:
    """Read as much as is expected and no more, and wait for the socket and not in `read`."""
    data = read_what_is_there(body)
    while len(data) < length:
        ready, _, _ = select.select([body.fileno()], [], [], 20)
        assert ready
        data += read_what_is_there(body)
    return data


def failure(body: Body) -> OAError:
    """Return the error that reading a body to its end raises, and let go of the connection."""
    try:
        read(body)
    except Exception as error:
        body.close()
        return body.translate(error)
    raise AssertionError("it did not fail")


def handle_connect(context: ssl.SSLContext, handler: Handler) -> Handler:
    """Return the handler of a proxy that is, behind its tunnels, the server as well."""

    def answer(connection: Connection, request: Request) -> None:
        if request.method == "CONNECT":
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            connection._socket = wrap(context, connection._socket)
        else:
            handler(connection, request)

    return answer


# Which bodies are read from the socket.


def test_event_stream_is_read_from_the_socket(serve: Serve, opened: Opener) -> None:
    """A chunked event stream is read directly, with TLS and without."""
    with serve(reply(STREAM)) as server:
        body = opened(server.url)

        assert (type(body), body.is_direct, read_and_close(body)) == (DirectBody, True, EVENTS)


def test_event_stream_is_read_from_the_socket_through_a_proxy(opened: Opener) -> None:
    """A chunked event stream that a proxy passes on is read directly."""
    with ScriptedServer(reply(STREAM)) as proxy:
        body = opened("http://oa.test", proxy=proxy.url)

        assert (type(body), read_and_close(body)) == (DirectBody, EVENTS)
        assert [request.target for request in proxy.requests] == ["http://oa.test/chats/c1/messages/m1/events"]


def test_event_stream_is_read_from_the_socket_through_a_tunnel(opened: Opener, context: ssl.SSLContext) -> None:
    """A chunked event stream with TLS through a proxy is read directly."""
    with ScriptedServer(handle_connect(context, reply(STREAM))) as proxy:
        body = opened("https://oa.test", proxy=proxy.url)

        assert (type(body), read_and_close(body)) == (DirectBody, EVENTS)
        assert [request.method for request in proxy.requests] == ["CONNECT", "GET"]


def test_event_stream_whose_connection_is_to_be_closed_is_read_from_the_socket(serve: Serve, opened: Opener) -> None:
    """`Connection: close` does not keep a chunked event stream from being read directly."""
    stream = STREAM.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
    with serve(reply(stream)) as server:
        for _ in range(2):
            body = opened(server.url)
            assert (type(body), read_and_close(body)) == (DirectBody, EVENTS)
        server.wait_until(lambda: server.open_connections == 0)

        assert server.accepted == 2


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(sse_head(chunked=False) + EVENTS, id="ends with the connection"),
        pytest.param(response(200, EVENTS, {"content-type": "text/event-stream"}), id="Content-Length"),
        pytest.param(
            sse_head(headers={"content-encoding": "gzip"}) + chunk(gzip.compress(EVENTS)) + LAST_CHUNK, id="compressed"
        ),
        pytest.param(
            sse_head(headers={"content-encoding": "identity"}) + chunk(EVENTS) + LAST_CHUNK, id="an encoding by name"
        ),
    ],
)
def test_other_bodies_are_read_by_urllib3(serve: Serve, opened: Opener, stream: bytes) -> None:
    """A body that is not plainly chunked is left to urllib3, and is right."""
    with serve(reply(stream)) as server:
        body = opened(server.url)

        assert (type(body), body.is_direct, read_and_close(body)) == (Body, False, EVENTS)


def test_body_of_an_own_session_is_read_by_urllib3(serve: Serve, opened: Opener) -> None:
    """A body on somebody else's session is left to urllib3, and is right."""
    with requests.Session() as session, serve(reply(STREAM)) as server:
        body = opened(server.url, session=session)

        assert (type(body), body.is_direct, read_and_close(body)) == (Body, False, EVENTS)


@pytest.mark.parametrize("status", [200, 204])
def test_empty_body(opened: Opener, way: type[Body], status: int) -> None:
    """An answer without a body is over at once."""
    with ScriptedServer(reply(response(status))) as server:
        assert read_and_close(opened(server.url)) == b""


# Reading.


def test_pieces_come_as_they_are_sent(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """A chunk is handed over before the server sends the next."""
    received = threading.Event()

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + chunk(b"Hello"))
        connection.wait(received)
        connection.send(chunk(b" world") + LAST_CHUNK)

    with serve(answer) as server:
        body = opened(server.url)
        data = b""
        while data != b"Hello":
            data += body.read() or b""
        received.set()

        assert (type(body), data, read_and_close(body)) == (way, b"Hello", b" world")


def test_reading_without_waiting(serve: Serve, opened: Opener) -> None:
    """With a timeout of 0 what is there is returned, of half a chunk too, and then None, as often as one asks."""
    asked: list[threading.Event] = [threading.Event() for _ in range(4)]

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head())
        for go, piece in zip(asked, [b"b\r\nHel", b"lo", b" world\r", b"\n0\r\n\r\n"], strict=True):
            connection.wait(go)
            connection.send(piece)

    with serve(answer) as server:
        body = opened(server.url)
        body.set_timeout(0)
        nothing = [body.read() for _ in range(3)]
        pieces = []
        for go, length in zip(asked, [3, 2, 6], strict=False):
            go.set()
            pieces.append(read_length(body, length))
            nothing += [body.read() for _ in range(3)]
        body.set_timeout(20)
        asked[-1].set()

        assert (read_and_close(body), pieces) == (b"", [b"Hel", b"lo", b" world"])
        assert nothing == [None] * 12


@pytest.mark.parametrize("length", [5, 9_000, 15_000])
def test_what_came_with_the_head_is_there(serve: Serve, opened: Opener, length: int) -> None:
    """What came in one piece with the head, or in one TLS record, is read without the socket having news."""
    payload = b"x" * length
    with serve(lambda connection, _: connection.send(sse_head() + chunk(payload))) as server:
        body = opened(server.url)
        body.set_timeout(0)
        data = read_what_is_there(body)
        body.close()

    assert data == payload


def test_half_a_chunk_that_came_with_the_head(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """A chunk whose half came with the head is whole."""
    is_open = threading.Event()

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + b"5\r\nHe")
        connection.wait(is_open)
        connection.send(b"llo\r\n" + LAST_CHUNK)

    with serve(answer) as server:
        body = opened(server.url)
        is_open.set()

        assert (type(body), read_and_close(body)) == (way, b"Hello")


# What becomes of the connection.


def test_connection_is_kept_after_the_end(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """After a body was read to its end, its connection is used again, whatever its timeout was."""
    with serve(reply(STREAM)) as server:
        for _ in range(3):
            body = opened(server.url)
            body.set_timeout(0 if body.is_direct else 10)
            assert (type(body), read_and_close(body)) == (way, EVENTS)
            body.close()

        assert (server.accepted, len(server.requests)) == (1, 3)


def test_connection_is_kept_after_trailers(opened: Opener) -> None:
    """Trailers belong to a body: its connection is used again."""
    with ScriptedServer(reply(sse_head() + b"2\r\nHi\r\n0\r\na: b\r\n\r\n")) as server:
        bodies = [read_and_close(opened(server.url)) for _ in range(2)]

        assert (bodies, server.accepted) == ([b"Hi"] * 2, 1)


@pytest.mark.parametrize("behind", [b"\r\n", b"0\r\n\r\n", json_response({"id": "c1"})])
def test_connection_is_not_kept_with_excess(serve: Serve, opened: Opener, behind: bytes) -> None:
    """What came behind the end is never the answer to another call: the connection is not used again."""
    with serve(reply(STREAM + behind)) as server:
        bodies = [read_and_close(opened(server.url)) for _ in range(2)]
        server.wait_until(lambda: server.open_connections == 0)

        assert (bodies, server.accepted) == ([EVENTS] * 2, 2)


@pytest.mark.parametrize("stream", [sse_head(), sse_head() + chunk(b"x"), sse_head() + b"5\r\nHel"])
def test_connection_is_not_kept_when_left_early(serve: Serve, opened: Opener, way: type[Body], stream: bytes) -> None:
    """A body that was left before its end costs its connection, at once."""
    with serve(in_turn(reply(stream), reply(STREAM))) as server:
        opened(server.url).close()
        server.wait_until(lambda: server.open_connections == 0)

        assert (read_and_close(opened(server.url)), server.accepted) == (EVENTS, 2)


def test_connection_is_not_kept_when_interrupted_at_the_end(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """A body that was interrupted when it was over, and not closed, costs its connection, and the next call works."""
    interrupt = Interrupt()
    with serve(reply(STREAM)) as server:
        body = opened(server.url, interrupt)
        read(body)
        interrupt.fire()
        body.drain()

        assert (read_and_close(opened(server.url)), server.accepted) == (EVENTS, 2)


@pytest.mark.parametrize("is_read", [True, False])
def test_closing_does_not_touch_the_pool(serve: Serve, opened: Opener, way: type[Body], is_read: bool) -> None:
    """A body can be closed where the garbage collector may come: while its thread has locked the pool."""
    with serve(reply(STREAM)) as server:
        body = opened(server.url)
        pool: Any = body._response.raw._pool
        if is_read:
            read(body)

        def close() -> None:
            with pool.pool.mutex:
                body.close()

        thread = threading.Thread(target=close, daemon=True)
        thread.start()
        thread.join(20)

        assert not thread.is_alive()


def test_interrupt_after_the_end_leaves_the_connection_to_others(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """An interrupt that is fired after its body was closed does not touch the next one on the connection."""
    interrupt = Interrupt()
    with serve(reply(STREAM)) as server:
        read_and_close(opened(server.url, interrupt))
        body = opened(server.url)
        interrupt.fire()

        assert (read_and_close(body), server.accepted) == (EVENTS, 1)


def test_interrupt_wakes_a_reader(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """Firing from another thread ends a read that waits."""
    interrupt = Interrupt()
    errors: list[OAError] = []
    with serve(reply(sse_head() + b"5\r\nHel")) as server:
        body = opened(server.url, interrupt)
        thread = threading.Thread(target=lambda: errors.append(failure(body)))
        thread.start()
        interrupt.fire()
        thread.join(20)

        assert [type(error) for error in errors] == [TransportError]


# What goes wrong.


def close(connection: Connection) -> None:
    """End the connection."""
    connection.close()


def reset(connection: Connection) -> None:
    """Break the connection off."""
    connection.reset()


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("start", [b"", b"5", b"5\r\n", b"5\r\nHel", b"5\r\nHello", chunk(b"x"), chunk(b"x") + b"1"])
def test_connection_that_ends_in_mid_answer(
    opened: Opener, way: type[Body], start: bytes, end: Callable[[Connection], None]
) -> None:
    """A body whose connection ends before its last chunk raises a TransportError."""
    is_open = threading.Event()

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + start)
        connection.wait(is_open)
        end(connection)

    with ScriptedServer(answer) as server:
        body = opened(server.url)
        is_open.set()

        assert (type(body), type(failure(body))) == (way, TransportError)


def test_tls_that_ends_in_mid_answer(opened: Opener, way: type[Body], context: ssl.SSLContext) -> None:
    """A body whose TLS connection ends before its last chunk raises a TransportError."""

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + b"5\r\nHel")
        connection.close()

    with TLSServer(answer, context) as server:
        body = opened(server.url)

        assert (type(body), type(failure(body))) == (way, TransportError)


def test_connection_that_is_reset_behind_the_head(opened: Opener, way: type[Body]) -> None:
    """If the connection breaks right after the head, opening works, and reading raises a TransportError."""
    is_open = threading.Event()

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head())
        connection.wait(is_open)
        connection.reset()

    with ScriptedServer(answer) as server:
        transport = opened.transport(server.url)
        interrupt = Interrupt()
        raw = transport._request(CALL, LIMITS, interrupt)
        is_open.set()
        # The news of it has to be here before the body is.
        ready, _, _ = select.select([interrupt.socket], [], [], 20)
        body = Body.of(raw, interrupt, lambda error: transport._failures.translate(error, CALL, False))

        assert ready
        assert (type(body), type(failure(body))) == (way, TransportError)


@pytest.mark.parametrize("broken", [b"zz\r\n", b"\r\n", b"5\r\nHello world\r\n", b"1" * 20_000])
def test_broken_chunks(serve: Serve, opened: Opener, way: type[Body], broken: bytes) -> None:
    """A body that is not chunked as it says raises a TransportError, and its connection is not used again."""

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + broken)
        connection.close()

    with serve(in_turn(answer, reply(STREAM))) as server:
        body = opened(server.url)

        assert (type(body), type(failure(body))) == (way, TransportError)
        assert (read_and_close(opened(server.url)), server.accepted) == (EVENTS, 2)


@pytest.mark.parametrize("start", [b"", b"5\r\nHel", chunk(b"x"), b"0\r\n"])
def test_silent_server(serve: Serve, opened: Opener, way: type[Body], start: bytes) -> None:
    """A server that falls silent is a TransportTimeout of the phase "read"."""
    with serve(reply(sse_head() + start)) as server:
        body = opened(server.url)
        body.set_timeout(0.05)
        error = failure(body)

    assert (type(body), type(error), getattr(error, "phase", None)) == (way, TransportTimeout, "read")


# The end that nobody waits for long.


def test_drain_keeps_the_connection(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, opened: Opener, way: type[Body]
) -> None:
    """Draining a body whose end is there keeps its connection."""
    monkeypatch.setattr("oa_client._net.body.DRAIN_SECONDS", 20.0)
    with serve(reply(STREAM)) as server:
        for _ in range(2):
            body = opened(server.url)
            body.read()
            body.drain()

        assert (body.is_over, server.accepted) == (True, 1)


def send_for_ever(data: bytes, connection: Connection, _: Request) -> None:
    """Send an event stream until the client leaves, which ends the handler."""
    connection.send(sse_head())
    while True:
        connection.send(data)


def test_drain_is_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, opened: Opener, way: type[Body]
) -> None:
    """Draining a body without an end gives up after so many bytes, and closes the connection."""
    monkeypatch.setattr("oa_client._net.body.DRAIN_SECONDS", 1000.0)
    with serve(partial(send_for_ever, chunk(b"x" * 1000))) as server:
        body = opened(server.url)
        body.drain()
        server.wait_until(lambda: server.open_connections == 0)

        assert not body.is_over


def test_drain_is_bounded_in_time(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, opened: Opener, way: type[Body]
) -> None:
    """Draining a body whose chunks do not end gives up after a while, and closes the connection."""
    monkeypatch.setattr("oa_client._net.body.DRAIN_BYTES", 10**12)
    with serve(partial(send_for_ever, chunk(b"x"))) as server:
        body = opened(server.url)
        body.drain()
        server.wait_until(lambda: server.open_connections == 0)

        assert not body.is_over


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        pytest.param(b"ffffffffff\r\n", b"x", id="a chunk"),
        pytest.param(b"0\r\n", b"a: b\r\n", id="trailers"),
    ],
)
def test_drain_of_an_end_that_drips(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, opened: Opener, way: type[Body], start: bytes, drop: bytes
) -> None:
    """Draining does not wait for the end of a chunk, nor of the trailers."""
    monkeypatch.setattr("oa_client._net.body.DRAIN_BYTES", 10**12)

    def answer(connection: Connection, _: Request) -> None:
        connection.send(sse_head() + start)
        while True:
            connection.send(drop)

    with serve(answer) as server:
        body = opened(server.url)
        body.drain()
        server.wait_until(lambda: server.open_connections == 0)

        assert (type(body), body.is_over) == (way, False)


def test_drain_of_a_silent_body(serve: Serve, opened: Opener, way: type[Body]) -> None:
    """Draining a body whose end does not come gives up after a while, without an error, and closes the connection."""
    with serve(reply(sse_head() + b"5\r\nHel")) as server:
        body = opened(server.url)
        body.drain()
        server.wait_until(lambda: server.open_connections == 0)

        assert not body.is_over
