"""The website's session, and the end of an account there."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
import requests

from oa_client.local import LocalServer
from tests.local.support import PATIENCE, User

NAME = "next-auth.session-token"


def show(server: LocalServer, cookies: dict[str, str], **headers: str) -> requests.Response:
    """Ask who is signed in."""
    return requests.get(f"{server.url}/api/auth/session", cookies=cookies, headers=headers, timeout=PATIENCE)


def test_who_is_signed_in(server: LocalServer) -> None:
    """The user as next-auth tells it, for thirty days from now."""
    answer = show(server, server.cookies)
    session = answer.json()
    left = datetime.strptime(session.pop("expires"), "%Y-%m-%dT%H:%M:%S.%fZ") - datetime.now(timezone.utc).replace(
        tzinfo=None
    )

    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["connection"] == "close"
    assert session == {
        "user": {
            "name": "local",
            "email": None,
            "image": None,
            "role": "general",
            "isNew": False,
            "tosAcceptanceDate": None,
        },
        "inference": {"isAuthenticated": False},
    }
    assert timedelta(days=29, hours=23) < left < timedelta(days=30)


def test_the_session_is_renewed(server: LocalServer) -> None:
    """A cookie with a new value comes, and the old value stays good."""
    answer = show(server, server.cookies)
    pair, *attributes = answer.headers["set-cookie"].split("; ")
    renewed = {NAME: answer.cookies[NAME]}

    assert pair == f"{NAME}={renewed[NAME]}"
    assert [attribute.partition("=")[0] for attribute in attributes] == ["Path", "Expires", "HttpOnly", "SameSite"]
    assert attributes[0] == "Path=/"
    assert attributes[3] == "SameSite=Lax"
    assert parsedate_to_datetime(attributes[1].partition("=")[2]) > datetime.now(timezone.utc) + timedelta(days=29)
    assert renewed != server.cookies
    assert [show(server, cookies).json()["user"]["name"] for cookies in (renewed, server.cookies)] == ["local"] * 2
    assert requests.get(f"{server.url}/api/chat", cookies=renewed, timeout=PATIENCE).status_code == 200


def test_nobody_is_signed_in(server: LocalServer) -> None:
    """Without a cookie, and with a bearer alone, which the other routes would take."""
    (session,) = server.cookies.values()
    for headers in ({}, {"Authorization": f"Bearer {session}"}):
        answer = show(server, {}, **headers)

        assert (answer.status_code, answer.json()) == (200, {})
        assert "set-cookie" not in answer.headers


def test_a_session_that_is_no_good_is_taken_away(server: LocalServer) -> None:
    """Each of its cookies is."""
    answer = show(server, {}, Cookie=f"{NAME}.0=gar; a=b; {NAME}.1=bage")

    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["set-cookie"] == ", ".join(
        f"{NAME}.{number}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax" for number in (0, 1)
    )


def test_only_get_shows_it(server: LocalServer) -> None:
    """Others are refused in next-auth's words."""
    answer = requests.post(f"{server.url}/api/auth/session", cookies=server.cookies, timeout=PATIENCE)

    assert answer.status_code == 400
    assert answer.text == "Error: This action with HTTP POST is not supported by NextAuth.js"


def test_a_user_without_a_chat_is_known_by_the_session_alone(server: LocalServer) -> None:
    """The first chat makes them known at the inference server; leaving before that is no error."""
    session = {NAME: server._accounts.tokens.make("jane", "session", 1)}
    name = show(server, session).json()["user"]["name"]
    left = requests.delete(f"{server.url}/api/account/delete", cookies=session, timeout=PATIENCE)
    empty = requests.get(f"{server.url}/api/chat", cookies=session, timeout=PATIENCE).json()
    created = requests.post(f"{server.url}/api/chat", cookies=session, timeout=PATIENCE)

    assert name == "jane"
    assert left.status_code == 200
    assert empty["chats"] == []
    assert created.status_code == 200
    assert User(server, "inference", "jane").chat(created.json()["id"]).status_code == 200


def test_leaving_the_website(server: LocalServer) -> None:
    """Nobody is signed in any more, but the session still opens the chats."""
    user = User(server, "website")
    chat_id = user.create()
    left = user.send("DELETE", "/api/account/delete")
    after = show(server, server.cookies)

    assert (left.status_code, left.content) == (200, b"")
    assert after.json() == {}
    assert after.headers["set-cookie"] == f"{NAME}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
    assert user.chat(chat_id).status_code == 200
    assert user.create()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_delete_leaves(server: LocalServer, method: str) -> None:
    """Other methods get an empty 400, and who is not signed in a 403 before that."""
    url = f"{server.url}/api/account/delete"
    refused = requests.request(method, url, cookies=server.cookies, timeout=PATIENCE)
    unknown = requests.request(method, url, timeout=PATIENCE)

    assert (refused.status_code, refused.content) == (400, b"")
    assert (unknown.status_code, unknown.content) == (403, b"")
    assert show(server, server.cookies).json()
