"""
The cookies of a website, in every form that people have them.

A mapping, a jar, a Cookie header, the bare session token, or a file: a cookies.txt (Netscape's format), or JSON as
browser extensions and Playwright write it. No error shows the contents.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from http.cookiejar import Cookie, CookieJar
from typing import Any
from urllib.parse import SplitResult, urlsplit

from oa_client._values.errors import ConfigurationError

Cookies = str | Mapping[str, str] | CookieJar | os.PathLike[str]

#: The names of next-auth's cookie on an http and an https site.
SESSION_COOKIES = ("next-auth.session-token", "__Secure-next-auth.session-token")
#: A cookie value by RFC 6265 section 4.1.1, plus quotes, spaces and commas, which occur in practice.
_VALUE = re.compile(r"[\x20-\x3a\x3c-\x7e]*")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_NAME = re.compile(r"^\s*cookie:", re.IGNORECASE)
_CHUNK = re.compile(r"(.*)\.(\d{1,4})")
#: The keys of JSON exports for the end of a cookie's life, in seconds since 1970; 0 or less is the browser's session.
_EXPIRY = ("expirationDate", "expires", "expiry")
#: The latest end that is believed.
_LATEST = 2.0**53

Pairs = list[tuple[str, str]]


def cookie_header(name: str, cookies: Any, url: str) -> str:
    """
    Make the Cookie header for a URL.

    From a jar or a file, it takes only the cookies that a browser would send there. It leaves out other cookies that
    cannot be sent, except from a mapping or if they are the session's. A bare session token gets both names that
    next-auth may look for, the name for the URL's scheme first: a proxy may hide the site's own.

    Args:
        name: the name of the argument or variable, for errors.
        cookies: in any form.
        url: the URL of the website.

    Raises:
        ConfigurationError: if the form is unknown, or none of the cookies goes to the URL.
    """
    if isinstance(cookies, CookieJar):
        pairs = _choose(name, cookies, url, "the jar")
    elif isinstance(cookies, Mapping):
        pairs = list(cookies.items())
        if _is_item(cookies):
            pairs = _choose(name, [_read_item(dict(cookies), f"{name}: the mapping")], url, "the mapping")
    elif isinstance(cookies, str):
        pairs = _parse(name, cookies, url)
    elif isinstance(cookies, os.PathLike):
        pairs = _read_file(name, os.fsdecode(cookies), url)
    else:
        raise ConfigurationError(
            f"{name} must be a mapping, a cookie jar, a Cookie header or the path of a file, "
            f"not {type(cookies).__name__}"
        )
    if not pairs:
        raise ConfigurationError(f"{name} is empty: the website needs its session cookie")
    for number, (key, value) in enumerate(pairs, 1):
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise ConfigurationError(
                f"{name}: the name of cookie {number} must be letters, digits and hyphens, without a space or a comma"
            )
        if not value:
            # The name is not shown: it may be a session token that ends in "=".
            raise ConfigurationError(f"{name} has a cookie without a value")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ConfigurationError(f"{name}: the value of {key!r} is not a cookie value")
    return _join(pairs)


def cookies_for(jar: CookieJar, url: str) -> CookieJar:
    """Return a new jar with the cookies that go to a URL."""
    chosen, site = CookieJar(), urlsplit(url)
    for cookie in jar:
        if _obstacle(cookie, site) is None:
            chosen.set_cookie(cookie)
    return chosen


def renew_header(header: str, jar: CookieJar) -> str | None:
    """Return a Cookie header with the session cookies of a jar in place of its own; None if the jar has none."""
    cookies = (cookie for cookie in jar if _is_session(cookie.name) and _is_sendable(cookie.name, cookie.value))
    new = [(cookie.name, cookie.value or "") for cookie in cookies]
    return _join([*_without_session(header), *new]) if new else None


def add_to_header(header: str, others: str) -> str:
    """
    Add the other cookies of another Cookie header.

    If the header has a session, leave out the other session's cookies: next-auth would join them like chunks.
    """
    pairs = _split(header)
    known = {key for key, _ in pairs}
    added = _without_session(others) if any(_is_session(key) for key in known) else _split(others)
    return _join([*pairs, *(pair for pair in added if pair[0] not in known)])


def values_of(header: str) -> list[str]:
    """Return the values of a Cookie header."""
    return [value for _, value in _split(header)]


def _split(header: str) -> Pairs:
    parts = (part.strip().partition("=") for part in header.split(";"))
    return [(key, value) for key, _, value in parts if key]


def _without_session(header: str) -> Pairs:
    return [pair for pair in _split(header) if not _is_session(pair[0])]


def _is_session(key: str) -> bool:
    chunk = _CHUNK.fullmatch(key)
    return (chunk[1] if chunk else key) in SESSION_COOKIES


def _drop_odd(pairs: Pairs) -> Pairs:
    """Leave out the odd cookies; if there are no others, return them, to be refused with an error."""
    return [pair for pair in pairs if not _is_odd(*pair)] or pairs


def _is_odd(key: str, value: str | None) -> bool:
    """Return whether a bad cookie deserves no error: a site's statistics may keep bad values."""
    return not _is_session(key) and not _is_sendable(key, value)


def _is_sendable(key: str, value: str | None) -> bool:
    return bool(_NAME.fullmatch(key) and value and _VALUE.fullmatch(value))


def _join(pairs: Iterable[tuple[str, str]]) -> str:
    """Put name.0, name.1, … side by side in that order: next-auth joins them as they come."""
    places: dict[str, int] = {}

    def place(pair: tuple[str, str]) -> tuple[int, int]:
        chunk = _CHUNK.fullmatch(pair[0])
        name, number = (chunk[1], int(chunk[2])) if chunk else (pair[0], -1)
        return places.setdefault(name, len(places)), number

    return "; ".join(f"{key}={value}" for key, value in sorted(pairs, key=place))


def _parse(name: str, cookies: str, url: str) -> Pairs:
    """Read a Cookie header, or a bare session token."""
    text = _HEADER_NAME.sub("", cookies).strip()
    if not text:
        return []
    if "=" not in text and ";" not in text:
        if text.endswith((".txt", ".json")):
            raise ConfigurationError(f"{name} is the name of a file: to read it, pass cookies=pathlib.Path(…)")
        plain, secure = SESSION_COOKIES
        names = (secure, plain) if urlsplit(url).scheme == "https" else (plain, secure)
        return [(key, text) for key in names]
    pairs = []
    for part in text.split(";"):
        key, equals, value = part.strip().partition("=")
        if key and not equals:
            raise ConfigurationError(f"{name} is not a Cookie header: it must read 'name=value; name=value'")
        if key:
            pairs.append((key, value))
    return _drop_odd(pairs)


def _choose(name: str, cookies: Iterable[Cookie], url: str, source: str) -> Pairs:
    """
    Return the cookies that can go to a URL.

    Raises:
        ConfigurationError: if there are none; it counts the reasons.
    """
    site, chosen, obstacles = urlsplit(url), [], Counter[str]()
    for cookie in cookies:
        obstacle = _obstacle(cookie, site)
        if obstacle is None and _is_odd(cookie.name, cookie.value):
            obstacle = "not to be sent"
        if obstacle is None:
            chosen.append(cookie)
        else:
            obstacles[obstacle] += 1
    if not chosen:
        why = ", ".join(f"{count} {obstacle}" for obstacle, count in obstacles.items()) or "it is empty"
        raise ConfigurationError(f"{name}: {source} holds no cookie for {site.hostname}: {why}")
    chosen.sort(key=lambda cookie: -len(cookie.path))
    return [(cookie.name, cookie.value or "") for cookie in chosen]


def _obstacle(cookie: Cookie, site: SplitResult) -> str | None:
    """
    Return why a cookie does not go to a site, as words after a number; None if it goes there.

    This follows RFC 6265 section 5.4. `http.cookiejar` does not: it sends a host's cookies to the hosts below, and none
    to a host without a dot in its name.
    """
    if not _is_for_host(cookie, (site.hostname or "").lower()):
        return "for other hosts"
    if cookie.is_expired(int(time.time())):
        return "expired"
    if cookie.secure and site.scheme != "https":
        return "for https only"
    if not f"{site.path}/api/chat/".startswith(f"{(cookie.path or '').rstrip('/')}/"):
        return "for other paths"
    return None


def _is_for_host(cookie: Cookie, host: str) -> bool:
    domain = cookie.domain.lower().strip("[]")
    # Somebody put a cookie without a domain into the jar by hand. `http.cookiejar` adds ".local" to a name without a
    # dot.
    if domain.lstrip(".") in ("", host) or ("." not in host and domain == f"{host}.local"):
        return True
    if not cookie.domain_specified or not host.endswith(f".{domain.lstrip('.')}"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _read_file(name: str, path: str, url: str) -> Pairs:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise ConfigurationError(f"{name}: {path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise ConfigurationError(f"{name}: {path!r} is not a text file") from None
    if not text.lstrip().startswith(("[", "{")):
        lines = enumerate(text.splitlines(), 1)
        found = [_read_line(line, f"{name}: line {number} of {path}") for number, line in lines]
        return _choose(name, filter(None, found), url, path)
    try:
        data = _load(text)
    except (ValueError, RecursionError):
        # The error of json holds the text.
        raise ConfigurationError(f"{name}: {path} begins like JSON, but is not valid JSON") from None
    if isinstance(data, dict) and isinstance(data.get("cookies"), list):
        data = data["cookies"]
    if isinstance(data, dict) and _is_item(data):
        data = [data]
    if isinstance(data, list):
        cookies = [_read_item(item, f"{name}: item {number} of {path}") for number, item in enumerate(data, 1)]
        return _choose(name, cookies, url, path)
    is_export = all(isinstance(value, str) for value in data.values())
    pairs = _drop_odd(list(data.items())) if is_export else []
    if not is_export or not all(_NAME.fullmatch(key) and _VALUE.fullmatch(value) for key, value in pairs):
        raise ConfigurationError(f"{name}: {path} is not a JSON export of cookies")
    return pairs


def _load(text: str) -> Any:
    """Read JSON, or one JSON value a line."""
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _is_item(data: Mapping[Any, Any]) -> bool:
    """Return whether an object is one cookie, and not a mapping of names to values."""
    return "name" in data and "value" in data


def _read_line(line: str, what: str) -> Cookie | None:
    """Read a line of a cookies.txt: seven fields between tabs; None if it has no cookie."""
    line = line.removeprefix("#HttpOnly_")
    if not line.strip() or line.startswith("#"):
        return None
    fields = line.split("\t")
    if len(fields) == 6:
        # The value is empty, and an editor has removed the tab at the end of the line.
        return None
    if len(fields) != 7:
        raise ConfigurationError(
            f"{what} is not a cookie: a cookies.txt has seven fields with tabs between them, and this line has "
            f"{len(fields)} (the file is not JSON either)"
        )
    domain, below, path, secure, expires, key, value = fields
    try:
        return _cookie(key, value, domain, _flag(below), path, _flag(secure), float(expires or 0))
    except ValueError:
        # The error of float() holds the field.
        raise ConfigurationError(f"{what}: fields 2 and 4 must be TRUE or FALSE, and field 5 a number") from None


def _flag(value: Any) -> bool:
    """
    Read a yes or no, which programs write in different ways.

    Raises:
        ValueError: if it is neither.
    """
    words = {"true": True, "1": True, "false": False, "0": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError from None


def _read_item(item: Any, what: str) -> Cookie:
    """Read one object of a JSON export."""
    problem = ConfigurationError(f"{what} is not a cookie with name and value")
    if not isinstance(item, dict):
        raise problem
    texts: list[Any] = [item.get("name"), item.get("value"), item.get("domain") or "", item.get("path") or "/"]
    if not all(isinstance(text, str) for text in texts):
        raise problem
    key, value, domain, path = texts
    ends = (item.get(name) for name in _EXPIRY)
    expires = next((end for end in ends if isinstance(end, (int, float))), 0)
    host_only, secure = item.get("hostOnly"), item.get("secure")
    try:
        below = domain.startswith(".") if host_only is None else not _flag(host_only)
        return _cookie(key, value, domain, below, path, secure is not None and _flag(secure), expires)
    except ValueError:
        raise ConfigurationError(f"{what}: hostOnly and secure must be true or false") from None


def _cookie(key: str, value: str, domain: str, below: bool, path: str, secure: bool, expires: float) -> Cookie:
    return Cookie(
        version=0,
        name=key,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=below,
        domain_initial_dot=domain.startswith("."),
        path=path,
        path_specified=True,
        secure=secure,
        expires=int(min(expires, _LATEST)) if expires > 0 else None,
        discard=expires <= 0,
        comment=None,
        comment_url=None,
        rest={},
    )
