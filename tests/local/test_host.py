"""Where the server listens, whom it lets in there, and with what."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
import requests

from oa_client.local import LocalServer, LocalServerError
from oa_client.local._surfaces.host import Host
from tests.local.support import PATIENCE, User

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
TOKEN = "correct-horse-battery-staple-0123456789"


def has_ipv6() -> bool:
    """Whether ::1 can be listened on."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


@pytest.mark.parametrize(
    ("host", "start"),
    [
        pytest.param("127.0.0.1", "http://127.0.0.1:", id="IPv4"),
        pytest.param("127.0.0.2", "http://127.0.0.2:", id="another loopback address"),
        pytest.param("localhost", "http://localhost:", id="localhost"),
        pytest.param("::1", "http://[::1]:", id="IPv6", marks=ipv6),
        pytest.param("[::1]", "http://[::1]:", id="IPv6 in brackets", marks=ipv6),
    ],
)
def test_every_address_of_this_machine_alone(host: str, start: str) -> None:
    """Both surfaces answer there, with random credentials."""
    with LocalServer("lorem", host=host) as server:
        url, exposed = server.url, server.is_exposed
        created = User(server, "inference").create(), User(server, "website").create()
        redirected = User(server, "inference").send("GET", "/auth/check/", allow_redirects=False)

    assert url.startswith(start)
    assert not exposed
    assert all(created)
    assert redirected.headers["location"] == f"{url}/auth/check"


@pytest.mark.parametrize(
    "host",
    [EVERYWHERE, pytest.param("::", marks=ipv6)],
)
def test_every_address_that_the_machine_has(host: str) -> None:
    """The address that is told leads there from this machine, and IPv4 does so too."""
    with LocalServer("lorem", host=host, token=TOKEN) as server:
        chat_id = User(server, "website").create()
        url = f"http://127.0.0.1:{urlsplit(server.url).port}/chats/{chat_id}"
        answer = requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE)

    assert server.is_exposed
    assert urlsplit(server.url).hostname in ("127.0.0.1", "::1")
    assert answer.json()["id"] == chat_id


@pytest.mark.parametrize(
    "host",
    [EVERYWHERE, "::", "192.0.2.1", "2001:db8::1", "my-machine.example", "127.0.0.1.example"],
)
def test_others_are_not_let_in_without_a_token(host: str) -> None:
    """Whatever is not this machine alone demands one, and no debug login; nothing is opened or looked up before."""
    with pytest.raises(ValueError, match="lets other machines in: give a token of your own"):
        LocalServer("lorem", host=host)
    with pytest.raises(ValueError, match="debug_login anybody: not both"):
        LocalServer("lorem", host=host, token=TOKEN, debug_login=True)

    assert LocalServer("lorem", host=host, token=TOKEN).is_exposed


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 31 + "y", id="few different"),
        pytest.param("correct-horse-battery-staple", id="short"),
        pytest.param(TOKEN + ";", id="no cookie"),
        pytest.param(TOKEN + "\n", id="line end"),
        pytest.param(TOKEN + "ü", id="no ASCII"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_a_token_that_is_easily_guessed(host: str, token: str) -> None:
    """It is refused, or one that cannot stand in a cookie, without being told, and the error says how to make one."""
    with pytest.raises(ValueError, match=r"at least 32 characters.*token_urlsafe") as error:
        LocalServer("lorem", host=host, token=token)

    assert not token or token not in str(error.value)


def test_a_token_of_ones_own() -> None:
    """It signs in on both surfaces, and nothing near it does."""
    with LocalServer("lorem", token=TOKEN) as server:
        chat_id = User(server, "inference").create()
        listed = User(server, "website").send("GET", "/api/chat").json()["chats"]
        user_id = User(server, "inference").send("GET", "/auth/check").json()
        refused = []
        for surface, path in SURFACES:
            outsider = User(server, surface)
            outsider.token, outsider.session = TOKEN + "x", TOKEN[:-1]
            refused.append(outsider.send("GET", path).status_code)

    assert [chat["id"] for chat in listed] == [chat_id]
    assert user_id == "local"
    assert refused == [401, 403]


SURFACES = [("inference", "/auth/check"), ("website", "/api/chat")]


def test_without_one_nothing_is_let_in() -> None:
    """An empty secret is none."""
    with LocalServer("lorem") as server:
        cookie = requests.get(
            f"{server.url}/api/chat", headers={"Cookie": "next-auth.session-token="}, timeout=PATIENCE
        )
        bearer = requests.get(f"{server.url}/auth/check", headers={"Authorization": "Bearer "}, timeout=PATIENCE)

    assert (cookie.status_code, bearer.status_code) == (403, 403)


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        pytest.param(EVERYWHERE, {"Host": "192.0.2.7:{port}"}, 200, id="an address"),
        pytest.param(EVERYWHERE, {"Host": "[2001:db8::7]:{port}"}, 200, id="an IPv6 address"),
        pytest.param(EVERYWHERE, {"Host": "{name}:{port}"}, 200, id="the machine's name"),
        pytest.param(EVERYWHERE, {"Host": "localhost:{port}"}, 200, id="localhost"),
        pytest.param(EVERYWHERE, {"Host": "evil.example:{port}"}, 403, id="another name"),
        pytest.param(EVERYWHERE, {"Host": "192.0.2.7:1"}, 403, id="another port"),
        pytest.param(EVERYWHERE, {"Host": "192.0.2.7:{port}", "Origin": "http://192.0.2.7:{port}"}, 200, id="own page"),
        pytest.param(
            EVERYWHERE,
            {"Host": "192.0.2.7:{port}", "Origin": "http://192.0.2.8:{port}"},
            403,
            id="a page of another address",
        ),
        pytest.param(
            EVERYWHERE, {"Host": "192.0.2.7:{port}", "Origin": "http://localhost:{port}"}, 403, id="local page"
        ),
        pytest.param(EVERYWHERE, {"Origin": "http://localhost:{port}"}, 200, id="two local names"),
        pytest.param("localhost", {"Host": "192.0.2.7:{port}"}, 403, id="an address of a local server"),
        pytest.param("localhost", {"Host": "127.0.0.1:{port}"}, 200, id="a local address"),
    ],
)
def test_whose_requests_are_answered(host: str, headers: dict[str, str], status: int) -> None:
    """Those to the machine's addresses and its own name, by no page but its own."""
    with LocalServer("lorem", host=host, token=TOKEN) as server:
        port = urlsplit(server.url).port
        sent = {name: value.format(port=port, name=socket.gethostname()) for name, value in headers.items()}
        answer = requests.get(f"{server.url}/configs/model_configs", headers=sent, timeout=PATIENCE)

    assert answer.status_code == status


def test_a_name_of_the_machine() -> None:
    """The name that was given is good, also where the machine does not call itself so."""
    host = Host("Chat.Example")

    assert host.is_exposed
    assert host.leads_here("chat.example")
    assert not host.leads_here("other.example")
    assert host.url(80) == "http://Chat.Example:80"


@pytest.mark.parametrize("host", ["", "a b", "http://127.0.0.1", "127.0.0.1:80", "[::1]:80", "-", "a/b"])
def test_what_is_no_host(host: str) -> None:
    """It is refused before anything is opened."""
    with pytest.raises(ValueError, match="is neither an address nor a name"):
        LocalServer("lorem", host=host, token=TOKEN)


def test_a_host_of_another_machine() -> None:
    """It cannot be served on, and the error names it."""
    with pytest.raises(LocalServerError, match=r"cannot serve on port 0 of 192\.0\.2\.1: "):
        LocalServer("lorem", host="192.0.2.1", token=TOKEN).start()
