"""The cookies of a site, from the user's own browsers (browser-cookie3, the extra `browser`)."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlsplit

from oa_client._accounts.cookies import cookies_for
from oa_client._accounts.target import check_url
from oa_client._values.errors import ConfigurationError
from oa_client._values.foreign import is_foreign

_log = logging.getLogger("oa_client")
_patching = threading.Lock()


def browser_cookies(base_url: str) -> CookieJar:
    """
    Return the cookies of a website's host, from the first of the user's browsers that has any.

    Cookies of a domain above the host are left out, because they are for other sites too.

    `Client(url, cookies=browser_cookies(url))` is signed in as your browser is. This needs the extra `browser`. It
    reads files and may ask the desktop's key ring, so it takes a while.

    Raises:
        ConfigurationError: if no browser has any, the extra is not installed, or `base_url` is not an address.
    """
    base_url = check_url("base_url", base_url)
    host = urlsplit(base_url).hostname or ""
    way_out = f"pass cookies= with those of {host}"
    try:
        import browser_cookie3
    except ImportError as error:
        raise ConfigurationError(
            f"the extra that looks for cookies in your browsers is not installed: {way_out}, or "
            "pip install 'oa-client[browser]'"
        ) from error
    for browser in browser_cookie3.all_browsers:
        try:
            with _without_key_ring(browser_cookie3):
                found = browser(domain_name=host)
        except Exception as error:
            if is_foreign(error):
                raise
            # Most often the browser is not installed; the library's failures share no class.
            _log.debug("no cookies from %s: %s", browser.__name__, type(error).__name__)
            continue
        # The library looks for the host anywhere in the domain.
        jar = cookies_for(found, base_url)
        if len(jar):
            return jar
    raise ConfigurationError(f"no browser here has cookies of {host}: sign in there, or {way_out}")


@contextmanager
def _without_key_ring(library: Any) -> Iterator[None]:
    """
    Let browser-cookie3 work on a Linux without desktop.

    It first asks the session bus for the key ring, and without a bus it fails with a KeyError, though Chromium then
    encrypts with a fixed password that the library knows. No public way leads past that.
    """
    manager: Any = getattr(library, "_LinuxPasswordManager", None)
    password = getattr(library, "CHROMIUM_DEFAULT_PASSWORD", None)
    has_bus = bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) or not sys.platform.startswith("linux")
    if has_bus or manager is None or password is None:
        yield
        return
    with _patching:
        original, manager.get_password = manager.get_password, lambda *_: password
        try:
            yield
        finally:
            manager.get_password = original
