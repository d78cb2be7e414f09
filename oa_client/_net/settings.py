"""Headers and proxies, checked before anything is sent, and the secrets in them."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from oa_client._accounts.cookies import values_of
from oa_client._accounts.target import Target, is_clean, is_secret, origin
from oa_client._values.errors import ConfigurationError

#: RFC 9110, section 5.1.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: Parts of names of non-standard headers whose values are credentials.
_TELLING = re.compile("auth|key|password|secret|token", re.IGNORECASE)
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def check_headers(headers: Mapping[str, str], target: Target) -> dict[str, str]:
    """
    Return the user's headers, checked, to be added to each request.

    Raises:
        ConfigurationError: if one cannot be sent; the error shows no value, and no name that may hold one.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    for number, (name, value) in enumerate(headers.items(), 1):
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(
                f"headers: name {number} is not the name of a header: write letters, digits and hyphens, "
                "without a space or a colon"
            )
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigurationError(f"headers: the value of {name!r} is not a header value")
        if name.lower() in {known.lower() for known in target.credentials.headers}:
            raise ConfigurationError(
                f"headers has {name!r}, which token=, cookies= or oa_client.login() sets too: give one"
            )
    return dict(headers)


def choose(session: requests.Session, target: Target, proxy: str | None) -> dict[str, Any]:
    """
    Return the `proxies`, `verify` and `cert` of `requests.Session.send` for a server.

    Raises:
        ConfigurationError: if the proxy is not a URL; the error shows no password.
    """
    given = {} if proxy is None else dict.fromkeys(("http", "https"), _check_proxy(proxy))
    # The environment is read once, because looking for proxies costs more than the rest of a request. The session's
    # authorities are named again, because requests would prefer the environment's.
    settings = session.merge_environment_settings(target.base_url, dict(given), None, session.verify, None)
    if target.is_loopback or _is_excepted(target.base_url):
        settings["proxies"] = {**session.proxies, **given}
    return {name: settings[name] for name in ("proxies", "verify", "cert")}


def _check_proxy(proxy: str) -> str:
    problem = "proxy must be a URL, for example http://127.0.0.1:3128"
    try:
        parts = urlsplit(proxy)
        port = parts.port
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(problem) from None
    if parts.scheme not in _PROXY_SCHEMES or not parts.hostname or port == 0 or not is_clean(proxy):
        raise ConfigurationError(problem)
    return proxy


def _is_excepted(url: str) -> bool:
    """Return whether `$no_proxy` names an IPv6 address: requests knows neither IPv6 networks nor brackets."""
    try:
        address = ipaddress.IPv6Address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    entries = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    return any(_names(entry.strip(), address, origin(url)[2]) for entry in entries)


def _names(entry: str, address: ipaddress.IPv6Address, port: int | None) -> bool:
    """
    Return whether an entry is the address or a network around it: `fd00::1`, `[fd00::1]:80`, `fd00::/8` or
    `[fd00::]/8`.
    """
    if entry.startswith("["):
        inside, _, rest = entry[1:].partition("]")
        entry = f"{inside}{rest.removesuffix(f':{port}')}"
    try:
        return address in ipaddress.IPv6Network(entry, strict=False)
    except ValueError:
        return False


def secrets_in(headers: Mapping[str, str], proxies: Mapping[str, str]) -> frozenset[str]:
    """
    Return the strings that must never be shown, besides the credentials.

    Raises:
        ConfigurationError: if a proxy of the environment or the session is not a URL.
    """
    found: set[str] = set()
    for name, value in headers.items():
        if is_secret(name) or _TELLING.search(name):
            # The secret follows "Bearer" or "Basic".
            found |= {value, value.rpartition(" ")[2], *(values_of(value) if name.lower() == "cookie" else ())}
    for name, proxy in proxies.items():
        if name == "no_proxy" or not proxy:
            continue
        if not is_clean(proxy):
            raise ConfigurationError("a proxy of the environment or the session has a space or a line break in it")
        try:
            parts = urlsplit(proxy)
            # Without a password, the user may be a token.
            given = parts.password or parts.username or ""
            # The whole of it too, because a short password alone is not hidden.
            found |= {given, unquote(given), parts.netloc.rpartition("@")[0]}
        except ValueError:
            raise ConfigurationError("a proxy of the environment or the session is not a URL") from None
    return frozenset(found - {""})
