"""A server's life: made, started, closed, shared by a process."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

import oa_client.local
from oa_client.local import Backend, LocalServer, LocalServerError, ModelFile, shared_server
from oa_client.local import _shared as shared_module
from oa_client.local._models import registry as registry_module
from oa_client.local._models.backends import Lorem
from tests.local.support import PATIENCE, Puppet, User


class Named(Lorem):
    """A backend that takes the place of the embedded one."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "stand-in"


def test_lorem_writes_as_many_words_as_are_asked_for() -> None:
    """The same ones every time, the first without a leading space, one a token."""
    with LocalServer("lorem") as server:
        user = User(server, "inference")
        answers = []
        for _ in range(2):
            chat_id = user.create()
            prompt = user.post_prompt(chat_id, content="hi").json()
            answer = user.post_answer(chat_id, parent_id=prompt["id"], sampling_parameters={"max_new_tokens": 3})
            with user.events(chat_id, answer.json()["id"]) as events:
                answers.append([event.get("text") or event["message"]["content"] for event in events])

    assert answers == [["Lorem", " ipsum", " dolor", "Lorem ipsum dolor"]] * 2


def test_lorem_stops_when_it_is_cancelled() -> None:
    """Before the next word."""
    cancelled = threading.Event()
    words = Lorem().generate([], {"max_new_tokens": 10}, cancelled)
    first = next(words)
    cancelled.set()

    assert first == "Lorem"
    assert list(words) == []


def test_no_words_at_all() -> None:
    """Zero and less give an empty answer."""
    assert list(Lorem().generate([], {"max_new_tokens": -1}, threading.Event())) == []


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match="port"):
        LocalServer("lorem", port=port)


def test_a_backend_of_ones_own_stays_ones_own(puppet: Puppet) -> None:
    """The server uses it and does not close it."""
    assert isinstance(puppet, Backend)
    with LocalServer(puppet) as server:
        assert server.model == "puppet"

    assert not puppet.closed


def test_a_named_backend_is_closed_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server made it, so the server closes it."""
    made: list[Puppet] = []

    def make() -> Puppet:
        made.append(Puppet())
        return made[0]

    monkeypatch.setitem(registry_module.BACKENDS, "lorem", make)
    with LocalServer("lorem"):
        assert not made[0].closed

    assert made[0].closed


def test_start_and_close_can_be_repeated() -> None:
    """Repeating either does nothing, and a closed server cannot be started."""
    server = LocalServer("lorem")
    server.close()
    with pytest.raises(LocalServerError, match="has been closed"):
        server.start()
    server = LocalServer("lorem")
    server.start()
    url = server.url
    server.start()
    assert server.url == url
    server.close()
    server.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=PATIENCE)


def test_no_address_before_the_start() -> None:
    """Asking for it says why."""
    with pytest.raises(LocalServerError, match="before it is started"):
        LocalServer("lorem").url  # noqa: B018 - the property is what raises


def test_its_repr_tells_the_state_and_no_secret() -> None:
    """Not started, on its address, closed; never the token or the session."""
    server = LocalServer("lorem")
    reprs = [repr(server)]
    with server:
        reprs.append(repr(server))
        url = server.url
    reprs.append(repr(server))
    (session,) = server.cookies.values()

    assert reprs == [
        "<LocalServer lorem, not started>",
        f"<LocalServer lorem, on {url}>",
        "<LocalServer lorem, closed>",
    ]
    assert len(server.token) > 30
    assert len(session) > 30
    assert server.token != session


def test_a_port_that_is_taken() -> None:
    """The error names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"cannot serve on port {port}"):
            LocalServer("lorem", port=port).start()


def test_a_port_of_ones_choice() -> None:
    """It is the one that is served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with LocalServer("lorem", port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_the_embedded_backend_without_its_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start says which command fetches it; nothing answers in its place, and the port is free again."""
    monkeypatch.setenv("OA_CLIENT_DATA", str(tmp_path))
    server = LocalServer()
    with pytest.raises(LocalServerError, match="oa-client setup"):
        server.start()
    with pytest.raises(LocalServerError, match="before it is started"):
        server.url  # noqa: B018 - the property is what raises


def test_the_server_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start says how to install it."""
    monkeypatch.setitem(sys.modules, "oa_client.local._serving", None)
    with pytest.raises(LocalServerError, match=r"pip install 'oa-client\[local\]'"):
        LocalServer("lorem").start()


def test_a_loop_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start hands over what went wrong in its thread, and leaves nothing open."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(uvicorn, "Config", fail)
    server = LocalServer("lorem")
    with pytest.raises(LocalServerError, match="did not start: too many open files"):
        server.start()
    server.close()


def test_servers_do_not_share_anything() -> None:
    """Two in one process have their own chats and secrets, and one closes without the other."""
    with LocalServer("lorem") as one, LocalServer("lorem") as two:
        assert one.token != two.token
        chat_id = User(one, "inference").create()
        assert User(two, "inference").chat(chat_id).status_code == 404
        one.close()
        assert User(two, "inference").create()


def test_another_server_of_the_process_may_stop(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """sse-starlette's flag, which stays set for good after that, does not end the streams here."""
    monkeypatch.setattr("sse_starlette.sse.AppStatus.should_exit", True)
    with LocalServer(puppet) as server:
        user = User(server, "inference")
        chat_id, answer_id = user.ask("hi")
        with user.events(chat_id, answer_id) as events:
            puppet.play("hi").finish("a")
            types = [event["event_type"] for event in events if event["event_type"] != "pending"]

    assert types == ["token", "message"]


def test_a_model_that_does_not_stop_is_left_alone(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close waits for it until a deadline, and what it says afterwards is heard by nobody."""
    monkeypatch.setattr("oa_client.local._answers.work.JOIN_DEADLINE", 0.0)
    with LocalServer(puppet) as server:
        User(server, "inference").ask("hi")
        assert puppet.play("hi").started.wait(PATIENCE)
        server.close()
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "oa-client local answer"]
    puppet.play("hi").finish("too late")
    thread.join(PATIENCE)

    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_close_its_parents_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close does nothing in another process than that of the start."""
    with LocalServer("lorem") as server:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        server.close()
        monkeypatch.undo()
        assert User(server, "inference").create()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lorem in the place of the embedded model, and no shared server before or after."""
    monkeypatch.setitem(registry_module.BACKENDS, "embedded", Named)
    servers: dict[int, LocalServer] = {}
    monkeypatch.setattr(shared_module, "_servers", servers)
    yield
    for server in servers.values():
        server.close()


def test_a_process_shares_one_server(stand_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every call gives the same one, and stderr says once what answers and what to do about it."""
    servers = {shared_server() for _ in range(3)}
    said = capsys.readouterr()

    assert len(servers) == 1
    assert said.out == ""
    assert said.err.count("\n") == 1
    for word in ("SmolLM2-135M-Instruct", "demo", "often wrong", "base_url="):
        assert word in said.err


def test_a_child_process_has_its_own(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server belongs to the process that asked, also if another thread held the lock when it forked."""
    parents = shared_server()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    lock = shared_module._lock
    with lock:
        shared_module._forget_lock()
        childs = shared_server()
    childs.close()

    assert childs is not parents


def test_requests_are_not_in_the_log_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO a program hears nothing of each request; what another uvicorn says of its own is still heard."""
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("uvicorn.access")
    with LocalServer("lorem") as server:
        assert requests.get(server.url, timeout=PATIENCE).status_code
    heard = [record for record in caplog.records if record.name == logger.name]
    logger.info("another's")

    assert heard == []
    assert "another's" in caplog.text


def test_a_shared_server_that_fails_is_tried_again(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is not kept."""

    def fail() -> None:
        raise LocalServerError("the model is not there")

    with monkeypatch.context() as context:
        context.setitem(registry_module.BACKENDS, "embedded", fail)
        with pytest.raises(LocalServerError, match="not there"):
            shared_server()

    assert shared_server().url


def test_importing_is_cheap() -> None:
    """Neither the web framework nor the model runtime is imported before a server is started."""
    code = "import sys, oa_client.local; print([m for m in ('uvicorn', 'starlette', 'xllamacpp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert done.stdout == "[]\n"


def test_requests_that_are_no_http_are_not_printed() -> None:
    """The program that it runs in keeps its standard error for itself; its log has them."""
    code = (
        "import logging, socket, sys\n"
        "from urllib.parse import urlsplit\n"
        "from oa_client.local import LocalServer\n"
        "def send(server):\n"
        "    with socket.create_connection(('127.0.0.1', urlsplit(server.url).port)) as connection:\n"
        "        connection.sendall(b'nonsense\\r\\n\\r\\n')\n"
        "        assert connection.recv(12) == b'HTTP/1.1 400'\n"
        "with LocalServer('lorem') as server:\n"
        "    send(server)\n"
        "    logging.basicConfig(stream=sys.stdout, format='%(name)s: %(message)s')\n"
        "    send(server)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert (done.stdout, done.stderr) == ("oa_client.local: Invalid HTTP request received.\n", "")


def test_nothing_of_the_client_is_imported() -> None:
    """A double that shares the client's constants could only agree with its mistakes."""
    sources = Path(oa_client.local.__file__).parent.glob("*.py")
    lines = [line.strip() for source in sources for line in source.read_text().splitlines()]
    imports = [line for line in lines if line.startswith(("from oa_client", "import oa_client"))]

    assert imports
    assert [line for line in imports if not line.startswith("from oa_client.local")] == [
        "from oa_client import Client"  # the example in the package's docstring
    ]


def test_the_public_names() -> None:
    """They are these, and sorted."""
    assert set(oa_client.local.__all__) == {
        "MODEL",
        "Backend",
        "LocalServer",
        "LocalServerError",
        "ModelFile",
        "Settings",
        "download_model",
        "shared_server",
    }
    assert isinstance(oa_client.local.MODEL, ModelFile)
