"""
Where calls go: address, surface and credentials, from the arguments, the environment and the kept logins.

The address is `base_url`, or else `$OA_BASE_URL`, or else the local server's; never that of a kept login.

The credentials, which go to no other origin (scheme, host and port), are the first of these:

1. the argument `token` or `cookies`;
2. `$OA_TOKEN` or `$OA_COOKIE`, if the address has the origin of `$OA_BASE_URL`;
3. the login that `login()` has kept for the origin.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from oa_client._accounts.cookies import Cookies, cookie_header
from oa_client._accounts.credentials import Credentials, Login, TrustedClient
from oa_client._accounts.store import LoginFile
from oa_client._values.errors import ConfigurationError
from oa_client._wire.inference import Inference
from oa_client._wire.surface import DEFAULT_MODEL, Surface

#: White space, and characters that libraries read in different ways or remove.
_ODD = re.compile(r"[\s\\\x00-\x1f\x7f]")
#: A host and port, without a scheme or with a wrong one.
_BARE = re.compile(r"(?!https?://)(?:[a-z]*:?/+)?((?:localhost|[\w-]+(?:\.[\w-]+)+)(?::\d+)?)(?:/.*)?", re.ASCII)
#: characters; a host is seldom longer, a token given by mistake always is.
_HOST_LIMIT = 60


_SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization", "refresh", "set-cookie", "trustedclient"}


def is_secret(header: str) -> bool:
    """Return whether a header's value is a secret."""
    return header.lower() in _SECRET_HEADERS


@dataclass(frozen=True, slots=True)
class Target:
    """
    A server and how to talk to it.

    Attributes:
        base_url: without a slash at the end.
        surface: its paths and bodies.
        credentials: sign the requests; never shown.
        model: answers when the caller names no model.
    """

    base_url: str
    surface: Surface
    credentials: Credentials = field(repr=False)
    model: str = DEFAULT_MODEL

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that the environment's proxies do not apply."""
        host = (urlsplit(self.base_url).hostname or "").rstrip(".")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def is_exposed(self) -> bool:
        """Whether the credentials go over a network unencrypted."""
        return self._is_open and (bool(self.credentials) or self.credentials.is_renewable)

    @property
    def _is_open(self) -> bool:
        """Whether requests go over a network unencrypted."""
        return self.base_url.startswith("http:") and not self.is_loopback

    def warn_if_exposed(self, stacklevel: int, headers: Iterable[str] = ()) -> None:
        """
        Warn if the credentials go over a network unencrypted.

        Args:
            stacklevel: as for `warnings.warn`, from here.
            headers: names of the headers that the user adds, which may be credentials too.
        """
        if self.is_exposed or (self._is_open and any(map(is_secret, headers))):
            warnings.warn(
                f"the credentials go to {self.base_url} unencrypted, for anybody on the way to read: use https",
                stacklevel=stacklevel + 1,
            )


def find_target(
    base_url: str | None,
    cookies: Cookies | None,
    token: str | TrustedClient | None,
    environ: Mapping[str, str],
    website: Surface,
    store: LoginFile | None = None,
) -> Target | None:
    """
    Return where to send calls, or None for the local server, if no address is given.

    `website` is the surface to use for a website.

    Raises:
        ConfigurationError: names the argument or variable that is wrong.
    """
    if cookies is not None and token is not None:
        raise ConfigurationError(
            "cookies and token are both given: cookies= is for the website, token= for the inference server"
        )
    known_url = environ.get("OA_BASE_URL") or None
    url = check_url("base_url", base_url) if base_url is not None else None
    if url is None and known_url is not None:
        url = check_url("$OA_BASE_URL", known_url)
    given = cookies is not None or token is not None
    trusted = url is None or (known_url is not None and origin(known_url) == origin(url))
    cookie_name, token_name = "cookies", "token"
    if not given and trusted:
        token, cookies = environ.get("OA_TOKEN") or None, environ.get("OA_COOKIE") or None
        cookie_name, token_name = "$OA_COOKIE", "$OA_TOKEN"
        if token is not None and cookies is not None:
            raise ConfigurationError(
                "$OA_COOKIE and $OA_TOKEN are both set: the first is for the website, the second for the "
                "inference server"
            )
    if url is None:
        if token is not None or cookies is not None:
            name = token_name if token is not None else cookie_name
            raise ConfigurationError(f"{name} is given without an address: pass base_url= or set $OA_BASE_URL")
        return None
    if token is not None or cookies is not None:
        return signed_target(url, cookies, token, website, cookie_name, token_name)
    kept = None if store is None else store.read(origin_name(url))
    if store is None or kept is None:
        return Target(url, website, Credentials())
    keep = partial(store.replace, origin_name(url))
    surface = website if kept.token is None else Inference()
    return Target(url, surface, Credentials(kept, has_worked=True, keep=keep))


def signed_target(
    url: str,
    cookies: Cookies | None,
    token: str | TrustedClient | None,
    website: Surface,
    cookie_name: str = "cookies",
    token_name: str = "token",  # noqa: S107 - the argument's name
) -> Target:
    """
    Return the target of an address and one credential.

    Raises:
        ConfigurationError: if the credential is wrong; names it as the user does.
    """
    if token is not None:
        return Target(url, Inference(), Credentials(Login(token=_check_token(token_name, token))))
    return Target(url, website, Credentials(Login(cookies=cookie_header(cookie_name, cookies, url))))


def origin(url: str) -> tuple[str, str, int | None]:
    """
    Return scheme, host and port, to which credentials are bound. A broken address shares its origin with no
    other.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", None
    return parts.scheme, (parts.hostname or ""), port or {"http": 80, "https": 443}.get(parts.scheme)


def origin_name(url: str) -> str:
    """Return the origin of an address as text, always with the port."""
    scheme, host, port = origin(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def is_clean(url: str) -> bool:
    """Return whether all libraries read a URL in the same way."""
    return not _ODD.search(url)


def check_url(name: str, value: Any) -> str:
    """
    Return a checked address, without a slash at its end.

    Raises:
        ConfigurationError: if it is not an address, or has a part that does not belong there.
    """
    problem = f"{name} is not an http or https URL{_suggestion(value)}"
    if not isinstance(value, str):
        raise ConfigurationError(problem)
    odd = _ODD.search(value)
    if odd and value.lower().startswith(("http://", "https://")):
        names = {" ": "a space (write it as %20)", "\\": "a backslash"}
        words = names.get(odd[0], "a line break or another invisible character")
        raise ConfigurationError(f"{name} has {words} at character {odd.start()}, which a URL cannot have")
    try:
        parts = urlsplit(value)
        if odd or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ConfigurationError(problem)
    except ValueError:
        raise ConfigurationError(problem) from None
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{name} must not hold a user or password, which would end up in logs: pass "
            "headers={'Authorization': …} for a server behind basic authentication"
        )
    if "?" in value or "#" in value:
        raise ConfigurationError(f"{name} must not have a query or a fragment")
    return value.rstrip("/")


def _suggestion(value: Any) -> str:
    """
    Return the address that the user probably meant, or else an example.

    Nothing else is quoted: a wrong address may hold a password or token.
    """
    bare = _BARE.fullmatch(value) if isinstance(value, str) else None
    if bare is None or len(bare[1]) > _HOST_LIMIT:
        return ", for example http://127.0.0.1:8000"
    scheme = "http" if bare[1].startswith(("localhost", "127.")) else "https"
    return f": did you mean {scheme}://{bare[1]}?"


def _check_token(name: str, token: Any) -> str | TrustedClient:
    if isinstance(token, TrustedClient):
        return token
    if not isinstance(token, str) or not token:
        raise ConfigurationError(f"{name} must be a non-empty string or a TrustedClient")
    if token.lower().startswith("bearer "):
        raise ConfigurationError(f"{name} must be the token alone, without 'Bearer' before it")
    if not all("!" <= character <= "~" for character in token):
        raise ConfigurationError(f"{name} has a character that a token cannot have (a space, a line end, or not ASCII)")
    return token
