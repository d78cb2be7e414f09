"""Codes that sign in once, so that an address with one may stay in terminals and histories."""

from __future__ import annotations

import secrets
import threading
import time

CODE_MINUTES = 10
#: codes that wait to be used; a new one replaces the oldest
MOST_CODES = 64


class Codes:
    """Makes codes of 128 random bits, each valid once and for `CODE_MINUTES`. Any thread may use it."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}  # ends, on the monotonic clock; the oldest first
        self._lock = threading.Lock()

    def make(self) -> str:
        """Make a code."""
        code = secrets.token_urlsafe(16)
        with self._lock:
            now = time.monotonic()
            good = [(known, expires) for known, expires in self._expiry.items() if expires > now]
            self._expiry = {**dict(good[1 - MOST_CODES :]), code: now + CODE_MINUTES * 60}
        return code

    def take(self, code: str) -> bool:
        """Use a code up, and return whether it was valid."""
        with self._lock:
            return self._expiry.pop(code, 0.0) > time.monotonic()
