"""The doubles do what the tests of the client rely on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from tests.replay import FRAMINGS, SURFACES, Exchange, Framing, ReplayServer, parse_body, recordings
from tests.scripted import (
    PING_COMMENT,
    PING_EVENT,
    Connection,
    EventWriter,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    Surface,
    chunk,
    cut_after,
    empty_response,
    event,
    in_turn,
    json_response,
    reply,
    response,
    sse_head,
    stall,
)

PROMPT: dict[str, Any] = {"content": "hi", "parent_id": None}


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A client that is not ours."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        yield session


def connect(server: ScriptedServer) -> socket.socket:
    """Connect to a server."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def read_all(sock: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def exchange_named(name: str) -> Exchange:
    """Return an exchange by its id."""
    return next(item for recording in recordings() for item in recording.exchanges if item.id == name)


# ScriptedServer.


def test_request_is_parsed(http: requests.Session) -> None:
    """A handler and the test see method, target, path, query, headers and body as they were sent."""
    with ScriptedServer(reply(empty_response())) as server:
        http.put(f"{server.url}/a/b?x=1&y=%C3%BC&z=", json={"k": "ü"}, headers={"X-Two": "b"})
        (request,) = server.requests

    assert ("PUT", "/a/b?x=1&y=%C3%BC&z=", "/a/b") == (request.method, request.target, request.path)
    assert {"x": "1", "y": "ü", "z": ""} == request.query
    assert "b" == request.headers["x-two"]
    assert b'{"k": "\\u00fc"}' == request.body
    assert {"k": "ü"} == request.json()


def test_bytes_arrive_unchanged() -> None:
    """What a handler sends is what the client reads, however little it has to do with HTTP."""

    def handler(connection: Connection, request: Request) -> None:
        connection.send(b"\x00no ")
        connection.send(b"HTTP\xff")
        connection.close()

    with ScriptedServer(handler) as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = read_all(client)

    assert b"\x00no HTTP\xff" == received


def test_connection_is_kept(http: requests.Session) -> None:
    """Answers that do not say otherwise leave the connection open for the next request."""
    with ScriptedServer(reply(json_response([]))) as server:
        for _ in range(3):
            http.get(server.url)

        assert (1, 1) == (server.accepted, server.open_connections)
        assert 3 == len(server.requests)

        http.close()
        server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(reply(empty_response(headers={"Connection": "close"})), id="announced"),
        pytest.param(cut_after(len(empty_response()), reply(empty_response())), id="cut"),
    ],
)
def test_closed_connection_counts_until_the_client_closes_it(handler: Handler) -> None:
    """A connection that the server has ended counts as open for as long as the client keeps its socket."""
    with ScriptedServer(handler) as server:
        with connect(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_all(client)

            assert 1 == server.open_connections

        server.wait_until(lambda: server.open_connections == 0)


def test_requests_can_come_in_pieces_and_together() -> None:
    """Where one request ends does not depend on how TCP cuts the bytes."""
    with ScriptedServer(reply(response(204))) as server, connect(server) as client:
        for piece in (b"POST /1 HTTP/1.1\r\nContent-", b"Length: 4\r\n\r\nab", b"cdGET /2 HTTP/1.1\r\n\r\n"):
            client.sendall(piece)
        server.wait_until(lambda: len(server.requests) == 2)

        assert [b"abcd", b""] == [request.body for request in server.requests]


def test_reset_breaks_the_connection() -> None:
    """`reset` reaches the client as ECONNRESET, not as an end."""

    def handler(connection: Connection, request: Request) -> None:
        connection.reset()

    with ScriptedServer(handler) as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("count", [1, 17, 40])
def test_answer_is_cut_after_so_many_bytes(count: int) -> None:
    """`cut_after` lets exactly the given number of bytes through, across several sends."""
    answer = json_response({"some": "thing"})

    def handler(connection: Connection, request: Request) -> None:
        for value in answer:
            connection.send(bytes([value]))

    with ScriptedServer(cut_after(count, handler)) as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = read_all(client)

    assert answer[:count] == received


def test_handlers_in_turn(http: requests.Session) -> None:
    """`in_turn` uses each handler once and the last one for ever."""
    with ScriptedServer(in_turn(reply(empty_response(503)), reply(empty_response(200)))) as server:
        statuses = [http.get(server.url).status_code for _ in range(3)]

    assert [503, 200, 200] == statuses


def test_handler_waits_for_the_test(http: requests.Session) -> None:
    """A test decides when the second half of an answer goes out."""
    released = threading.Event()

    def handler(connection: Connection, request: Request) -> None:
        connection.send(sse_head() + chunk(b"one"))
        connection.wait(released)
        connection.send(chunk(b"two") + chunk(b""))

    with ScriptedServer(handler) as server, http.get(server.url, stream=True) as answer:
        pieces = answer.iter_content(None)
        first = next(pieces)
        released.set()

        assert [b"one", b"two"] == [first, *pieces]


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(stall, id="stalls"),
        pytest.param(lambda connection, request: connection.wait(threading.Event()), id="waits for an event"),
        pytest.param(lambda connection, request: connection.send(bytes(1 << 26)), id="client does not read"),
    ],
)
def test_close_ends_every_thread(handler: Handler) -> None:
    """Closing the server ends handlers that wait, whatever for, and leaves neither a thread nor a socket."""
    before = threading.active_count()
    server = ScriptedServer(handler)
    with connect(server) as client, connect(server):
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.wait_until(lambda: server.requests and server.accepted == 2)
        server.close()
        server.close()

    assert 0 == server.open_connections
    assert before == threading.active_count()


def fail(connection: Connection, request: Request) -> None:
    """Be a handler with a mistake."""
    raise ZeroDivisionError("in the handler")


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        pytest.param(fail, ZeroDivisionError, "in the handler", id="raised"),
        pytest.param(lambda connection, request: None, AssertionError, "did not answer GET /x", id="no answer"),
    ],
)
def test_error_of_a_handler_comes_out(handler: Handler, error: type[Exception], words: str) -> None:
    """A handler's mistake ends its connection, and is raised by `wait_until` at once and by `close` again."""
    server = ScriptedServer(handler)
    with connect(server) as client:
        client.sendall(b"GET /x HTTP/1.1\r\n\r\n")

        assert b"" == read_all(client)
        with pytest.raises(error, match=words):
            server.wait_until(lambda: False)
        with pytest.raises(error, match=words):
            server.close()


def test_wait_until_gives_up() -> None:
    """A wait that never comes true fails, and tells what was requested."""
    server = ScriptedServer(reply(empty_response()), timeout=0.01)
    with pytest.raises(AssertionError, match="requests so far: none"):
        server.wait_until(lambda: server.requests)
    server.timeout = 20.0
    server.close()


# OpenAssistantScript.


def call(
    http: requests.Session,
    script: OpenAssistantScript,
    name: str,
    chat_id: str = "",
    message_id: str = "",
    **body: Any,
) -> requests.Response:
    """Send one call of the API, to either surface."""
    last = {"prompter": "prompter_message", "assistant": "assistant_message", "events": "events"}.get(name, "")
    method = {"create": "POST", "prompter": "POST", "assistant": "POST", "update": "PUT", "delete": "DELETE"}
    if script.surface == "website":
        last = "message" if name == "message" else last
        ids = {"chat_id": chat_id, "message_id": message_id}
        given = {key: value for key, value in ids.items() if value}
        url = "/".join(filter(None, (f"{script.url}/api/chat", last)))
        if name in ("prompter", "assistant", "update"):
            return http.request(method[name], url, json={**body, **given}, timeout=20)
        return http.request(method.get(name, "GET"), url, params=given, timeout=20)
    middle = f"messages/{message_id}" if message_id else ""
    url = "/".join(filter(None, (f"{script.url}/chats", chat_id, middle, last)))
    return http.request(method.get(name, "GET"), url, json=body if name in method else None, timeout=20)


@pytest.mark.parametrize("surface", SURFACES)
def test_script_answers_the_life_of_a_chat(surface: Surface, http: requests.Session) -> None:
    """Without any setting, a script answers all calls of a chat and remembers what became of it."""
    with OpenAssistantScript(surface) as script:
        made = call(http, script, "create").json()["id"]
        prompt = call(http, script, "prompter", made, **PROMPT).json()
        answer = call(http, script, "assistant", made, parent_id=prompt["id"]).json()
        queued = call(http, script, "message", made, answer["id"]).json()
        heard = parse_body(call(http, script, "events", made, answer["id"]).content)
        stored = call(http, script, "message", made, answer["id"]).json()
        call(http, script, "update", made, hidden=True)
        shown = call(http, script, "chat", made).json()
        hidden = script.chats[made].hidden
        deleted = call(http, script, "delete", made)

    assert ("c1", "p1", "m1", "p1") == (made, prompt["id"], answer["id"], answer["parent_id"])
    assert ("pending", "complete") == (queued["state"], stored["state"])
    assert ("Hello world", stored) == (heard.text, heard.message)
    assert ["m1", "p1"] == [message["id"] for message in shown["messages"]]
    assert hidden
    assert (200, b"", ["c1"], []) == (
        deleted.status_code,
        deleted.content,
        script.deleted_chats,
        script.visible_chats,
    )
    assert [
        "create", "prompter", "assistant", "message", "events", "message", "update", "chat", "delete",
    ] == script.calls  # fmt: skip
    assert {"inference": 1, "website": 9}[surface] == script.accepted


@pytest.mark.parametrize(
    ("surface", "name", "status", "text"),
    [
        pytest.param("inference", "delete", 404, '{"detail":"Chat not found"}', id="inference delete"),
        pytest.param("inference", "chat", 404, '{"detail":"Chat not found"}', id="inference chat"),
        pytest.param("inference", "update", 500, "", id="inference update"),
        pytest.param("inference", "prompter", 500, "", id="inference prompter"),
        pytest.param("inference", "message", 500, "Internal Server Error", id="inference message"),
        pytest.param("website", "delete", 500, "Internal Server Error", id="website delete"),
        pytest.param("website", "chat", 404, "", id="website chat"),
        pytest.param("website", "update", 500, "Internal Server Error", id="website update"),
        pytest.param("website", "prompter", 500, '{"message":"Something went wrong"}', id="website prompter"),
        pytest.param("website", "message", 500, "Internal Server Error", id="website message"),
    ],
)
def test_script_misses_a_chat_as_the_real_server_does(
    surface: Surface, name: str, status: int, text: str, http: requests.Session
) -> None:
    """Calls for a chat that is not there fail with the status and the body of the real server."""
    with OpenAssistantScript(surface) as script:
        answer = call(http, script, name, "c9", "m9" if name == "message" else "", **PROMPT)

    assert (status, text) == (answer.status_code, answer.text)


@pytest.mark.parametrize("chunked", [pytest.param(True, id="chunked"), pytest.param(False, id="until close")])
@pytest.mark.parametrize("surface", SURFACES)
def test_script_of_events(surface: Surface, chunked: bool, http: requests.Session) -> None:
    """A test writes the events it wants, in either framing, and the message's state follows them."""

    def events(stream: EventWriter) -> None:
        stream.pending(2, 3)
        stream.ping()
        stream.raw(PING_EVENT)
        stream.token("\ud83d")
        stream.event("news", value=1)
        stream.error("out of memory")

    with OpenAssistantScript(surface) as script:
        script.events, script.chunked = events, chunked
        call(http, script, "create")
        call(http, script, "assistant", "c1", parent_id="p1")
        body = call(http, script, "events", "c1", "m1").content
        stored = call(http, script, "message", "c1", "m1").json()

    assert PING_COMMENT in body
    assert rb'data: {"event_type": "token", "text": "\ud83d"}' in body
    kinds = [kind for kind, _ in parse_body(body.replace(PING_EVENT, b"")).events]
    assert ["pending", "token", "news", "error"] == kinds
    assert "aborted_by_worker" == stored["state"]


def test_script_without_an_end_is_silent(http: requests.Session) -> None:
    """Events without a terminal one leave the stream open until the client leaves."""
    with OpenAssistantScript() as script:
        script.events = lambda stream: stream.token("a")
        call(http, script, "create")
        call(http, script, "assistant", "c1", parent_id="p1")
        with http.get(f"{script.url}/api/chat/events?chat_id=c1&message_id=m1", stream=True, timeout=20) as answer:
            pieces = answer.iter_content(None)  # urllib3 closes the connection when this is dropped
            first = next(pieces)

            assert event({"event_type": "token", "text": "a"}) == first
            script.wait_until(lambda: script.open_connections == 1)

        script.wait_until(lambda: script.open_connections == 0)


@pytest.mark.parametrize(
    ("state", "content"),
    [
        pytest.param("complete", "All of it.", id="complete"),
        pytest.param("cancelled", None, id="not complete"),
    ],
)
def test_script_tells_the_state_it_is_given(state: str, content: str | None, http: requests.Session) -> None:
    """`message_state` and `final_text` decide what GET message says."""
    with OpenAssistantScript("inference") as script:
        script.message_state, script.final_text = state, "All of it."
        call(http, script, "create")
        call(http, script, "assistant", "c1", parent_id="p1")
        message = call(http, script, "message", "c1", "m1").json()

    assert (state, content) == (message["state"], message["content"])


def test_script_lets_a_route_be_replaced(http: requests.Session) -> None:
    """A route can fail once and then do what it did before."""
    with OpenAssistantScript() as script:
        script.on_create = in_turn(reply(empty_response(503)), script.on_create)
        statuses = [call(http, script, "create").status_code for _ in range(2)]

    assert [503, 200] == statuses
    assert ["c1"] == script.visible_chats


@pytest.mark.parametrize("target", ["/chats", "/api/chat/vote", "/api"])
def test_script_refuses_what_it_does_not_know(target: str) -> None:
    """A request that the script has no answer for fails the test."""
    script = OpenAssistantScript("website")
    with connect(script) as client:
        client.sendall(f"PATCH {target} HTTP/1.1\r\n\r\n".encode())
        read_all(client)

        with pytest.raises(NotImplementedError, match=target):
            script.close()


# ReplayServer.


def drive(http: requests.Session, server: ReplayServer) -> tuple[str, str]:
    """Do what comes before the events; return the ids of chat and message."""
    chat_id = call(http, server, "create").json()["id"]
    prompt_id = call(http, server, "prompter", chat_id, **PROMPT).json()["id"]
    return chat_id, call(http, server, "assistant", chat_id, parent_id=prompt_id).json()["id"]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", ["inference-stream_unicode-2", "website-stream_very_long_token-2"])
def test_replay_is_exact(name: str, framing: Framing, http: requests.Session) -> None:
    """Every framing puts the recorded bytes on the wire, unchanged and complete."""
    exchange = exchange_named(name)
    with ReplayServer(exchange, framing) as server, connect(server) as client:
        drive(http, server)
        client.sendall(f"GET {exchange.target} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        received = read_all(client)

    assert exchange.raw == received


@pytest.mark.parametrize(
    ("framing", "name", "count"),
    [
        pytest.param("recorded", "inference-stream_normal-2", 11, id="recorded"),
        pytest.param("bytes", "inference-stream_normal-2", 1614, id="bytes"),
        pytest.param("bytes", "inference-stream_very_long_token-2", 4027, id="bytes of a long answer"),
        pytest.param("whole", "inference-stream_normal-2", 1, id="whole"),
    ],
)
def test_framings_differ(framing: Framing, name: str, count: int) -> None:
    """A framing decides in how many sends an answer goes out."""
    assert count == len(list(exchange_named(name).pieces(framing)))


@pytest.mark.parametrize("surface", SURFACES)
def test_replay_uses_the_recorded_set_up(surface: Surface, http: requests.Session) -> None:
    """Ids, the answers that gave them out and the stored message are those of the recording."""
    exchange = exchange_named(f"{surface}-stream_normal-2")
    with ReplayServer(exchange) as server:
        chat_id, message_id = drive(http, server)
        stored = call(http, server, "message", chat_id, message_id).json()
        deleted = call(http, server, "delete", chat_id)
        given = server.requests[2].json()["parent_id"]

    assert exchange.ids == [chat_id, message_id]
    assert "Hello! I am a scripted assistant." == stored["content"]
    assert stored["parent_id"] == given
    assert (200, b"") == (deleted.status_code, deleted.content)


@pytest.mark.parametrize(
    ("name", "state", "content"),
    [
        pytest.param("inference-stream_finished_message-1", "complete", "Hello! I am a scripted assistant.", id="204"),
        pytest.param("website-stream_error_first-2", "aborted_by_worker", None, id="empty 200"),
        pytest.param("website-server_killed_mid_stream-0", "in_progress", None, id="left open"),
        pytest.param("inference-server_killed_mid_stream-0", "in_progress", None, id="cut"),
        pytest.param("inference-timeout-0", "timeout", None, id="error"),
    ],
)
def test_replay_tells_the_recorded_state(name: str, state: str, content: str | None, http: requests.Session) -> None:
    """GET message says what the recording knows of the message after its stream."""
    with ReplayServer(exchange_named(name)) as server:
        message = call(http, server, "message", *drive(http, server)).json()

    assert (state, content) == (message["state"], message["content"])


@pytest.mark.parametrize("surface", SURFACES)
def test_recordings_agree_with_themselves(surface: Surface) -> None:
    """The bytes of each whole answer hold, read as HTTP, the status and the body that the recording gives."""
    exchanges = [item for recording in recordings() if recording.surface == surface for item in recording.exchanges]
    for exchange in exchanges:
        if exchange.ended == "complete":
            with ScriptedServer(reply(exchange.raw)) as server:
                answer = HTTPConnection(server.url.removeprefix("http://"), timeout=20)
                answer.request(exchange.method, "/")
                read = answer.getresponse()

                assert (exchange.status, exchange.body) == (read.status, read.read()), exchange.id
                answer.close()


def test_replay_cuts_what_was_cut(http: requests.Session) -> None:
    """A recorded cut reaches the client as a body that ends too soon."""
    with ReplayServer(exchange_named("inference-server_killed_mid_stream-0")) as server:
        chat_id, message_id = drive(http, server)

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            call(http, server, "events", chat_id, message_id)


def test_replay_holds_what_was_open(http: requests.Session) -> None:
    """A stream that was still open is held open, and it is noticed when the client leaves."""
    exchange = exchange_named("website-server_killed_mid_stream-0")
    with ReplayServer(exchange) as server, connect(server) as client:
        drive(http, server)
        client.sendall(f"GET {exchange.target} HTTP/1.1\r\n\r\n".encode())
        received = b""
        while len(received) < len(exchange.raw):
            received += client.recv(1 << 16)
        before = server.readers_left
        client.close()
        server.wait_until(lambda: server.readers_left)

    assert exchange.raw == received
    assert 0 == before


def test_expectation_is_read_from_the_bytes() -> None:
    """Text, final message, words of the error and terminal event are those that the body holds."""
    answer = exchange_named("inference-stream_mismatch-2").expectation
    failure = exchange_named("website-stream_general_error-2").expectation
    nothing = exchange_named("inference-stream_finished_message-1").expectation

    assert (" Sure, here is it.</s>", "message", None) == (answer.text, answer.terminal, answer.error)
    assert "Sure, here is it." == (answer.message or {})["content"]
    assert ("error", "aborted_by_worker") == (failure.terminal, (failure.message or {})["state"])
    assert "Aborted due to worker error." == failure.error
    assert ("", None, ()) == (nothing.text, nothing.terminal, nothing.events)
