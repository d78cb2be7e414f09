"""Logging in and out: what is kept from one program to the next."""

from __future__ import annotations

import os

from oa_client._accounts.cookies import Cookies
from oa_client._accounts.credentials import Credentials, Login, TrustedClient
from oa_client._accounts.store import Store
from oa_client._accounts.target import Target, check_url, origin_name, signed_target
from oa_client._calls.engine import Engine
from oa_client._net.transport import Transport
from oa_client._values.errors import AuthError, ConfigurationError, OAError, reworded
from oa_client._values.hidden import Hidden
from oa_client._values.question import check_name
from oa_client._values.timeout import Timeout
from oa_client._values.user import User
from oa_client._wire.inference import Inference, debug_login, list_providers, register
from oa_client._wire.website import Website

MAX_RETRIES = 2


def login(
    base_url: str,
    *,
    token: str | TrustedClient | None = None,
    cookies: Cookies | None = None,
    username: str | None = None,
) -> User:
    r"""
    Check a credential with the server and keep it, so that `Client(base_url)` and the command need none.

    It is kept in `credentials.json` in the user's configuration folder (`~/.config/oa-client`, or below
    `$XDG_CONFIG_HOME`; `~/Library/Application Support/oa-client` on macOS, `%APPDATA%\oa-client` on Windows),
    readable by the user alone, for all addresses of the same scheme, host and port. What was kept for them is replaced.

    A website's session is renewed at this, and `Client.refresh()` renews it again. A debug login is made anew by itself
    when its token expires. Another token cannot be renewed.

    Args:
        base_url: where the server is.
        token: of an inference server, or a `TrustedClient`, whose user is made if there is none.
        cookies: of a website, in any form that `Client` takes.
        username: for an inference server that takes a name alone (its settings allow debug logins).

    Returns:
        who is signed in now.

    Raises:
        ConfigurationError: if not exactly one credential is given, one is wrong, or it cannot be kept.
        AuthError: if the server does not take it; nothing is kept then.
        OAError: as `Client.whoami`.
    """
    if sum(given is not None for given in (token, cookies, username)) != 1:
        raise ConfigurationError("login() takes exactly one of token=, cookies= and username=")
    url = check_url("base_url", base_url)
    check_name("username", username)
    if username is None:
        target = signed_target(url, cookies, token, Website())
    else:
        target = Target(url, Inference(), Credentials(Login(username=username)))
    target.warn_if_exposed(stacklevel=2)
    engine = Engine(target, Transport, Hidden({}), Timeout(), MAX_RETRIES, serialize=False)
    try:
        if username is not None:
            target.credentials.renew_token(_log_in(engine, username))
        elif isinstance(token, TrustedClient):
            engine.send(lambda _: register())
        user = engine.send(lambda surface: surface.whoami() if cookies is None else surface.refresh())
    finally:
        engine.close(0)
    Store(os.environ).write(origin_name(url), target.credentials.login, url)
    return user


def logout(base_url: str) -> bool:
    """
    Forget the credential that `login()` has kept for a server; return whether there was one.

    The server is not told: it has no way to end a session or a token before its time.

    Raises:
        ConfigurationError: if `base_url` is no address, or the file with the credentials cannot be used.
    """
    return Store(os.environ).remove(origin_name(check_url("base_url", base_url)))


def _log_in(engine: Engine, username: str) -> str:
    try:
        return engine.send(lambda _: debug_login(username))
    except AuthError as error:
        try:
            providers = engine.send(lambda _: list_providers())
        except OAError:
            raise error from None
        raise reworded(
            error,
            AuthError,
            f"{error}; GET /auth/providers names: {', '.join(providers) or 'none'}",
        ) from error
