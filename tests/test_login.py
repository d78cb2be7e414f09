"""Logging in and out, and what a client takes from what was kept."""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.cookies import RequestsCookieJar

import oa_client
from oa_client import (
    AuthError,
    Client,
    ConfigurationError,
    NotFoundError,
    ProtocolError,
    TrustedClient,
    User,
)
from oa_client._accounts.credentials import RENEWAL_AGE, Login
from oa_client._accounts.store import LoginFile
from oa_client._accounts.target import Target, find_target, origin_name
from oa_client._wire.inference import Inference
from oa_client._wire.website import Website
from oa_client.local import LocalServer, Settings
from tests.accounts import SESSION, AccountScript, Face, call, token_pair
from tests.scripted import (
    Connection,
    EventWriter,
    Request,
    Surface,
    empty_response,
    in_turn,
    json_response,
    reply,
    response,
)

NAME, SECURE = "next-auth.session-token", "__Secure-next-auth.session-token"
SECRET = "marker-of-a-secret"
TRUSTED = TrustedClient(SECRET, "discord", "discord-17", "17", "Ada")
END = 4102444800  # of SESSION


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


@pytest.fixture(params=["Client", "AsyncClient"])
def face(request: pytest.FixtureRequest) -> Face:
    """Each kind of client."""
    chosen: Face = request.param
    return chosen


def kept(url: str) -> Login | None:
    """Return what is kept for an address."""
    return LoginFile(os.environ).read(origin_name(url))


def keep(url: str, login: Login) -> None:
    """Keep a login without asking a server."""
    LoginFile(os.environ).write(origin_name(url), login)


# Logging in.


def test_login_with_a_token(inference: AccountScript, face: Face) -> None:
    """A token is checked, and clients of that address are then signed with it."""
    assert User("ada") == oa_client.login(inference.url, token="t")
    assert User("ada") == call(face, "whoami", f"{inference.url}/")

    assert ["GET /auth/check"] * 2 == inference.paths()
    assert ["Bearer t"] * 2 == inference.sent("Authorization")


def test_login_of_a_trusted_client(inference: AccountScript) -> None:
    """The user is made, the credential is checked and kept, and the key is the same later."""
    inference.routes["POST /auth/trusted"] = reply(json_response({"id": "discord-17"}))

    assert User("ada") == oa_client.login(inference.url, token=TRUSTED)
    with Client(inference.url) as client:
        client.whoami()

    assert ["POST /auth/trusted", "GET /auth/check", "GET /auth/check"] == inference.paths()
    assert 1 == len(set(inference.sent("TrustedClient")))
    assert None not in inference.sent("TrustedClient")


def jar() -> RequestsCookieJar:
    """Return a jar with a session cookie."""
    made = RequestsCookieJar()
    made.set(NAME, "old", domain="127.0.0.1")
    return made


@pytest.mark.parametrize(
    "cookies", [{NAME: "old"}, f"{NAME}=old", "old", jar()], ids=["mapping", "header", "bare token", "jar"]
)
def test_login_with_cookies(website: AccountScript, face: Face, cookies: Any) -> None:
    """The session is renewed, so that its end is known, and kept; it is not renewed by using it."""
    website.routes["GET /api/auth/session"] = in_turn(
        website.session(SESSION, f"{NAME}=new; Path=/; HttpOnly"), website.session(SESSION, f"{NAME}=newer; Path=/")
    )

    assert "Ada" == oa_client.login(website.url, cookies=cookies).name
    assert Login(cookies=f"{NAME}=new", expires_at=END) == kept(website.url)
    assert "Ada" == call(face, "whoami", website.url).name
    assert f"{NAME}=new" == website.sent("Cookie")[1]
    assert Login(cookies=f"{NAME}=new", expires_at=END) == kept(website.url)


def test_login_with_a_file(website: AccountScript, tmp_path: Path) -> None:
    """A file of cookies will do, and only what goes to the address is kept."""
    path = tmp_path / "cookies.txt"
    rows = [("127.0.0.1", NAME, "mine"), ("other.example", NAME, SECRET)]
    path.write_text("\n".join(f"{host}\tFALSE\t/\tFALSE\t0\t{key}\t{value}" for host, key, value in rows))
    oa_client.login(website.url, cookies=path)

    assert Login(cookies=f"{NAME}=mine") == kept(website.url)


def test_login_with_a_name(inference: AccountScript) -> None:
    """A name is let in by the callback itself, whatever redirects the server would make; the token is checked."""
    started = time.time()

    assert User("ada") == oa_client.login(inference.url, username="Ada L\xf6v")
    login = kept(inference.url)
    assert login is not None
    assert ("secret-of-login-1", "Ada L\xf6v") == (login.token, login.username)
    assert started <= login.obtained_at <= time.time()
    assert ["/auth/callback/debug?code=Ada+L%C3%B6v", "/auth/check"] == [item.target for item in inference.requests]
    assert [None, "Bearer secret-of-login-1"] == inference.sent("Authorization")


@pytest.mark.parametrize("arguments", [{}, {"token": "t", "cookies": "c"}, {"cookies": "c", "username": "u"}])
def test_one_credential(website: AccountScript, arguments: dict[str, Any]) -> None:
    """None or two credentials are an error, and nothing is sent."""
    with pytest.raises(ConfigurationError, match="exactly one of token=, cookies= and username="):
        oa_client.login(website.url, **arguments)

    assert [] == website.requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"token": f"Bearer {SECRET}"}, "^token ", id="token"),
        pytest.param({"cookies": f"{SECRET}=;"}, "^cookies ", id="cookies"),
        pytest.param({"username": ""}, "^username ", id="no name"),
        pytest.param({"username": "a\0"}, "^username ", id="name with a NUL"),
    ],
)
def test_bad_credential(website: AccountScript, arguments: dict[str, Any], words: str) -> None:
    """What cannot be sent is refused with the argument's name, and nothing is sent or kept."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        oa_client.login(website.url, **arguments)

    assert SECRET not in str(caught.value)
    assert ([], None) == (website.requests, kept(website.url))


@pytest.mark.parametrize("url", ["", None, "oa.example", "http://me:secret@h"])
def test_bad_address(url: Any) -> None:
    """What is no address is refused, in and out."""
    for use in (lambda: oa_client.login(url, token="t"), lambda: oa_client.logout(url)):
        with pytest.raises(ConfigurationError, match=r"^base_url "):
            use()


def test_refused_credential_is_not_kept(website: AccountScript, inference: AccountScript) -> None:
    """A credential that the server does not take is an AuthError, and what was kept before stays."""
    website.routes["GET /api/auth/session"] = website.session({})
    inference.routes["GET /auth/check"] = reply(json_response({"detail": "Token expired"}, 401))
    keep(inference.url, Login(token="before"))
    with pytest.raises(AuthError, match="nobody is signed in"):
        oa_client.login(website.url, cookies="x")
    with pytest.raises(AuthError) as caught:
        oa_client.login(inference.url, token=SECRET)

    assert caught.value.has_expired
    assert SECRET not in repr(vars(caught.value.request))
    assert (None, Login(token="before")) == (kept(website.url), kept(inference.url))


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        pytest.param(json_response(["discord", "github"]), "GET /auth/providers names: discord, github$", id="others"),
        pytest.param(json_response([]), "GET /auth/providers names: none$", id="none"),
        pytest.param(response(500, b"Internal Server Error"), "pass token= in place of username=$", id="not to be had"),
        pytest.param(json_response({}), "pass token= in place of username=$", id="something else"),
    ],
)
def test_server_without_debug_login(inference: AccountScript, providers: bytes, words: str) -> None:
    """Where a name is not enough, the error says so, and which ways in the server names."""
    inference.routes["GET /auth/callback/debug"] = reply(json_response({"detail": "Debug auth is not allowed"}, 403))
    inference.routes["GET /auth/providers"] = reply(providers)
    with pytest.raises(AuthError, match=words) as caught:
        oa_client.login(inference.url, username="ada")

    error = caught.value
    assert (403, "Debug auth is not allowed", "/auth/callback/debug") == (error.status, error.detail, error.path)
    assert not error.has_expired
    assert kept(inference.url) is None


def test_website_has_no_debug_login(website: AccountScript) -> None:
    """A name that is given to a website is an error that asks whether the address is right."""
    website.routes["GET /auth/callback/debug"] = reply(empty_response(404, {"connection": "close"}))
    with pytest.raises(NotFoundError, match="base_url"):
        oa_client.login(website.url, username="ada")


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"access_token": "t"}, {"access_token": {}}, token_pair(""), token_pair("a b")]
)
def test_login_without_a_token(inference: AccountScript, answer: Any) -> None:
    """An answer without a token that can be sent is no inference server's."""
    inference.routes["GET /auth/callback/debug"] = reply(json_response(answer))
    with pytest.raises(ProtocolError, match="no access token"):
        oa_client.login(inference.url, username="ada")


def test_login_elsewhere_is_exposed() -> None:
    """A credential that goes to another machine unencrypted is warned of, and so is a token that comes so."""
    for arguments in ({"token": "t"}, {"username": "ada"}):
        with (
            pytest.warns(UserWarning, match="unencrypted") as warned,
            pytest.raises(oa_client.TransportError),
        ):
            oa_client.login("http://oa.invalid", **arguments)
        assert __file__ == warned[0].filename


def test_logout(inference: AccountScript) -> None:
    """Logging out forgets the login of the origin, asks no server, and says whether there was one."""
    oa_client.login(inference.url, token="t")
    keep("http://127.0.0.1:9", Login(token="other"))

    assert [True, False] == [oa_client.logout(f"{inference.url}/path"), oa_client.logout(inference.url)]
    assert 1 == len(inference.requests)
    assert Login(token="other") == kept("http://127.0.0.1:9")


# What a client takes.


def target(base_url: str | None = None, *, login: Login | None = None, **given: str) -> Target | None:
    """Find a target with a login that is kept for https://oa.example, and variables."""
    arguments = {name: given.pop(name, None) for name in ("cookies", "token")}
    environ = {**os.environ, **given}
    keep("https://oa.example", login or Login(token="kept"))
    return find_target(base_url, arguments["cookies"], arguments["token"], environ, Website(), LoginFile(os.environ))


@pytest.mark.parametrize(
    ("given", "header"),
    [
        pytest.param({"base_url": "https://oa.example"}, "Bearer kept", id="address"),
        pytest.param({"base_url": "HTTPS://OA.example:443/path/"}, "Bearer kept", id="address of the origin"),
        pytest.param({"OA_BASE_URL": "https://oa.example"}, "Bearer kept", id="variable address"),
        pytest.param({"base_url": "https://oa.example", "token": "t"}, "Bearer t", id="argument beats it"),
        pytest.param({"OA_BASE_URL": "https://oa.example", "OA_TOKEN": "t"}, "Bearer t", id="variable beats it"),
        pytest.param(
            {"base_url": "https://oa.example", "OA_BASE_URL": "https://other.example", "OA_TOKEN": "t"},
            "Bearer kept",
            id="variable of another origin",
        ),
        pytest.param({"base_url": "http://oa.example"}, None, id="scheme"),
        pytest.param({"base_url": "https://oa.example:444"}, None, id="port"),
        pytest.param({"base_url": "https://www.oa.example"}, None, id="host"),
    ],
)
def test_what_beats_what(given: dict[str, Any], header: str | None) -> None:
    """Arguments beat the environment, which beats what is kept, and that goes to its own origin alone."""
    found = target(**given)

    assert found is not None
    assert header == found.credentials.headers.get("Authorization")


def test_cookies_beat_what_is_kept() -> None:
    """A kept token does not go along with cookies that are given."""
    found = target("https://oa.example", cookies="a=b")

    assert found is not None
    assert ({"Cookie": "a=b"}, Website) == (found.credentials.headers, type(found.surface))


@pytest.mark.parametrize(
    ("login", "surface"),
    [
        pytest.param(Login(token="t"), Inference, id="token"),
        pytest.param(Login(token=TRUSTED), Inference, id="trusted client"),
        pytest.param(Login(cookies="a=b"), Website, id="cookies"),
    ],
)
def test_surface_of_what_is_kept(login: Login, surface: type) -> None:
    """A kept login says which kind of server it is for."""
    found = target("https://oa.example", login=login)

    assert found is not None
    assert (surface, login.headers) == (type(found.surface), found.credentials.headers)


def test_store_gives_no_address() -> None:
    """Without an address the local server is meant, whatever is kept."""
    assert target() is None


def test_origin_names() -> None:
    """The name of an origin has its port, and the brackets of an IPv6 address."""
    assert "https://oa.example:443" == origin_name("HTTPS://OA.example/path")
    assert "http://[::1]:8000" == origin_name("http://[::1]:8000")


@pytest.mark.skipif(os.name != "posix", reason="the system has no such modes")
def test_store_is_read_only_where_needed(inference: AccountScript) -> None:
    """A file that cannot be used is an error of a client that needs it, and of no other."""
    keep(inference.url, Login(token="t"))
    file = Path(os.environ["XDG_CONFIG_HOME"], "oa-client", "credentials.json")
    file.chmod(0o644)

    with Client(inference.url, token="t") as client:
        client.whoami()
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Client(inference.url)


def test_pickled_client_takes_what_is_kept(inference: AccountScript) -> None:
    """A client that has its login from the store is whole again after pickling."""
    oa_client.login(inference.url, token="t")
    with Client(inference.url) as client:
        copy: Client = pickle.loads(pickle.dumps(client))  # noqa: S301 - our own bytes

    assert b"Bearer" not in pickle.dumps(copy)
    with copy:
        assert User("ada") == copy.whoami()


def test_kept_login_has_worked(website: AccountScript) -> None:
    """A login that was kept and is refused has expired, as it was good when it was kept."""
    oa_client.login(website.url, cookies="x")
    website.routes["GET /api/auth/session"] = reply(empty_response(403, {"connection": "close"}))
    with Client(website.url) as client, pytest.raises(AuthError) as caught:
        client.whoami()

    assert caught.value.has_expired


def test_headers_and_what_is_kept(inference: AccountScript) -> None:
    """A header of the user's that a kept login sets too is an error that names both."""
    keep(inference.url, Login(token="t"))
    with pytest.raises(ConfigurationError, match=r"'Authorization'.*oa_client\.login\(\)"):
        Client(inference.url, headers={"Authorization": "Basic x"})


# Expiry.


def test_expired_session(website: AccountScript, face: Face) -> None:
    """A kept session that is over is refused by the server, and the error says that it was good once."""
    keep(website.url, Login(cookies=f"{NAME}={SECRET}", expires_at=1_000_000_000))
    website.routes["GET /api/auth/session"] = reply(json_response({}))
    for method in ("whoami", "refresh"):
        with pytest.raises(AuthError, match=r"has expired.*oa_client\.login\(\)") as caught:
            call(face, method, website.url)
        assert caught.value.has_expired
        assert SECRET not in str(caught.value)


def test_clock_that_is_fast(website: AccountScript, caplog: pytest.LogCaptureFixture) -> None:
    """A kept session that is over by this machine's clock alone works, and can be renewed."""
    caplog.set_level(logging.WARNING)
    keep(website.url, Login(cookies=f"{NAME}={SECRET}", expires_at=1_000_000_000))
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}=new")
    with Client(website.url) as client:
        client.ask("Hi")
        client.refresh()

    assert Login(cookies=f"{NAME}=new", expires_at=END) == kept(website.url)
    assert 1 == len(caplog.records)
    assert "has expired" in caplog.text
    assert SECRET not in caplog.text


def test_session_that_expires_soon(website: AccountScript, caplog: pytest.LogCaptureFixture) -> None:
    """A kept session that is about to end is used, and a log line says so once."""
    caplog.set_level(logging.WARNING)
    keep(website.url, Login(cookies=f"{NAME}={SECRET}", expires_at=time.time() + 100))
    with Client(website.url) as client:
        client.whoami()
        client.ask("Hi")

    assert 1 == len(caplog.records)
    assert "expires soon" in caplog.text
    assert SECRET not in caplog.text


def test_refresh_of_what_is_kept(website: AccountScript, face: Face) -> None:
    """A refreshed session is kept in place of the one before, with its new end."""
    keep(website.url, Login(cookies=f"{NAME}=old", expires_at=time.time() + 1000))
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}.0=x", f"{NAME}.1=y")
    call(face, "refresh", website.url)

    assert Login(cookies=f"{NAME}.0=x; {NAME}.1=y", expires_at=END) == kept(website.url)


def test_refresh_after_a_logout(website: AccountScript) -> None:
    """A client that goes on after a logout does not undo it."""
    keep(website.url, Login(cookies=f"{NAME}=old"))
    website.routes["GET /api/auth/session"] = website.session(SESSION, f"{NAME}=new")
    with Client(website.url) as client:
        oa_client.logout(website.url)
        client.refresh()
        client.whoami()

    assert kept(website.url) is None
    assert [f"{NAME}=old", f"{NAME}=new"] == website.sent("Cookie")


# A debug login is made again.


def test_old_login_is_made_again(inference: AccountScript, face: Face) -> None:
    """A kept debug login whose token is about to expire is made again by the first call, and kept."""
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time() - RENEWAL_AGE - 1))
    call(face, "whoami", inference.url, times=2)

    assert ["GET /auth/callback/debug", "GET /auth/check", "GET /auth/check"] == inference.paths()
    assert ["Bearer old", "Bearer secret-of-login-1", "Bearer secret-of-login-1"] == inference.sent("Authorization")
    login = kept(inference.url)
    assert login is not None
    assert ("secret-of-login-1", "ada") == (login.token, login.username)
    assert login.obtained_at > time.time() - 60


def test_expired_login_is_made_again(inference: AccountScript, face: Face) -> None:
    """A kept debug login whose token has expired before its time is made again, and the call is sent again."""
    inference.good_tokens = set()
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    call(face, "whoami", inference.url)

    assert ["GET /auth/check", "GET /auth/callback/debug", "GET /auth/check"] == inference.paths()


def test_stream_with_an_expired_login(inference: AccountScript) -> None:
    """A question is asked once, though the token had expired."""
    inference.good_tokens = set()
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    with Client(inference.url) as client:
        assert "Hello world" == str(client.ask("Hi"))

    assert ["create", "prompter", "assistant", "events", "delete"] == inference.calls
    assert 1 == inference.logins


def test_token_that_expires_in_mid_stream(inference: AccountScript) -> None:
    """A stream is read to its end with the old token, and a new one is fetched after it, to delete the chat."""
    is_asked, seen = threading.Event(), []

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        inference.good_tokens = set()
        seen.append(inference.logins)
        stream.token(" world")
        stream.message()
        is_asked.set()

    inference.events = events
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    with Client(inference.url) as client:
        assert "Hello world" == "".join(client.stream("Hi"))

    assert ([0], 1) == (seen, inference.logins)
    assert [] == inference.visible_chats
    assert ["c1"] == inference.deleted_chats


def test_call_beside_a_stream_does_not_log_in(inference: AccountScript) -> None:
    """While events are read, a look at the message that is refused does not end in a login."""
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    inference.events = lambda stream: stream.connection.wait_until_left()
    with Client(inference.url) as client:
        exchange = client._engine.exchange(keep=True)
        body = exchange.send(exchange.surface.open_events("c1", "m1"))
        inference.good_tokens = set()
        with pytest.raises(AuthError):
            exchange.send_late(exchange.surface.get_message("c1", "m1"))
        logins = inference.logins
        body.close()
        with pytest.raises(oa_client.APIError, match="answered 500"):
            exchange.send_late(exchange.surface.get_message("c1", "m1"))

    assert (0, 1) == (logins, inference.logins)


def test_many_threads_log_in_once(inference: AccountScript) -> None:
    """Threads that find the token expired at the same time make one login."""
    inference.good_tokens = set()
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    results: list[Any] = []
    with Client(inference.url) as client:
        threads = [threading.Thread(target=lambda: results.append(client.whoami())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert ([User("ada")] * 8, 1) == (results, inference.logins)


def test_failing_login_is_the_error(inference: AccountScript) -> None:
    """If a login cannot be made again, its error is what the caller sees."""
    inference.good_tokens = set()
    inference.routes["GET /auth/callback/debug"] = reply(json_response({"detail": "Debug auth is not allowed"}, 403))
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    with Client(inference.url) as client, pytest.raises(AuthError, match="Debug auth is not allowed") as caught:
        client.ask("Hi")

    assert "/auth/callback/debug" == caught.value.path


def test_closing_while_it_logs_in(inference: AccountScript) -> None:
    """close() ends a call that is waiting for a login."""
    is_in = threading.Event()

    def hang(connection: Connection, request: Request) -> None:
        is_in.set()
        connection.wait_until_left()

    inference.routes["GET /auth/callback/debug"] = hang
    keep(inference.url, Login(token="old", username="ada", obtained_at=0.0))
    errors: list[Exception] = []

    def use() -> None:
        try:
            client.whoami()
        except oa_client.OAError as error:
            errors.append(error)

    client = Client(inference.url)
    thread = threading.Thread(target=use)
    thread.start()
    assert is_in.wait(20)
    client.close()
    thread.join(20)

    assert ["the client was closed meanwhile"] == [str(error) for error in errors]


def test_other_tokens_are_not_renewed(inference: AccountScript) -> None:
    """A kept token that was given is not replaced by anything: the server's word that it is too old is the error."""
    inference.good_tokens = set()
    keep(inference.url, Login(token="old"))
    with Client(inference.url) as client, pytest.raises(AuthError, match="the token has expired"):
        client.whoami()

    assert 0 == inference.logins


def test_clean_up_with_an_expired_token(inference: AccountScript) -> None:
    """A chat that was left is deleted though the token has expired meanwhile."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    inference.events = events
    inference.message_state = "complete"
    keep(inference.url, Login(token="old", username="ada", obtained_at=time.time()))
    with Client(inference.url) as client:
        stream = client.stream("Hi")
        next(stream)
        inference.good_tokens = set()
        stream.close()
        assert () == client.close(20)

    assert ["c1"] == inference.deleted_chats


def test_no_secret_of_a_kept_login_shows(inference: AccountScript, caplog: pytest.LogCaptureFixture) -> None:
    """Neither old nor new token of a login that was made again is in a log, an error, a repr or a URL."""
    caplog.set_level(logging.DEBUG)
    inference.good_tokens = set()
    keep(inference.url, Login(token="secret-that-was-kept", username="ada", obtained_at=time.time()))
    inference.on_create = reply(json_response({"detail": "no"}, 418))
    with Client(inference.url) as client, pytest.raises(oa_client.APIError) as caught:
        client.ask("Hi")

    request = caught.value.request
    assert request is not None
    shown = [caplog.text, str(caught.value), repr(vars(request)), repr(client), repr(client._engine.target)]
    shown += [item.target for item in inference.requests]
    assert {"Bearer secret-that-was-kept", "Bearer secret-of-login-1"} == set(inference.sent("Authorization"))
    assert [] == [text for text in shown if "secret-" in text]


def test_what_is_kept_is_plain(inference: AccountScript) -> None:
    """The file is JSON by origin, with what is known and nothing else."""
    oa_client.login(inference.url, token="t")
    file = Path(os.environ["XDG_CONFIG_HOME"], "oa-client", "credentials.json")

    assert {inference.url: {"token": "t", "url": inference.url}} == json.loads(file.read_text())


@pytest.mark.parametrize("surface", ["inference", "website"])
def test_whole_life(surface: Surface) -> None:
    """Log in, ask, log out: in between no credential is named."""
    with AccountScript(surface) as server:
        oa_client.login(server.url, **server.credentials)
        with Client(server.url) as client:
            assert "Hello world" == str(client.ask("Hi"))
        assert oa_client.logout(server.url)
        with Client(server.url) as client:
            assert client._engine.target is not None
            assert not client._engine.target.credentials


def test_login_in_a_session_of_the_users(inference: AccountScript, face: Face) -> None:
    """A session of the user's is used for logins as for all else."""
    keep(inference.url, Login(token="old", username="ada", obtained_at=0.0))
    with requests.Session() as session:
        session.headers["X-Mine"] = "yes"
        assert User("ada") == call(face, "whoami", inference.url, session=session)

    assert ["yes", "yes"] == inference.sent("X-Mine")
    assert 1 == inference.logins


@pytest.mark.parametrize("kind", ["token", "cookies", "username", "trusted client"])
def test_local_server(kind: str, face: Face) -> None:
    """The local server, which shares nothing with the client, takes each kind of login."""
    with LocalServer(backend="lorem", debug_login=True) as server:
        given: dict[str, dict[str, Any]] = {
            "token": {"token": server.token},
            "cookies": {"cookies": server.cookies},
            "username": {"username": "ada"},
            "trusted client": {"token": TrustedClient(server.trusted_key, "bot", "bot-1", "1", "Ada")},
        }
        user = oa_client.login(server.url, **given[kind])
        again = call(face, "whoami", server.url)
        with Client(server.url) as client:
            answer = client.ask("Hi", sampling={"max_new_tokens": 2})
        call(face, "delete_account", server.url)

        assert (user.id, user.name) == (again.id, again.name)
        assert {"username": "ada", "trusted client": "bot-1"}.get(kind, "local") == (user.id or user.name)
        assert "Lorem ipsum" == str(answer)


def test_token_of_the_local_server_expires() -> None:
    """A server whose tokens are too old at once does not keep the client busy for ever."""
    with (
        LocalServer(backend="lorem", debug_login=True, settings=Settings(access_token_minutes=0)) as server,
        pytest.raises(AuthError, match="Token expired") as caught,
    ):
        oa_client.login(server.url, username="ada")

    assert caught.value.has_expired
