"""Codes that sign somebody in once: what an address may hold that stays in terminals and histories."""

from __future__ import annotations

import secrets
import threading
import time

CODE_MINUTES = 10
MOST_CODES = 64  # that wait to be used; the oldest gives way


class Codes:
    """Makes codes of 128 random bits, each good once and for `CODE_MINUTES`. From any thread."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}  # on the monotonic clock; in the order of their making
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
        """Use a code up; whether it was good."""
        with self._lock:
            return self._expiry.pop(code, 0.0) > time.monotonic()
