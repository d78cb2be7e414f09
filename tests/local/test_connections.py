"""Connections of clients that take their time, are too many, or talk nonsense."""

from __future__ import annotations

import contextlib
import http.client
import logging
import select
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import requests

from oa_client.local import LocalServer
from oa_client.local import _serving as serving
from tests.local.support import PATIENCE, Puppet, User, exchange

if sys.platform != "win32":
    import resource

CROWDED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from oa_client.local import LocalServer
with LocalServer("lorem") as server:
    print(server.url, flush=True)
    input()
"""


def connect(url: str) -> socket.socket:
    """Make a connection to a server."""
    return socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=PATIENCE)


def request(url: str, method: str = "GET", *lines: str) -> bytes:
    """A request for the chats, without its body, by somebody who is not signed in."""
    head = [f"{method} /chats HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode()


def status(connection: socket.socket) -> int:
    """Read one answer."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        response.read()
        return response.status


def is_cut(connection: socket.socket) -> bool:
    """Wait for something, which is to be the end."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Servers that give a request as good as no time, until this is undone."""
    monkeypatch.setattr("oa_client.local._surfaces.connection.REQUEST_TIMEOUT", 0.02)
    return monkeypatch


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(slice(0), id="nothing"),
        pytest.param(slice(10), id="half a head"),
        pytest.param(slice(-1), id="half a body"),
    ],
)
def test_a_request_that_does_not_come(server: LocalServer, hurry: pytest.MonkeyPatch, part: slice) -> None:
    """The connection is cut off after a while."""
    whole = request(server.url, "POST", "Content-Length: 2", f"Authorization: Bearer {server.token}") + b"{}"
    with connect(server.url) as connection:
        connection.sendall(whole[part])

        assert is_cut(connection)


def test_a_request_that_comes_byte_by_byte(server: LocalServer, hurry: pytest.MonkeyPatch) -> None:
    """Each byte does not make it last longer."""
    with connect(server.url) as connection:
        connection.sendall(b"GET /")
        for _ in range(1000):
            if select.select([connection], [], [], 0.005)[0]:
                break
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x")

        assert is_cut(connection)


def test_a_second_request_that_does_not_come(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its own time."""
    with connect(server.url) as connection:
        connection.sendall(request(server.url))
        first = status(connection)
        monkeypatch.setattr("oa_client.local._surfaces.connection.REQUEST_TIMEOUT", 0.02)
        connection.sendall(b"GET /")

        assert first == 403
        assert is_cut(connection)


def test_who_waits_for_an_answer_or_may_ask_again_is_not_cut_off(
    server: LocalServer, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a reader of events nor a connection between two requests has anything to send."""
    user = User(server, "inference")
    with user.events(*user.ask("hi")) as events, connect(server.url) as kept:
        kept.sendall(request(server.url))
        first = status(kept)
        with monkeypatch.context() as hurry:
            hurry.setattr("oa_client.local._surfaces.connection.REQUEST_TIMEOUT", 0.02)
            with connect(server.url) as slow:
                assert is_cut(slow)
        kept.sendall(request(server.url))
        second = status(kept)
        puppet.play("hi").finish("ho")

        assert (first, second) == (403, 403)
        assert list(events)[-1]["message"]["content"] == "ho"


def test_too_many_connections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three that there may be the last is answered with 503; one more is cut off, and later ones are let in."""
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 3)
    with LocalServer("lorem") as server:
        statuses = []
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                connection = stack.enter_context(connect(server.url))
                connection.sendall(request(server.url))
                statuses.append(status(connection))
            last = stack.enter_context(connect(server.url))
            assert is_cut(stack.enter_context(connect(server.url)))
            last.sendall(request(server.url))
            statuses.append(status(last))
        again = requests.get(f"{server.url}/chats", timeout=PATIENCE)

    assert statuses == [403, 403, 503]
    assert again.status_code == 403


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize(
    ("files", "connections"),
    [(256, 128), (100, 50), (1024, 896), (1 << 20, serving.MOST_CONNECTIONS), (None, serving.MOST_CONNECTIONS)],
)
def test_connections_leave_some_files_to_others(
    monkeypatch: pytest.MonkeyPatch, files: int | None, connections: int
) -> None:
    """There may be fewer than the process can open files; None is no limit."""
    limit = resource.RLIM_INFINITY if files is None else files
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))

    assert serving._most_connections() == connections


@pytest.mark.skipif(
    sys.platform == "win32" or resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 512, reason="needs 512 open files"
)
def test_a_crowd_does_not_use_the_files_up() -> None:
    """A server that may open 256 keeps 128 connections of 300, tells nothing, and goes on when they have left."""
    with subprocess.Popen(
        [sys.executable, "-c", CROWDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(connect(url)) for _ in range(300)]
            for _ in range(300 - 128):
                (first, *_), _, _ = select.select(crowd, [], [], PATIENCE)
                crowd.remove(first)
                assert is_cut(first)
        answer = requests.get(f"{url}/chats", timeout=PATIENCE)
        _, errors = process.communicate("\n", timeout=PATIENCE)

    assert (answer.status_code, errors) == (403, "")


@pytest.mark.parametrize(
    ("nonsense", "answer"),
    [
        pytest.param(b"\x16\x03\x01\x02\r\n\r\n", b"400", id="TLS"),
        pytest.param(b"GET /chats HTTP/1.1\r\n\r\n", b"400", id="no host"),
        pytest.param(None, b"403", id="a WebSocket"),
    ],
)
def test_nonsense_is_no_error(
    server: LocalServer, nonsense: bytes | None, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can connect could fill the terminal with it: that shows errors alone."""
    upgrade = request(server.url, "GET", "Connection: upgrade, close", "Upgrade: websocket")

    assert exchange(server, nonsense or upgrade).split()[1] == answer
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
