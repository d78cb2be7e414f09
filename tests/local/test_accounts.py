"""Users: how they come, what they can prove, and what is hidden from them."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from oa_client.local import LocalServer, Settings
from tests.local.support import PATIENCE, Puppet, User, trusted_client


def send(server: LocalServer, method: str, path: str, **headers: str) -> requests.Response:
    """Send a request with these headers and no credentials of its own."""
    url = server.url + path
    return requests.request(method, url, headers=headers, timeout=PATIENCE, allow_redirects=False)


def sign_in(server: LocalServer, name: str) -> dict[str, Any]:
    """Sign in by debug login."""
    pair: dict[str, Any] = send(server, "GET", f"/auth/callback/debug?code={name}").json()
    return pair


def check(server: LocalServer, token: str) -> tuple[int, Any]:
    """Ask whose token this is."""
    answer = send(server, "GET", "/auth/check", Authorization=f"Bearer {token}")
    return answer.status_code, answer.json()


def test_debug_login_makes_a_user(server: LocalServer) -> None:
    """The redirect leads to a pair of tokens, whose user has chats of their own."""
    there = send(server, "GET", "/auth/login/debug?username=jane")
    pair = requests.get(there.headers["location"], timeout=PATIENCE).json()
    token = pair["access_token"]["access_token"]
    created = requests.post(
        f"{server.url}/chats", json={}, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
    )

    assert (there.status_code, there.json()) == (302, {"detail": "Found"})
    assert there.headers["location"] == f"{server.url}/auth/callback/debug?code=jane&state={{}}"
    assert {name: one["token_type"] for name, one in pair.items()} == {
        "access_token": "bearer",
        "refresh_token": "refresh",
    }
    assert check(server, token) == (200, "jane")
    assert created.status_code == 200
    assert check(server, sign_in(server, "jane")["access_token"]["access_token"]) == (200, "jane")


def test_debug_login_is_off_by_default(puppet: Puppet) -> None:
    """No provider is listed and the callback refuses; the redirect to it works all the same."""
    with LocalServer(puppet) as server:
        refused = send(server, "GET", "/auth/callback/debug?code=jane")
        empty = send(server, "GET", "/auth/callback/debug?code=")
        providers = send(server, "GET", "/auth/providers").json()
        redirect = send(server, "GET", "/auth/login/debug?username=jane")

    assert (refused.status_code, refused.json()) == (403, {"detail": "Debug auth is not allowed"})
    assert empty.status_code == 403
    assert providers == []
    assert redirect.status_code == 302


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/auth/login/debug", 422, id="no name"),
        pytest.param("/auth/login/debug?username=%0d%0aSet-Cookie:x", 500, id="a line break"),
        pytest.param("/auth/login/debug?username=%E2%82%AC", 500, id="a name beyond Latin-1"),
        pytest.param("/auth/login/debug?username=jane%20doe&state=x", 302, id="a space"),
        pytest.param("/auth/callback/debug?code=%00", 500, id="NUL"),
        pytest.param(f"/auth/callback/debug?code={'x' * 256}", 200, id="the longest name"),
        pytest.param(f"/auth/callback/debug?code={'x' * 257}", 500, id="too long a name"),
    ],
)
def test_odd_names(server: LocalServer, path: str, status: int, capfd: pytest.CaptureFixture[str]) -> None:
    """They get an answer, and no header is split."""
    answer = send(server, "GET", path)

    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert status != 500 or answer.text == "Internal Server Error"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(0, (401, {"detail": "Token expired"}), id="over at once"),
        pytest.param(0.5, (200, "jane"), id="half a minute"),
    ],
)
def test_tokens_of_a_login_expire(puppet: Puppet, minutes: float, expected: tuple[int, Any]) -> None:
    """After `access_token_minutes`; the server's own token does not."""
    with LocalServer(puppet, debug_login=True, settings=Settings(access_token_minutes=minutes)) as server:
        pair = sign_in(server, "jane")

        assert check(server, pair["access_token"]["access_token"]) == expected
        assert check(server, pair["refresh_token"]["access_token"]) == (400, {"detail": "Invalid token type"})
        assert check(server, server.token) == (200, "local")


@pytest.mark.parametrize("minutes", [-1, float("nan")])
def test_an_impossible_time_is_refused(minutes: float) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match="access_token_minutes must be a time"):
        Settings(access_token_minutes=minutes)


def test_tokens_of_another_server_or_surface_are_refused(server: LocalServer) -> None:
    """A token, a session and another server's token are not taken for one another."""
    (session,) = server.cookies.values()
    forged = f"{server.token[:-1]}{'0' if server.token[-1] != '0' else '1'}"
    for token in (LocalServer("lorem").token, session, forged, server.token.partition(".")[0]):
        assert check(server, token) == (401, {"detail": "Invalid token"})
    stranger = requests.get(
        f"{server.url}/api/chat", cookies={"next-auth.session-token": server.token}, timeout=PATIENCE
    )

    assert stranger.status_code == 403


def test_a_session_that_is_over_is_refused(server: LocalServer) -> None:
    """As if there were none."""
    over = server._accounts.tokens.make("local", "session", 0)
    answer = requests.get(f"{server.url}/api/chat", cookies={"next-auth.session-token": over}, timeout=PATIENCE)

    assert (answer.status_code, answer.content) == (403, b"")


def test_a_refresh_is_always_refused(server: LocalServer) -> None:
    """With a fresh token too, as on the real server; without the header it is a 500."""
    token = sign_in(server, "jane")["refresh_token"]["access_token"]
    good = send(server, "GET", "/auth/refresh", Refresh=token)
    missing = send(server, "GET", "/auth/refresh")

    assert (good.status_code, good.json()) == (401, {"detail": "Invalid token"})
    assert (missing.status_code, missing.text) == (500, "Internal Server Error")


def test_a_trusted_client_acts_for_anybody(server: LocalServer) -> None:
    """For a user who does not exist until they sign in, and for the one who is there from the start."""
    header = trusted_client(server)
    before = requests.post(f"{server.url}/chats", json={}, headers={"TrustedClient": header}, timeout=PATIENCE)
    users = [send(server, "POST", "/auth/trusted", TrustedClient=header).json() for _ in range(2)]
    after = requests.post(f"{server.url}/chats", json={}, headers={"TrustedClient": header}, timeout=PATIENCE)
    local = send(server, "GET", "/auth/check", TrustedClient=trusted_client(server, user_id="local"))

    assert (before.status_code, before.json()) == (404, {"detail": "User not found"})
    assert after.status_code == 200
    assert local.json() == "local"
    assert users[0] == users[1]
    assert users[0] == {
        "provider": "website",
        "display_name": "Jane",
        "id": "jane",
        "deleted": False,
        "provider_account_id": "account of jane",
    }


def test_a_trusted_client_wins_over_a_bearer(server: LocalServer) -> None:
    """Good or bad."""
    header = trusted_client(server)
    good = send(server, "GET", "/auth/check", TrustedClient=header, Authorization=f"Bearer {server.token}")
    bad = send(server, "GET", "/auth/check", TrustedClient="x", Authorization=f"Bearer {server.token}")

    assert (good.status_code, good.json()) == (200, "jane")
    assert (bad.status_code, bad.text) == (500, "Internal Server Error")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"api_key": "wrong"}, 401, id="wrong key"),
        pytest.param({"api_key": "wrong", "user_id": ""}, 401, id="wrong key for nobody"),
        pytest.param({"api_key": "schlüssel"}, 401, id="key that is not ASCII"),
        pytest.param({"user_id": ""}, 500, id="nobody"),
        pytest.param({"user_id": "\0"}, 500, id="NUL"),
        pytest.param({"username": None}, 500, id="no name"),
        pytest.param({"username": "x" * 257}, 500, id="too long a name"),
        pytest.param({"provider_account_id": "local"}, 500, id="an account of somebody else"),
        pytest.param({"user_id": 5}, 200, id="a number"),
    ],
)
def test_odd_trusted_clients(server: LocalServer, changes: dict[str, Any], status: int) -> None:
    """The key is looked at before anything else that can be read."""
    answer = send(server, "POST", "/auth/trusted", TrustedClient=trusted_client(server, **changes))

    assert answer.status_code == status
    assert status != 401 or answer.json() == {"detail": "Unauthorized client"}
    assert status != 500 or answer.text == "Internal Server Error"


def test_what_is_foreign_does_not_exist(user: User, puppet: Puppet) -> None:
    """Another user's chats and messages can neither be read, changed, answered nor listed."""
    other = User(user.server, user.surface, "other")
    chat_id, answer_id = user.ask("hi")
    asked = user.message(chat_id, answer_id).json()["parent_id"]
    statuses = [
        other.chat(chat_id).status_code,
        other.update(chat_id, title="mine").status_code,
        other.post_prompt(chat_id, content="x").status_code,
        other.post_answer(chat_id, parent_id=asked).status_code,
        other.message(chat_id, answer_id).status_code,
        other.send("GET", other.events_path(chat_id, answer_id)).status_code,
        other.delete(chat_id).status_code,
    ]
    seen = other.send("GET", "/api/chat" if user.surface == "website" else "/chats").json()["chats"]

    assert statuses == (
        [404, 500, 500, 400, 500, 500, 500] if user.surface == "website" else [404, 500, 500, 400, 500, 500, 404]
    )
    assert seen == []
    assert user.chat(chat_id).json()["title"] == "hi"
    assert len(user.chat(chat_id).json()["messages"]) == 2


def test_only_ones_own_waiting_answers_are_cancelled(user: User, puppet: Puppet) -> None:
    """Another user's question leaves them alone; one's own cancels them, even when it fails."""
    other = User(user.server, user.surface, "other")
    busy = user.ask("busy")
    assert puppet.play("busy").started.wait(PATIENCE)
    waiting = user.ask("waiting")
    other.ask("other")
    before = user.message(*waiting).json()["state"]
    failed = user.post_answer(busy[0], parent_id="nothing")

    assert before == "pending"
    assert failed.status_code == 500
    assert user.message(*waiting).json()["state"] == "cancelled"


def test_the_two_surfaces_share_the_user(server: LocalServer) -> None:
    """A chat made on one is seen on the other."""
    chat_id = User(server, "inference").create()

    assert User(server, "website").chat(chat_id).json()["id"] == chat_id


def test_a_deleted_account(server: LocalServer) -> None:
    """The name is forgotten; chats stay, and so does the sign-in."""
    user = User(server, "inference", "jane")
    chat_id = user.create()
    statuses = [user.send("DELETE", "/account/").status_code for _ in range(2)]
    left = send(server, "POST", "/auth/trusted", TrustedClient=trusted_client(server)).json()

    assert statuses == [200, 200]
    assert left == {
        "provider": "debug",
        "display_name": "Deleted User",
        "id": "jane",
        "deleted": True,
        "provider_account_id": "deleted_jane",
    }
    assert user.chat(chat_id).status_code == 200
    assert user.create()
