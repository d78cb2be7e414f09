"""Where credentials go, and that nobody sees them; waking a thread that waits for the network."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import math
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from oa_client import (
    APIError,
    Client,
    ConfigurationError,
    OAError,
    ProtocolError,
    RateLimitError,
    ReplyError,
    TransportError,
    TransportTimeout,
)
from oa_client._accounts.credentials import Credentials, Login
from oa_client._accounts.target import Target
from oa_client._net.interrupt import Interrupt, Interrupted
from oa_client._net.transport import Transport
from oa_client._values.timeout import Timeout
from oa_client._wire.inference import Inference
from tests.scripted import (
    Connection,
    EventWriter,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    Surface,
    chunk,
    cut_after,
    empty_response,
    in_turn,
    json_response,
    reply,
    response,
    sse_head,
    stall,
)

SECRET = "s3cr3t-s3cr3t-s3cr3t"
LIMITS = Timeout(connect=5, read=5)
PATIENT = Timeout(connect=60, read=60)


def make_transport(url: str, **options: Any) -> Transport:
    """A transport to an inference server at a URL."""
    return Transport(Target(url, Inference(), Credentials(Login(token=SECRET))), **options)


@pytest.fixture
def other_server() -> Iterator[ScriptedServer]:
    """A server that must not be talked to."""
    with ScriptedServer(reply(json_response({"id": "c1"}))) as server:
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(other_server: ScriptedServer, status: int) -> None:
    """A redirect raises an APIError that names where it leads, and nothing is sent there."""
    redirect = empty_response(status, {"location": f"{other_server.url}/chats"})
    with (
        ScriptedServer(reply(redirect)) as server,
        Client(server.url, token=SECRET) as client,
        pytest.raises(APIError, match="redirects are refused") as caught,
    ):
        client.ask("Hi")

    assert caught.value.status == status
    assert "127.0.0.1" in str(caught.value)
    assert other_server.requests == []


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("//oa.test/chats", "this one leads to http://oa.test: "),
        ("//me:pw@oa.test:8443/", "this one leads to http://oa.test:8443: "),
        ("https://oa.test:8443", "this one leads to https://oa.test:8443: "),
        ("/login", "redirects are refused$"),
    ],
)
def test_redirect_is_told_as_it_is(location: str, words: str) -> None:
    """The error has the scheme, host and port that a redirect leads to, if it leads elsewhere."""
    with (
        ScriptedServer(reply(empty_response(302, {"location": location}))) as server,
        Client(server.url, token=SECRET) as client,
        pytest.raises(APIError, match=words),
    ):
        client.list_models()


def test_redirect_to_nowhere_is_refused() -> None:
    """A Location that cannot be read is an APIError as any other."""
    redirect = empty_response(302, {"location": "http://[x"})
    with ScriptedServer(reply(redirect)) as server, Client(server.url, token="t") as client, pytest.raises(APIError):
        client.ask("Hi")


def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.netrc` entry for the host neither replaces nor adds credentials."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with OpenAssistantScript("website") as script, Client(script.url) as client:
        client.ask("Hi")

        assert {request.headers.get("Authorization") for request in script.requests} == {None}


@pytest.mark.filterwarnings("ignore:the credentials go to")
def test_proxy_of_the_environment_is_not_asked_for_loopback(
    monkeypatch: pytest.MonkeyPatch, other_server: ScriptedServer
) -> None:
    """A server on this machine is reached directly, whatever $http_proxy says."""
    monkeypatch.setenv("http_proxy", other_server.url)
    with OpenAssistantScript("inference") as script, Client(script.url, token="t") as client:
        client.ask("Hi")

    assert other_server.requests == []


@pytest.mark.filterwarnings("ignore:the credentials go to")
def test_proxy_of_the_environment_is_asked_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server elsewhere is reached through $http_proxy."""
    with OpenAssistantScript("inference") as script:
        monkeypatch.setenv("http_proxy", script.url)
        script.route = lambda request: route(Request(request.method, request.path, request.headers, request.body))  # type: ignore[method-assign]
        route = type(script).route.__get__(script)
        with Client("http://oa.test", token="t") as client:
            assert str(client.ask("Hi")) == "Hello world"

        assert all(request.target.startswith("http://oa.test/chats") for request in script.requests)


def test_proxy_argument_is_used_for_loopback_too() -> None:
    """`proxy=` is the user's word, and holds for every address."""
    with ScriptedServer(reply(json_response({"detail": "from the proxy"}, 418))) as proxy:
        client = Client("http://127.0.0.1:9", token="t", proxy=proxy.url)
        with client, pytest.raises(APIError, match="from the proxy"):
            client.ask("Hi")


@pytest.mark.parametrize(
    "proxy", ["", "host:80", "ftp://host", f"http://me:{SECRET}@:x", 5, "http://h:80\n", "http://h\r\n.x", "http://h /"]
)
def test_bad_proxy_is_refused_without_showing_it(proxy: Any) -> None:
    """A proxy that is no URL raises, and the message holds no password."""
    with pytest.raises(ConfigurationError, match="proxy must be a URL") as caught:
        Client("http://127.0.0.1:9", token="t", proxy=proxy)

    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("proxy", ["http://h:80\n", f"http://me:{SECRET}\r\n@h"])
def test_bad_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy of the environment that has a line break in it is refused, and not shown."""
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigurationError, match=r"^a proxy of the environment .* line break") as caught:
        Client("https://oa.test", token="t")

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        pytest.param("fd00::/8", True, id="network"),
        pytest.param("x.test, [fd00::]/8", True, id="network in brackets"),
        pytest.param("[fd00:0::1]", True, id="address in brackets"),
        pytest.param("[fd00::1]:9", True, id="address and port"),
        pytest.param("FD00:0::0001", True, id="address written in another way"),
        pytest.param("[fd00::1]:90", False, id="address and another port"),
        pytest.param("fe80::/10,10.0.0.0/8,fd00::/x", False, id="other networks"),
        pytest.param("", False, id="nothing"),
    ],
)
@pytest.mark.filterwarnings("ignore:the credentials go to")
def test_no_proxy_with_ipv6(monkeypatch: pytest.MonkeyPatch, no_proxy: str, direct: bool) -> None:
    """$no_proxy may name an IPv6 address or network, in brackets or not."""
    with ScriptedServer(reply(json_response({"detail": "from the proxy"}, 418))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", no_proxy)
        with (
            Client("http://[fd00::1]:9", token="t", max_retries=0, timeout=0.2) as client,
            pytest.raises(OAError) as caught,
        ):
            client.list_models()

    assert direct is isinstance(caught.value, TransportError)
    assert direct is not isinstance(caught.value, APIError)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        pytest.param({"X-A": f"{SECRET}\n"}, "'X-A'", id="a line end"),
        pytest.param({"X-A": f"{SECRET}é"}, "'X-A'", id="not ASCII"),
        pytest.param({"X:A": SECRET}, "name", id="a colon"),
        pytest.param({"": SECRET}, "name", id="no name"),
        pytest.param({"X-A": "a", "X B": SECRET}, "^headers: name 2 is not the name of a header", id="a space"),
        pytest.param({"X-B ": SECRET}, "name 1", id="a space at the end"),
        pytest.param({f"Authorization {SECRET}": "x"}, "name 1", id="a secret in the name"),
        pytest.param({"authorization": SECRET}, "token=", id="credentials twice"),
    ],
)
def test_bad_headers_are_refused_without_showing_them(headers: dict[str, str], words: str) -> None:
    """A header that cannot be sent raises, and the message does not hold its value."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        Client("http://127.0.0.1:9", token="t", headers=headers)

    assert SECRET not in str(caught.value)


def test_headers_are_added_to_every_request() -> None:
    """`headers=` goes along with each call, and can replace the User-Agent."""
    headers = {"User-Agent": "mine/1", "X-Extra": "yes"}
    with OpenAssistantScript("website") as script, Client(script.url, headers=headers) as client:
        client.ask("Hi")

        assert {(r.headers["User-Agent"], r.headers["X-Extra"]) for r in script.requests} == {("mine/1", "yes")}


def test_own_session_is_neither_changed_nor_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A session of the user's works, and is afterwards what it was; `.netrc` is not read for it either."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with requests.Session() as session, OpenAssistantScript("inference") as script:
        before = {name: repr(value) for name, value in vars(session).items() if name != "adapters"}
        with Client(script.url, token="t", session=session) as client:
            assert str(client.ask("Hi")) == "Hello world"
        after = {name: repr(value) for name, value in vars(session).items() if name != "adapters"}

        assert after == before
        assert {request.headers["Authorization"] for request in script.requests} == {"Bearer t"}
        assert session.get(script.url + "/chats", timeout=5).ok


def test_stream_of_an_own_session_can_be_closed_from_another_thread() -> None:
    """Once the response has begun, close() wakes the reader in a session of the user's as well."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    with requests.Session() as session, OpenAssistantScript("inference") as script:
        script.events = events
        with Client(script.url, token="t", session=session) as client:
            stream = client.stream("Hi")
            first = next(stream)
            rest: list[str] = []
            thread = threading.Thread(target=lambda: rest.extend(stream))
            thread.start()
            stream.close()
            thread.join(20)
            script.message_state = "complete"

            assert (first, rest, thread.is_alive()) == ("Hello", [], False)


def _failing_answers() -> dict[str, Any]:
    def cut(connection: Connection, _: Request) -> None:
        connection.reset()

    return {
        "401": reply(json_response({"detail": "Token expired"}, 401)),
        "cut": cut,
        "a page": reply(response(200, b"<html>", {"content-type": "text/html"})),
        "redirect": reply(empty_response(302, {"location": "/login", "set-cookie": f"session={SECRET}"})),
        "bad chunk": reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        "bad gzip": reply(response(200, b"xx", {"content-encoding": "gzip"})),
        "no HTTP": reply(b"nonsense\r\n\r\n"),
        "repeats it": reply(json_response({"detail": f"unknown: {SECRET}"}, 418)),
        "repeats it in a page": reply(response(200, f"<p>{SECRET}".encode())),
        "repeats it, not UTF-8": reply(response(200, f"{SECRET}\xff".encode("latin-1"))),
        "repeats it, no id": reply(json_response({"you": SECRET})),
        "repeats it as a chunk": reply(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b\r\n" % SECRET.encode()
        ),
        "repeats it as a status": reply(f"HTTP/1.1 {SECRET}\r\n\r\n".encode()),
    }


def _failing_events() -> dict[str, bytes]:
    """What goes wrong in the events, with the credential in it."""
    return {
        "error event": b"data: "
        + json.dumps({"event_type": "error", "error": f"{SECRET} is bad", "message": None}).encode(),
        "error that is text": f"event: error\r\ndata: {SECRET}".encode(),
        "not JSON": f"data: {{{SECRET}".encode(),
        "no object": f'data: ["{SECRET}"]'.encode(),
        "wrong field": f'data: {{"event_type": "token", "text": ["{SECRET}"]}}'.encode(),
    }


def _shown_by(error: BaseException | None) -> Iterator[str]:
    """Yield what tools show of an error: its words and fields, and the variables of frames; also of those below it."""
    while error is not None:
        yield f"{error} {error!r} {error.args} {vars(error)} {getattr(error, 'doc', '')}"
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield f"{frame.f_code.co_name}: {frame.f_locals}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("how", list(_failing_answers()))
@pytest.mark.parametrize("credentials", [{"token": SECRET}, {"cookies": {"session": SECRET}}], ids=["token", "cookies"])
def test_secrets_show_nowhere(caplog: pytest.LogCaptureFixture, how: str, credentials: dict[str, Any]) -> None:
    """Token and cookies are in no error, repr, log, pickle, request or response that can be reached."""
    caplog.set_level(logging.DEBUG)
    with (
        ScriptedServer(_failing_answers()[how]) as server,
        Client(server.url, **credentials, max_retries=0, headers={"X-Api-Key": SECRET}) as client,
        pytest.raises(OAError) as caught,
    ):
        client.ask("Hi")

    shown = [repr(client), repr(vars(client)), caplog.text, "".join(traceback.format_exception(caught.value))]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(error.args)]
        for name in ("request", "response"):
            value = getattr(error, name, None)
            shown += [repr(vars(value))] if value is not None else []
            shown += [repr(vars(value.request))] if isinstance(value, requests.Response) else []
        error = error.__cause__
    shown.append(repr(pickle.dumps(caught.value)))
    assert [text for text in shown if SECRET in text] == []


def test_interrupt_wakes_a_wait_for_the_head() -> None:
    """Firing from another thread ends a call that waits for the response to begin."""
    interrupt, errors = Interrupt(), []
    with ScriptedServer(stall) as server:
        transport = make_transport(server.url)

        def send() -> None:
            try:
                transport.send(Inference().create_chat(), LIMITS, interrupt)
            except OAError as error:
                errors.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        server.wait_until(lambda: server.requests)
        interrupt.fire()
        thread.join(20)
        transport.close()

    assert [type(error) for error in errors] == [Interrupted]


def test_interrupt_wakes_a_connect() -> None:
    """Firing from another thread ends a call whose connection is not made."""
    interrupt, errors = Interrupt(), []
    # A full backlog: on Linux a further connect waits for the server to accept.
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        transport = make_transport(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def send() -> None:
            try:
                transport.send(Inference().create_chat(), Timeout(connect=30, read=30), interrupt)
            except OAError as error:
                errors.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        while interrupt.socket is None:
            assert thread.is_alive()
        interrupt.fire()
        thread.join(20)
        transport.close()

    assert [type(error) for error in errors] == [Interrupted]


def test_interrupt_wakes_a_tls_handshake() -> None:
    """Firing from another thread ends a call whose server never answers the TLS hello."""
    interrupt, errors = Interrupt(), []
    greeted = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                greeted.set()
                while connection.recv(65536):
                    pass

        transport = make_transport(f"https://127.0.0.1:{listener.getsockname()[1]}")

        def send() -> None:
            try:
                transport.send(Inference().create_chat(), Timeout(connect=30, read=30), interrupt)
            except OAError as error:
                errors.append(error)

        threads = [threading.Thread(target=accept), threading.Thread(target=send)]
        for thread in threads:
            thread.start()
        greeted.wait(20)
        interrupt.fire()
        for thread in threads:
            thread.join(20)
        transport.close()

    assert [type(error) for error in errors] == [Interrupted]


def test_fired_interrupt_sends_nothing(other_server: ScriptedServer) -> None:
    """After firing, a call ends before it reaches the server."""
    interrupt = Interrupt()
    interrupt.fire()
    transport = make_transport(other_server.url)

    with pytest.raises(Interrupted):
        transport.send(Inference().create_chat(), LIMITS, interrupt)

    assert other_server.requests == []


@pytest.mark.parametrize("is_fired_first", [False, True])
def test_interrupt_is_not_held_while_something_is_shut(is_fired_first: bool) -> None:
    """What is shut down may wait for a thread that is just about to detach it: neither waits for ever."""
    interrupt, left = Interrupt(), []

    class Waited:
        def shutdown(self, _how: int) -> None:
            thread = threading.Thread(target=interrupt.detach, daemon=True)
            thread.start()
            thread.join(20)
            left.append(thread.is_alive())

    if is_fired_first:
        interrupt.fire()
    interrupt.attach(Waited())
    interrupt.fire()

    assert left == [False]


def test_interrupt_of_a_finished_call_leaves_the_connection_to_others() -> None:
    """Firing after the end of a call does not touch the connection that another call uses by then."""
    first = Interrupt()
    with ScriptedServer(reply(json_response({"id": "c1"}))) as server:
        transport = make_transport(server.url)
        transport.send(Inference().create_chat(), LIMITS, first)
        first.fire()
        assert transport.send(Inference().create_chat(), LIMITS, Interrupt()) == "c1"
        assert server.accepted == 1
        transport.close()


def test_interrupt_survives_that_an_earlier_connection_is_taken_over() -> None:
    """Firing wakes a call though another exchange has taken over a connection that this one has used before."""
    is_third, interrupt, errors = threading.Event(), Interrupt(), []

    def late(connection: Connection, request: Request) -> None:
        connection.wait(is_third)
        answer(connection, request)

    answer = reply(json_response({"id": "c1"}))
    with ScriptedServer(in_turn(late, answer, stall, answer)) as server:
        transport = make_transport(server.url)
        call = Inference().create_chat()

        def send() -> None:
            try:
                transport.send(call, PATIENT, interrupt)
            except OAError as error:
                errors.append(error)

        # Two connections, and the one that this exchange has used is the one that is kept for longer.
        other = threading.Thread(target=transport.send, args=(call, LIMITS, Interrupt()))
        other.start()
        server.wait_until(lambda: len(server.requests) == 1)
        transport.send(call, LIMITS, interrupt)
        is_third.set()
        other.join(20)
        # It gets the other's, which was given back last.
        thread = threading.Thread(target=send)
        thread.start()
        server.wait_until(lambda: len(server.requests) == 3)
        # Another exchange gets the first one.
        transport.send(call, LIMITS, Interrupt())
        interrupt.fire()
        thread.join(20)
        is_alive = thread.is_alive()
        transport.close()

        assert (server.accepted, is_alive) == (2, False)
    assert [type(error) for error in errors] == [Interrupted]


@pytest.mark.parametrize("fails", [False, True])
def test_call_beside_a_stream_leaves_it_as_it_was(fails: bool) -> None:
    """An event stream has no deadline, and can be woken, also after its exchange has made another call."""
    interrupt, surface = Interrupt(), Inference()
    events = reply(sse_head() + chunk(b"x"))
    answer = reply(json_response({"id": "c1"}))
    with ScriptedServer(in_turn(events, cut_after(1, answer) if fails else answer)) as server:
        transport = make_transport(server.url)
        body = transport.send(surface.open_events("c1", "m1"), PATIENT, interrupt)
        sock = interrupt.socket
        with contextlib.suppress(TransportError):
            transport.send(surface.create_chat(), LIMITS, interrupt)
        after = (interrupt.socket, interrupt.deadline)
        errors: list[BaseException] = []

        def read() -> None:
            try:
                while not body.is_over:
                    body.read()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        interrupt.fire()
        thread.join(20)
        is_alive = thread.is_alive()
        body.close()
        transport.close()

    assert after == (sock, math.inf)
    assert (is_alive, len(errors)) == (False, 1)
    assert interrupt.socket is None


def test_connect_limit_is_a_timeout_of_its_own() -> None:
    """A connection that is not made in time is a TransportTimeout of the phase "connect", and nothing was sent."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        transport = make_transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TransportTimeout) as caught:
            transport.send(Inference().create_chat(), Timeout(connect=0.1, read=5), Interrupt())
        transport.close()

    assert (caught.value.phase, caught.value.is_unsent) == ("connect", True)


def test_unknown_host_is_a_transport_error() -> None:
    """A name that does not resolve is a TransportError, and nothing was sent."""
    transport = make_transport("http://nowhere.invalid")

    with pytest.raises(TransportError) as caught:
        transport.send(Inference().create_chat(), LIMITS, Interrupt())

    assert caught.value.is_unsent


def test_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer over the limit is not read on."""
    monkeypatch.setattr("oa_client._net.transport.ANSWER_LIMIT", 1000)
    with ScriptedServer(reply(response(200, b"x" * 5000))) as server:
        transport = make_transport(server.url)
        with pytest.raises(OAError, match="more than 1000 bytes"):
            transport.send(Inference().create_chat(), LIMITS, Interrupt())
        transport.close()


def test_cookies_that_the_server_sets_go_along() -> None:
    """A load balancer's cookie is sent back beside the session cookie."""
    answer = json_response({"detail": "x"}, 418, {"set-cookie": "route=b2; Path=/"})
    with ScriptedServer(reply(answer)) as server, Client(server.url, cookies={"session": "x"}) as client:
        for _ in range(2):
            with pytest.raises(APIError):
                client.ask("Hi")

        assert [request.headers["Cookie"] for request in server.requests] == ["session=x", "session=x; route=b2"]


@pytest.mark.parametrize("status", [102, 103, 199])
def test_interim_answers_are_passed_over(status: int) -> None:
    """An interim answer is not taken for the answer, nor that for the one of the next call."""
    interim = f"HTTP/1.1 {status} Wait\r\nlink: </style.css>\r\n\r\n".encode()
    answers = in_turn(*(reply(interim + json_response({"id": name})) for name in ("c1", "c2")))
    with ScriptedServer(answers) as server:
        transport = make_transport(server.url)
        ids = [transport.send(Inference().create_chat(), LIMITS, Interrupt()) for _ in range(2)]
        transport.close()

    assert ids == ["c1", "c2"]


def test_cookies_of_the_server_are_bounded() -> None:
    """Of cookies without end that a server sets, no more than some come back to it, and none that is very long."""
    counter = itertools.count()

    def answer(connection: Connection, _: Request) -> None:
        number = next(counter)
        cookies = [f"set-cookie: c{number}x{index}={'x' * 100}; path=/\r\n" for index in range(30)]
        cookies.append(f"set-cookie: long{number}={'x' * 20_000}; path=/\r\n")
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + "".join(cookies)
        connection.send(head.encode() + b"content-length: 2\r\n\r\n[]")

    with ScriptedServer(answer) as server, Client(server.url, token=SECRET) as client:
        for _ in range(5):
            client.list_models()
        sent = [request.headers.get("cookie", "") for request in server.requests]

    assert "c0x0=" in sent[1]
    assert max(map(len, sent)) < 16 * 1024
    assert len(sent[-1].split("; ")) <= 50
    assert "long" not in "".join(sent)


@pytest.mark.parametrize("how", list(_failing_answers()))
@pytest.mark.parametrize("credentials", [{"token": SECRET}, {"cookies": {"session": SECRET}}], ids=["token", "cookies"])
def test_no_frame_of_an_error_has_a_credential(how: str, credentials: dict[str, Any]) -> None:
    """No variable of the frames between the user's and the network shows a credential to tools that print them."""
    with (
        ScriptedServer(_failing_answers()[how]) as server,
        Client(server.url, **credentials, max_retries=0, headers={"X-Api-Key": SECRET}) as client,
        pytest.raises(OAError) as caught,
    ):
        client.ask("Hi")

    assert [text for text in _shown_by(caught.value) if SECRET in text] == []


@pytest.mark.parametrize("how", list(_failing_events()))
def test_no_credential_in_an_error_of_the_events(surface: Surface, how: str) -> None:
    """A credential that the events repeat is neither in the error nor in the frames and causes of it."""
    with OpenAssistantScript(surface) as script:
        script.events = lambda stream: stream.raw(_failing_events()[how] + b"\r\n\r\n")
        # So that close() has nothing to wait for.
        script.message_state = "aborted_by_worker"
        credentials: dict[str, Any] = {"cookies": {"session": SECRET}} if surface == "website" else {"token": SECRET}
        with Client(script.url, **credentials) as client, pytest.raises(OAError) as caught:
            client.ask("Hi")

    assert isinstance(caught.value, ReplyError)
    assert ("error" in how) is ("***" in str(caught.value))
    assert [text for text in _shown_by(caught.value) if SECRET in text] == []


@pytest.mark.parametrize(
    "credentials", [{"token": "t"}, {"cookies": {"session": "long-enough", "theme": "t", "consent": "1"}}], ids=str
)
def test_short_secret_spoils_no_error(credentials: dict[str, Any]) -> None:
    """A token or cookie of some characters, which any text has, neither garbles an error nor takes its cause."""
    with ScriptedServer(reply(b"")) as server:
        url = server.url
    with Client(url, **credentials, max_retries=0) as client, pytest.raises(TransportError) as caught:
        client.list_models()

    assert "no answer: ConnectionRefusedError: Connection refused; is the server running?" in str(caught.value)
    assert isinstance(caught.value.__cause__, requests.ConnectionError)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["lists", "objects"])
@pytest.mark.parametrize("depth", [100, 450, 5000])
def test_deep_detail(opening: bytes, depth: int) -> None:
    """An error whose detail is nested very deep has it as text, and can be printed, copied and pickled."""
    closing = b"]" if opening == b"[" else b"}"
    body = b'{"detail": [' + opening * depth + b"1" + closing * depth + b"]}"
    with (
        ScriptedServer(reply(response(418, body, {"content-type": "application/json"}))) as server,
        Client(server.url, token=SECRET) as client,
        pytest.raises(APIError) as caught,
    ):
        client.list_models()

    error = pickle.loads(pickle._dumps(caught.value))  # type: ignore[attr-defined]  # noqa: S301 - in Python, so not deep
    assert body.decode() == error.detail == copy.deepcopy(caught.value).detail
    assert "answered 418: " in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("9" * 400, None), ("9" * 20, None), ("Fri, 31 Dec 9999 23:59:59 GMT", None), ("soon", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """`retry_after` is seconds that can be waited for, or None."""
    with (
        ScriptedServer(reply(json_response({"detail": "x"}, 429, {"retry-after": value}))) as server,
        Client(server.url, token=SECRET, max_retries=0) as client,
        pytest.raises(RateLimitError) as caught,
    ):
        client.list_models()

    assert seconds == caught.value.retry_after


@pytest.mark.parametrize("login", [f"user:{SECRET}", f"{SECRET}:", SECRET, f"user:%73{SECRET[1:]}"])
def test_credential_of_a_proxy_is_not_shown(login: str) -> None:
    """Neither password nor token of a proxy that repeats it is in the error, wherever it stands in the proxy's URL."""
    with (
        ScriptedServer(reply(response(407, f"{SECRET} is unknown".encode()))) as server,
        Client("http://192.0.2.1", proxy=server.url.replace("//", f"//{login}@"), max_retries=0) as client,
        pytest.raises(APIError) as caught,
    ):
        client.list_models()

    assert caught.value.detail == "*** is unknown"
    assert SECRET not in f"{caught.value} {vars(caught.value)}"


def test_addresses_of_a_host_share_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with many addresses, none of which answers, takes as long as one, and each of them is tried."""
    now, tried = [0.0], []

    class Silent(socket.socket):
        def connect(self, address: Any) -> None:
            tried.append(address)
            now[0] += self.gettimeout() or math.inf
            raise TimeoutError

    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in range(1, 6)]
    monkeypatch.setattr("oa_client._net.connection.monotonic", lambda: now[0])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    monkeypatch.setattr(socket, "socket", Silent)
    transport = make_transport("http://oa.example.org")
    with contextlib.closing(transport), pytest.raises(TransportTimeout) as caught:
        transport.send(Inference().list_models(), Timeout(connect=10, read=10), Interrupt())

    assert caught.value.phase == "connect"
    assert [address[1] for address in tried] == [1, 2, 3, 4, 5]
    assert now[0] == pytest.approx(10)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda transport: transport.send(Inference().delete_chat("c1"), LIMITS, Interrupt()), id="call"),
        pytest.param(
            lambda transport: transport.send(Inference().open_events("c1", "m1"), LIMITS, Interrupt()), id="stream"
        ),
    ],
)
def test_change_of_protocol_is_no_success(use: Callable[[Transport], object]) -> None:
    """An answer that the server now speaks another protocol is refused."""
    with (
        ScriptedServer(reply(b"HTTP/1.1 101 Switching Protocols\r\nconnection: close\r\n\r\n")) as server,
        contextlib.closing(make_transport(server.url)) as transport,
        pytest.raises(APIError) as caught,
    ):
        use(transport)

    assert caught.value.status == 101


def test_content_type_does_not_show_the_credential() -> None:
    """A server that repeats the credential as the type of its answer does not get it into the error."""
    with (
        ScriptedServer(reply(response(200, b"no JSON", {"content-type": f"text/{SECRET}"}))) as server,
        Client(server.url, token=SECRET, max_retries=0) as client,
        pytest.raises(ProtocolError, match=r"answered text/\*\*\*, not JSON"),
    ):
        client.list_models()
