"""Log in and out; other programs of the user then use the same login."""

from __future__ import annotations

import os

from oa_client._accounts.cookies import Cookies
from oa_client._accounts.credentials import Credentials, Login, TrustedClient
from oa_client._accounts.store import LoginFile
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

    It goes to `credentials.json` in the user's configuration folder (`~/.config/oa-client`, or below
    `$XDG_CONFIG_HOME`; `~/Library/Application Support/oa-client` on macOS, `%APPDATA%\oa-client` on Windows), which
    only the user can read. It counts for all addresses of the same scheme, host and port, and replaces an older one.

    This renews a website's session, and `Client.refresh()` renews it again. When the token of a debug login expires,
    the client logs in again. Other tokens cannot be renewed.

    Args:
        base_url: the address of the server.
        token: for an inference server: an access token, or a `TrustedClient`, whose user is made if missing.
        cookies: for a website, in any form that `Client` takes.
        username: for an inference server whose settings allow debug logins: a name alone.

    Returns:
        the user who is now signed in.

    Raises:
        ConfigurationError: if you do not give exactly one credential, or it is wrong or cannot be kept.
        AuthError: if the server refuses the credential; nothing is kept then.
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
    LoginFile(os.environ).write(origin_name(url), target.credentials.login, url)
    return user


def logout(base_url: str) -> bool:
    """
    Forget the credential that `login()` has kept for a server, and return whether there was one.

    The session or token itself stays valid: the servers cannot end one early.

    Raises:
        ConfigurationError: if `base_url` is not an address, or the file with the credentials cannot be used.
    """
    return LoginFile(os.environ).remove(origin_name(check_url("base_url", base_url)))


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
