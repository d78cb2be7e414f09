"""The login of a client, which signs its requests, and its renewal."""

from __future__ import annotations

import base64
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from functools import cached_property
from http.cookiejar import CookieJar
from typing import Any

from oa_client._accounts.cookies import renew_header, values_of
from oa_client._values.errors import ConfigurationError
from oa_client._values.question import check_text

#: seconds until a debug login is renewed: the real server's access tokens last 60 minutes.
RENEWAL_AGE = 55 * 60.0
#: seconds before the end of a session in which its user is warned.
WARNING_TIME = 5 * 60.0
#: seconds between looks at whether another thread has renewed the login.
_PAUSE = 0.05

_log = logging.getLogger("oa_client")


@dataclass(frozen=True, slots=True)
class TrustedClient:
    """
    The credentials of a program that an inference server trusts to act for its users, like the website and the bots.

    ```python
    Client(url, token=TrustedClient(api_key, "discord", "discord-17", "17", "Ada"))
    ```

    `login()` makes the user on the server, unless the id exists.

    Attributes:
        api_key: one of the server's `TRUSTED_CLIENT_KEYS`; secret, so the repr leaves it out.
        client: the program's name, for example "website" or "discord".
        user_id: the id of the user for whom the program acts; the server takes any.
        provider_account_id: the user's id in the program.
        username: the user's name, to be shown.

    Raises:
        ConfigurationError: if a value is not a string, or the key or the user's id is empty.
    """

    api_key: str = field(repr=False)
    client: str
    user_id: str
    provider_account_id: str
    username: str

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, str):
                raise ConfigurationError(f"TrustedClient: {item.name} must be a string, not {type(value).__name__}")
            check_text(f"TrustedClient: {item.name}", value)
        if not self.api_key or not self.user_id:
            raise ConfigurationError("TrustedClient: api_key and user_id must not be empty")


@dataclass(frozen=True)
class Login:
    """
    One credential or none, with what the client knows about it. It never changes, because other threads still use it.

    Attributes:
        token: an access token of the inference server, or a `TrustedClient`.
        cookies: a Cookie header for the website.
        username: the name for which a debug login got the token, and can get another.
        obtained_at: the time of the debug login, in seconds since 1970.
        expires_at: the end of the website's session, in seconds since 1970; None if unknown.
    """

    token: str | TrustedClient | None = field(default=None, repr=False)
    cookies: str | None = field(default=None, repr=False)
    username: str | None = None
    obtained_at: float = 0.0
    expires_at: float | None = None

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers that sign a request."""
        if isinstance(self.token, TrustedClient):
            return {"TrustedClient": base64.b64encode(json.dumps(asdict(self.token)).encode()).decode()}
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return {} if self.cookies is None else {"Cookie": self.cookies}

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The strings that must never be shown."""
        found = {*self.headers.values(), *values_of(self.cookies or "")}
        found.add(self.token.api_key if isinstance(self.token, TrustedClient) else self.token or "")
        return frozenset(found - {""})


class Credentials:
    """
    The current login of a client, shared by its threads; a renewal replaces it.

    Args:
        login: the first one.
        has_worked: whether the server accepted it when `login()` kept it.
        keep: called with a new login, and the login that it replaces.

    Attributes:
        login: the current login.
        has_worked: whether the server has accepted it, or one before it.
    """

    def __init__(
        self,
        login: Login | None = None,
        *,
        has_worked: bool = False,
        keep: Callable[[Login, Login], None] | None = None,
    ) -> None:
        self.login = login or Login()
        self.has_worked = has_worked
        self._keep = keep
        self._has_warned = False
        # Answers to requests that older logins have signed may be on their way.
        self._past: tuple[Login, ...] = (self.login,)
        # Re-entrant, because a signal's handler may close the client anywhere.
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self.login.headers)

    def __repr__(self) -> str:
        return f"<Credentials: {', '.join(self.headers) or 'none'}>"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that sign a request."""
        return self.login.headers

    @property
    def secrets(self) -> frozenset[str]:
        """The strings that must never be shown, including those of earlier logins."""
        return frozenset().union(*(login.secrets for login in self._past))

    @property
    def is_renewed(self) -> bool:
        """Whether another login has replaced the first one."""
        return len(self._past) > 1

    @property
    def is_renewable(self) -> bool:
        """Whether it is a debug login, which can be repeated without the user."""
        return self.login.username is not None

    def warn_of_expiry(self, url: str) -> None:
        """Log once that the session is about to end or has ended, if its end is known."""
        end = self.login.expires_at
        left = math.inf if end is None else end - time.time()
        if end is None or left > WARNING_TIME or self._has_warned:
            return
        self._has_warned = True
        when = datetime.fromtimestamp(end, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        if left > 0:
            _log.warning("the session at %s expires soon (%s): Client.refresh() renews it", url, when)
        else:
            # The server decides which clock is right.
            _log.warning("the session at %s has expired (%s), if the clock here is right", url, when)

    @property
    def is_due(self) -> bool:
        """Return whether the login is old enough to be renewed."""
        return time.time() >= self.login.obtained_at + RENEWAL_AGE

    def renew(self, used: Login, log_in: Callable[[str], str], is_stopped: Callable[[], bool] | None = None) -> None:
        """
        Replace a debug login, unless another thread has done so.

        Args:
            used: the login to replace.
            log_in: returns the token for a name.
            is_stopped: returns whether to stop waiting for another thread that renews the login; without it, do not
                wait.

        Raises:
            OAError: from `log_in`.
        """
        has_lock = self._lock.acquire(blocking=False)
        while not has_lock and is_stopped is not None and not is_stopped():
            has_lock = self._lock.acquire(timeout=_PAUSE)
        if not has_lock:
            return
        try:
            if self.login is used:
                self.renew_token(log_in(used.username or ""))
        finally:
            self._lock.release()

    def renew_token(self, token: str) -> None:
        """Take the token of a new debug login."""
        self._replace(token=token, obtained_at=time.time())

    def renew_session(self, jar: CookieJar, expires_at: datetime | None) -> None:
        """Take the session cookies that the website has set, if any; they are good until `expires_at`."""
        with self._lock:
            header = renew_header(self.login.cookies or "", jar)
            if header is not None:
                self._replace(cookies=header, expires_at=None if expires_at is None else expires_at.timestamp())

    def _replace(self, **changes: Any) -> None:
        with self._lock:
            old, self.login = self.login, replace(self.login, **changes)
            self._past = (*self._past, self.login)[-3:]
            self._has_warned = False
            if self._keep is not None:
                try:
                    self._keep(old, self.login)
                except ConfigurationError as error:
                    # This client works all the same; the next program logs in again.
                    _log.warning("the renewed login could not be kept: %s", error)
