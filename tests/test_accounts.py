"""Who is signed in, for how long, and what is said when that is over."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import requests

from oa_client import (
    APIError,
    AsyncClient,
    AuthError,
    Client,
    ConfigurationError,
    NotFoundError,
    OAError,
    ProtocolError,
    RequestError,
    TrustedClient,
    UnsupportedError,
    User,
)
from tests.accounts import SESSION, AccountScript, Face, call
from tests.scripted import Surface, empty_response, in_turn, json_response, reply, response

NAME, SECURE = "next-auth.session-token", "__Secure-next-auth.session-token"
SECRET = "marker-of-a-secret"
TRUSTED = TrustedClient(SECRET, "discord", "discord-17", "17", "Ada \N{SNOWMAN}")
UNSIGNED = reply(empty_response(403, {"connection": "close"}))


@pytest.fixture(params=["Client", "AsyncClient"])
def face(request: pytest.FixtureRequest) -> Face:
    """Each kind of client."""
    chosen: Face = request.param
    return chosen


@pytest.fixture
def script(surface: Surface) -> Iterator[AccountScript]:
    """A server of each kind, with accounts."""
    with AccountScript(surface) as server:
        yield server


@pytest.fixture
def website() -> Iterator[AccountScript]:
    """A website with accounts."""
    with AccountScript("website") as server:
        yield server


@pytest.fixture
def inference() -> Iterator[AccountScript]:
    """An inference server with accounts."""
    with AccountScript("inference") as server:
        yield server


def refused(detail: str, status: int = 401) -> Any:
    """Return a handler that refuses as an inference server does."""
    return reply(json_response({"detail": detail}, status))


# Who is signed in.


def test_whoami_of_an_inference_server(inference: AccountScript, face: Face) -> None:
    """The inference server tells the id, and nothing else."""
    assert User("ada") == call(face, "whoami", inference.url, token="t")
    assert ["GET /auth/check"] == inference.paths()


def test_whoami_of_a_website(website: AccountScript, face: Face) -> None:
    """The website tells name, role and the end of the session, and the call does not renew what the client sends."""
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}=new; Path=/; HttpOnly")
    expected = User(name="Ada", role="general", expires_at=datetime(2100, 1, 1, tzinfo=timezone.utc))

    assert expected == call(face, "whoami", website.url, cookies={NAME: "old"}, times=2)
    assert [f"{NAME}=old"] * 2 == website.sent("Cookie")


def test_nobody_is_signed_in(website: AccountScript, face: Face) -> None:
    """The website's empty session, whose status is a success, is an AuthError that says so."""
    website.routes["GET /api/auth/session"] = website.session({})
    for method in ("whoami", "refresh"):
        with pytest.raises(AuthError, match="answered 200: nobody is signed in: ") as caught:
            call(face, method, website.url, cookies={NAME: "old"})

        assert (200, "", False) == (caught.value.status, caught.value.detail, caught.value.has_expired)
        assert "have not worked before" in str(caught.value)


def test_whoami_without_credentials(website: AccountScript) -> None:
    """Who forgot the credentials is told so."""
    website.routes["GET /api/auth/session"] = website.session({})
    with Client(website.url) as client, pytest.raises(AuthError, match="no credentials are given"):
        client.whoami()


@pytest.mark.parametrize("answer", [5, [], {"expires": "2100-01-01T00:00:00.000Z"}, None])
def test_whoami_of_something_else(script: AccountScript, answer: Any) -> None:
    """An answer that tells no user is a ProtocolError."""
    for route in ("GET /auth/check", "GET /api/auth/session"):
        script.routes[route] = reply(json_response(answer))
    with Client(script.url, **script.credentials) as client, pytest.raises(ProtocolError):
        client.whoami()


# A session is renewed.


@pytest.mark.parametrize(
    ("cookies", "set_cookies", "expected"),
    [
        pytest.param({NAME: "old"}, [f"{NAME}=new; Path=/; HttpOnly; SameSite=Lax"], f"{NAME}=new", id="one"),
        pytest.param("old", [f"{SECURE}=new; Path=/; Secure; HttpOnly"], f"{SECURE}=new", id="bare token"),
        pytest.param(
            {"a": "b", NAME: "old"},
            [f"{NAME}=; Path=/; Max-Age=0", f"{NAME}.0=x; Path=/", f"{NAME}.1=y; Path=/"],
            f"a=b; {NAME}.0=x; {NAME}.1=y",
            id="chunks for one",
        ),
        pytest.param(
            {f"{NAME}.1": "y", f"{NAME}.0": "x"},
            [f"{NAME}.0=; Max-Age=0", f"{NAME}.1=; Max-Age=0", f"{NAME}=new; Expires=Fri, 01 Jan 2100 00:00:00 GMT"],
            f"{NAME}=new",
            id="one for chunks",
        ),
        pytest.param({NAME: "old"}, [], f"{NAME}=old", id="none"),
        pytest.param({NAME: "old"}, ["next-auth.csrf-token=x"], f"{NAME}=old; next-auth.csrf-token=x", id="another"),
    ],
)
def test_refresh(website: AccountScript, face: Face, cookies: Any, set_cookies: list[str], expected: str) -> None:
    """All later calls have the cookies that the website has set, whole or in chunks, and none of the old session."""
    website.routes["GET /api/auth/session"] = in_turn(website.session(SESSION, *set_cookies), website.session(SESSION))

    assert "Ada" == call(face, "refresh", website.url, cookies=cookies, times=2).name
    assert expected == website.sent("Cookie")[1]


def test_settings_after_a_refresh(website: AccountScript) -> None:
    """A client that is made from the settings of one that was refreshed has the new session, if they have cookies."""
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}=new")
    with Client(website.url, cookies={NAME: "old"}) as client:
        before = client.settings(with_credentials=True)
        client.refresh()
        after = client.settings(with_credentials=True)

    assert {NAME: "old"} == before["cookies"]
    assert f"{NAME}=new" == after["cookies"]
    assert "cookies" not in client.settings()


def test_refresh_with_a_session_of_the_users(website: AccountScript) -> None:
    """In a session of the user's the renewed cookie goes once, not a second time out of its jar."""
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}=new; Path=/", "lb=1; Path=/")
    with requests.Session() as session, Client(website.url, cookies={NAME: "old"}, session=session) as client:
        client.refresh()
        client.whoami()

    assert [f"{NAME}=old", f"{NAME}=new; lb=1"] == website.sent("Cookie")


def test_renewed_secrets_show_nowhere(website: AccountScript, caplog: pytest.LogCaptureFixture) -> None:
    """After a renewal neither the new session nor the old one is in an error, a request, a log or a pickle."""
    caplog.set_level(logging.DEBUG)
    both = f"{SECRET}-old {SECRET}-new".encode()
    website.routes["GET /api/auth/session"] = in_turn(
        website.session(SESSION, f"{NAME}={SECRET}-new"), reply(response(500, both, {"connection": "close"}))
    )
    with Client(website.url, cookies={NAME: f"{SECRET}-old"}, max_retries=0) as client:
        client.refresh()
        with pytest.raises(APIError) as caught:
            client.whoami()
        shown = [repr(client), repr(client._engine.target), repr(vars(client)), caplog.text]
        shown.append(repr(pickle.dumps(client)))
        shown.append(repr(client._engine.target.credentials) if client._engine.target else "")

    error = caught.value
    assert error.response is not None
    shown += [repr(vars(error.response.request)), str(error.response.headers)]
    assert "***" in repr(vars(error.response.request))
    # What a server says it says; but what is made of it here shows no secret.
    assert [] == [text for text in shown if SECRET in text]


def test_refresh_of_an_inference_server(inference: AccountScript, face: Face) -> None:
    """An inference server renews no token: nothing is sent, and the error names the way out."""
    with pytest.raises(UnsupportedError, match=r"refuses every refresh token.*oa_client\.login\(\)"):
        call(face, "refresh", inference.url, token="t")

    assert [] == inference.requests


# An account is deleted.


def test_delete_account(script: AccountScript, face: Face) -> None:
    """The account is deleted by one request, at the place that is no redirect."""
    place = "DELETE /account/" if script.surface == "inference" else "DELETE /api/account/delete"
    script.routes[place] = reply(empty_response(headers={"connection": "close"}))

    assert call(face, "delete_account", script.url, **script.credentials) is None
    assert [place] == script.paths()


@pytest.mark.parametrize("arguments", [{}, {"confirm": False}, {"confirm": "yes"}])
def test_account_is_not_deleted_by_mistake(script: AccountScript, arguments: dict[str, Any]) -> None:
    """Without confirm=True nothing is sent, and the error says what would be."""
    with Client(script.url, **script.credentials) as client, pytest.raises(ConfigurationError) as caught:
        client.delete_account(**arguments)

    assert script.url in str(caught.value)
    assert "your chats stay on the server" in str(caught.value)
    assert "confirm=True" in str(caught.value)
    assert [] == script.requests


@pytest.mark.anyio
async def test_account_is_not_deleted_by_mistake_in_async_code(anyio_backend: str, website: AccountScript) -> None:
    """The async client wants the same word."""
    async with AsyncClient(website.url, cookies="x") as client:
        with pytest.raises(ConfigurationError, match="confirm=True"):
            await client.delete_account()


# Expired, or never good.


def test_website_session_that_has_worked(website: AccountScript, face: Face) -> None:
    """A 403 after a success is an expired session; the text says so and what to do."""
    website.routes["GET /api/auth/session"] = in_turn(website.session(SESSION), UNSIGNED)
    with pytest.raises(AuthError) as caught:
        call(face, "whoami", website.url, cookies="x", times=2)

    assert caught.value.has_expired
    assert "worked before, so it has expired" in str(caught.value)
    assert "oa_client.login()" in str(caught.value)


def test_website_session_that_never_worked(website: AccountScript, face: Face) -> None:
    """A 403 at first is not called expired, however often it comes."""
    website.routes["GET /api/auth/session"] = UNSIGNED
    with Client(website.url, cookies="x") as client:
        errors = []
        for _ in range(2):
            with pytest.raises(AuthError) as caught:
                client.whoami()
            errors.append(caught.value)

    assert [False, False] == [error.has_expired for error in errors]
    assert all("have not worked before" in str(error) for error in errors)


def test_stream_that_has_worked(script: AccountScript) -> None:
    """An answer that was streamed shows that the credentials were good."""
    with Client(script.url, **script.credentials) as client:
        client.ask("Hi")
        script.on_create = UNSIGNED
        with pytest.raises(AuthError) as caught:
            client.ask("Hi")

    assert caught.value.has_expired


def test_success_that_shows_nothing(inference: AccountScript) -> None:
    """A call that the inference server answers to anybody says nothing of the token."""
    inference.routes["GET /auth/check"] = refused("Not authenticated", 403)
    with Client(inference.url, token="t") as client:
        client.list_models()
        with pytest.raises(AuthError) as caught:
            client.whoami()

    assert not caught.value.has_expired


def test_unsigned_success_shows_nothing(website: AccountScript) -> None:
    """What was let through without credentials makes no later refusal an expiry."""
    website.routes["GET /api/auth/session"] = in_turn(website.session(SESSION), UNSIGNED)
    with Client(website.url) as client:
        client.whoami()
        with pytest.raises(AuthError, match="no credentials are given") as caught:
            client.whoami()

    assert not caught.value.has_expired


@pytest.mark.parametrize(
    ("detail", "status", "has_worked", "kind", "has_expired", "words"),
    [
        pytest.param("Token expired", 401, False, AuthError, True, "the token has expired", id="expired"),
        pytest.param("Invalid token", 401, False, AuthError, False, "does not know the token", id="invalid"),
        pytest.param("Invalid token", 401, True, AuthError, True, "has a new secret", id="no longer valid"),
        pytest.param("Invalid token type", 400, False, RequestError, None, "a refresh token", id="refresh token"),
        pytest.param("Not authenticated", 403, False, AuthError, False, "no token reached", id="no token"),
        pytest.param("Unauthorized client", 401, False, AuthError, False, "api_key", id="unknown program"),
        pytest.param("User not found", 404, False, NotFoundError, None, "login() makes one", id="unknown user"),
        pytest.param("Something else", 401, False, AuthError, False, "token=", id="other words"),
    ],
)
def test_advice_of_an_inference_server(
    inference: AccountScript,
    detail: str,
    status: int,
    has_worked: bool,
    kind: type[APIError],
    has_expired: bool | None,
    words: str,
) -> None:
    """Each of its explanations has advice of its own, which names where a new token goes."""
    good, bad = inference.routes["GET /auth/check"], refused(detail, status)
    inference.routes["GET /auth/check"] = in_turn(good, bad) if has_worked else bad
    with Client(inference.url, token="t") as client:
        if has_worked:
            client.whoami()
        with pytest.raises(kind) as caught:
            client.whoami()

    error = caught.value
    assert (kind, detail, has_expired) == (type(error), error.detail, getattr(error, "has_expired", None))
    assert words in str(error).partition(detail)[2]


def test_has_expired_is_pickled() -> None:
    """The field survives pickling, and is False where nothing is known."""
    error = AuthError("words", status=403)
    assert not error.has_expired
    error.has_expired = True

    assert pickle.loads(pickle.dumps(error)).has_expired  # noqa: S301 - our own bytes


# A program that is trusted.


def test_trusted_client(inference: AccountScript, face: Face) -> None:
    """Its header is base64 of JSON with the five fields, it goes to the inference server, and there is no bearer."""
    call(face, "whoami", inference.url, token=TRUSTED)

    (request,) = inference.requests
    assert {
        "api_key": SECRET,
        "client": "discord",
        "user_id": "discord-17",
        "provider_account_id": "17",
        "username": "Ada \N{SNOWMAN}",
    } == json.loads(base64.b64decode(request.headers["TrustedClient"]))
    assert "Authorization" not in request.headers


def test_trusted_client_streams(inference: AccountScript) -> None:
    """All calls of a chat are signed so."""
    with Client(inference.url, token=TRUSTED) as client:
        assert "Hello world" == str(client.ask("Hi"))

    assert 1 == len(set(inference.sent("TrustedClient")))
    assert None not in inference.sent("TrustedClient")


def test_trusted_client_shows_no_secret(inference: AccountScript, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the header that holds it is in a repr, an error, a request, a log or a pickle."""
    caplog.set_level(logging.DEBUG)
    inference.routes["GET /auth/check"] = refused("Unauthorized client")
    with Client(inference.url, token=TRUSTED) as client, pytest.raises(AuthError) as caught:
        client.whoami()

    (header,) = set(inference.sent("TrustedClient"))
    request = caught.value.request
    assert header is not None
    assert request is not None
    assert "***" == request.headers["TrustedClient"]
    shown = [repr(TRUSTED), repr(client), repr(vars(client)), caplog.text, repr(vars(request))]
    shown += [repr(pickle.dumps(caught.value)), repr(pickle.dumps(client))]
    shown += traceback.format_exception(caught.value)
    assert [] == [text for text in shown if SECRET in text or header in text]
    assert "user_id='discord-17'" in repr(TRUSTED)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(("", "c", "u", "p", "n"), "must not be empty", id="no key"),
        pytest.param((SECRET, "c", "", "p", "n"), "must not be empty", id="no user"),
        pytest.param((SECRET, "c", 17, "p", "n"), "user_id must be a string", id="number"),
        pytest.param((SECRET.encode(), "c", "u", "p", "n"), "api_key must be a string", id="bytes"),
        pytest.param((SECRET, "c", "u", "p", "\ud83d"), "username has half", id="half a pair"),
    ],
)
def test_bad_trusted_client(values: tuple[Any, ...], words: str) -> None:
    """What the server would fail over is refused when it is made, and the key is not shown."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        TrustedClient(*values)

    assert SECRET not in str(caught.value)


def test_trusted_client_and_cookies() -> None:
    """Two credentials are an error, whatever the token is."""
    with pytest.raises(ConfigurationError, match="both"):
        Client("http://127.0.0.1:9", token=TRUSTED, cookies="x")


def test_settings_hold_the_trusted_client(inference: AccountScript) -> None:
    """A client can be made again from its settings, and a pickled one says what it lacks."""
    with Client(inference.url, token=TRUSTED) as client:
        settings = client.settings(with_credentials=True)
        copy: Client = pickle.loads(pickle.dumps(client))  # noqa: S301 - our own bytes

    assert TRUSTED == settings["token"]
    with copy, pytest.raises(OAError, match="not its token"):
        copy.whoami()
