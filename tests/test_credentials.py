"""The login of a client, and when it is renewed."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from requests.cookies import RequestsCookieJar

from oa_client import AuthError, ConfigurationError, OAError, Timeout, TransportError
from oa_client._accounts.credentials import RENEWAL_AGE, WARNING_TIME, Credentials, Login
from oa_client._accounts.target import Target
from oa_client._calls.signing import RenewingTransport
from oa_client._net.interrupt import Interrupt
from oa_client._net.transport import Transport
from oa_client._wire.call import Call
from oa_client._wire.inference import Inference

SECRET = "marker-of-a-secret"
URL = "http://127.0.0.1:9"


def debug_login(age: float = 0.0) -> Login:
    """Return a login that was made some seconds ago."""
    return Login(token="old", username="ada", obtained_at=time.time() - age)


def expired() -> AuthError:
    """Return the error of a server that takes a token no longer."""
    return AuthError("too old", status=401, detail="Token expired")


def never() -> bool:
    """Do not stop."""
    return False


def test_repr_shows_no_secret() -> None:
    """Neither login nor credentials show what is secret, but what kind it is."""
    for login in (Login(token=SECRET), Login(cookies=f"a={SECRET}")):
        assert SECRET not in f"{login!r}{Credentials(login)!r}"

    assert "<Credentials: Cookie>" == repr(Credentials(Login(cookies="a=b")))
    assert "<Credentials: none>" == repr(Credentials())


def test_credentials_are_not_pickled() -> None:
    """Credentials cannot get into a pickle by mistake."""
    with pytest.raises(TypeError):
        pickle.dumps(Credentials(Login(token=SECRET)))


@pytest.mark.parametrize(
    ("login", "secrets"),
    [
        pytest.param(Login(), set(), id="none"),
        pytest.param(Login(token="t"), {"t", "Bearer t"}, id="token"),
        pytest.param(Login(cookies="a=b; c=d"), {"b", "d", "a=b; c=d"}, id="cookies"),
    ],
)
def test_secrets(login: Login, secrets: set[str]) -> None:
    """The header and all that is secret in it must not be shown, and a name may."""
    assert secrets == Credentials(login).secrets


def test_secrets_follow_a_renewal() -> None:
    """What is masked in errors are the secrets of the login and of those before it, also after a renewal."""
    credentials = Credentials(Login(token=f"{SECRET}-0", username="ada"))
    transport = Transport(Target(URL, Inference(), credentials))
    for number in (1, 2):
        credentials.renew_token(f"{SECRET}-{number}")
    call = Inference().whoami()
    words = " ".join(f"{SECRET}-{number}" for number in range(3))
    cause = requests.ConnectionError(words)

    error = transport._failures.translate(cause, call, False)
    transport.close()

    assert isinstance(error, TransportError)
    assert SECRET not in str(error)
    assert error.__cause__ is None


def run(
    credentials: Credentials, send: Callable[[], Any], log_in: Callable[[str], str], is_stopped: Callable[[], bool]
) -> Any:
    """Send a call that has these credentials, over a transport that a test decides."""

    class Double:
        target = SimpleNamespace(credentials=credentials)

        def send(self, call: Call[Any], *_: object) -> Any:
            return log_in((call.query or {})["code"]) if call.path == "/auth/callback/debug" else send()

    class Line:
        socket = None

        @property
        def fired(self) -> bool:
            return is_stopped()

    transport, interrupt = cast(Transport, Double()), cast(Interrupt, Line())
    return RenewingTransport(transport).send(Inference().whoami(), Timeout(), interrupt)


def test_good_login_is_not_renewed() -> None:
    """Before its time a login is used as it is."""
    credentials = Credentials(debug_login(RENEWAL_AGE - 60))

    assert "Bearer old" == run(credentials, lambda: credentials.headers["Authorization"], pytest.fail, never)


def test_old_login_is_renewed_first() -> None:
    """Some minutes before its token expires, a login is made anew, and the call is sent with that."""
    told: list[tuple[str | None, str | None]] = []
    credentials = Credentials(
        debug_login(RENEWAL_AGE + 1), keep=lambda old, new: told.append((str(old.token), str(new.token)))
    )
    started = time.time()

    assert "Bearer ada's" == run(credentials, lambda: credentials.headers["Authorization"], "{}'s".format, never)
    assert started <= credentials.login.obtained_at <= time.time()
    assert [("old", "ada's")] == told


def test_old_login_that_cannot_be_renewed(caplog: pytest.LogCaptureFixture) -> None:
    """If the server does not let it in before the token has expired, the old one is used, and a log line says so."""

    def fail(_: str) -> str:
        raise OAError("no login today")

    credentials = Credentials(debug_login(RENEWAL_AGE + 1))

    assert "Bearer old" == run(credentials, lambda: credentials.headers["Authorization"], fail, never)
    assert ["a login could not be renewed yet: no login today"] == [record.message for record in caplog.records]
    with pytest.raises(OAError, match="no login today"):
        run(credentials, pytest.fail, fail, lambda: True)


def test_expired_login_is_renewed() -> None:
    """If the server says that the token has expired, a new one is fetched once and the call is sent again."""
    sent: list[str] = []

    def send() -> str:
        sent.append(credentials.headers["Authorization"])
        if len(sent) < 2:
            raise expired()
        return "answer"

    credentials = Credentials(debug_login())

    assert "answer" == run(credentials, send, lambda _: "new", never)
    assert ["Bearer old", "Bearer new"] == sent


def test_login_that_expires_at_once() -> None:
    """A server that never takes a token is not asked for ever."""
    logins: list[str] = []

    def send() -> str:
        raise expired()

    credentials = Credentials(debug_login())
    with pytest.raises(AuthError, match="too old"):
        run(credentials, send, lambda name: logins.append(name) or name, never)  # type: ignore[func-returns-value]  # for its effect

    assert ["ada"] == logins


def test_other_refusals_are_not_a_reason() -> None:
    """Only an expired token is one."""
    credentials = Credentials(debug_login())

    def send() -> str:
        raise AuthError("banned", status=403, detail="")

    with pytest.raises(AuthError, match="banned"):
        run(credentials, send, pytest.fail, never)


def test_one_thread_logs_in() -> None:
    """Of threads whose token has expired one fetches a new one, and the others wait for that."""
    credentials = Credentials(debug_login())
    together, logins, results = threading.Barrier(8), [], []

    def log_in(name: str) -> str:
        logins.append(name)
        return "new"

    def use() -> None:
        is_first = iter([True])

        def send() -> str:
            if next(is_first, False):
                together.wait(20)
                raise expired()
            return credentials.headers["Authorization"]

        results.append(run(credentials, send, log_in, never))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert (["ada"], ["Bearer new"] * 8) == (logins, results)


def test_others_go_on_while_the_token_is_good() -> None:
    """While a thread fetches a token before its time, another one uses the old one and does not wait."""
    credentials = Credentials(debug_login(RENEWAL_AGE + 1))
    is_in, may_go_on = threading.Event(), threading.Event()

    def log_in(_: str) -> str:
        is_in.set()
        may_go_on.wait(20)
        return "new"

    first = threading.Thread(target=run, args=(credentials, lambda: None, log_in, never))
    first.start()
    assert is_in.wait(20)
    result = run(credentials, lambda: credentials.headers["Authorization"], pytest.fail, never)
    may_go_on.set()
    first.join(20)

    assert ("Bearer old", "new") == (result, credentials.login.token)


def test_waiting_for_another_thread_can_be_stopped() -> None:
    """Who waits for another thread's login goes on when it is stopped."""
    credentials = Credentials(debug_login())
    is_in, may_go_on = threading.Event(), threading.Event()

    def log_in(_: str) -> str:
        is_in.set()
        may_go_on.wait(20)
        return "new"

    def refuse() -> None:
        raise expired()

    def use() -> None:
        with pytest.raises(AuthError):
            run(credentials, refuse, log_in, never)

    first = threading.Thread(target=use)
    first.start()
    assert is_in.wait(20)
    looks = iter([False, True])
    with pytest.raises(AuthError):
        run(credentials, refuse, pytest.fail, lambda: next(looks))
    may_go_on.set()
    first.join(20)

    assert next(looks, None) is None


def test_login_that_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    """If the renewed login cannot be written, it is used all the same, and a log line says so."""

    def fail(_: Login, __: Login) -> None:
        raise ConfigurationError("the disk is full")

    credentials = Credentials(debug_login(), keep=fail)
    credentials.renew_token("new")

    assert "new" == credentials.login.token
    assert ["the renewed login could not be kept: the disk is full"] == [record.message for record in caplog.records]


def test_session_that_has_expired(caplog: pytest.LogCaptureFixture) -> None:
    """What seems to be over is said once, at WARNING, with the time of its end, and is the server's to refuse."""
    caplog.set_level(logging.WARNING)
    credentials = Credentials(Login(cookies="a=b", expires_at=1_000_000_000))
    for _ in range(2):
        credentials.warn_of_expiry(URL)

    assert [f"the session at {URL} has expired (2001-09-09 01:46 UTC), if the clock here is right"] == [
        record.message for record in caplog.records
    ]


def test_session_that_expires_soon(caplog: pytest.LogCaptureFixture) -> None:
    """A session's last minutes are said once, at WARNING, and again after a renewal that brings few more."""
    caplog.set_level(logging.WARNING)
    credentials = Credentials(Login(cookies="next-auth.session-token=x", expires_at=time.time() + WARNING_TIME - 1))
    for _ in range(2):
        credentials.warn_of_expiry(URL)
    assert 1 == len(caplog.records)
    assert f"the session at {URL} expires soon" in caplog.text
    assert "Client.refresh()" in caplog.text

    jar = RequestsCookieJar()
    jar.set("next-auth.session-token", "y")
    credentials.renew_session(jar, datetime.fromtimestamp(time.time() + WARNING_TIME + 60, timezone.utc))
    credentials.warn_of_expiry(URL)
    assert 1 == len(caplog.records)
    credentials.renew_session(jar, datetime.fromtimestamp(time.time() + 60, timezone.utc))
    credentials.warn_of_expiry(URL)
    assert 2 == len(caplog.records)


def test_session_whose_end_is_not_known() -> None:
    """Without a known end nothing is said."""
    credentials = Credentials(Login(cookies="next-auth.session-token=x"))
    credentials.warn_of_expiry(URL)
    jar = RequestsCookieJar()
    jar.set("next-auth.session-token", "y")
    credentials.renew_session(jar, None)
    credentials.warn_of_expiry(URL)

    assert "next-auth.session-token=y" == credentials.headers["Cookie"]
