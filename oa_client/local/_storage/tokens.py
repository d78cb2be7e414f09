"""Tokens: what a user shows to prove who they are."""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass

from oa_client.local._storage.clock import Clock

LEAST_CHARACTERS = 32  # of a secret that a user has thought of, so that it cannot be found by trying
LEAST_DIFFERENT = 8

# It stands in a header and in a cookie, where others would have to be quoted.
_SECRET = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Token:
    """What a token says. Its kind is "access", "refresh" or "session"."""

    user_id: str
    kind: str
    expired: bool


class Tokens:
    """
    Makes tokens and reads them again.

    A token is signed rather than remembered, as on the real server: none is forgotten, so that one
    long expired is still told from one that never was, and no number of them takes any room.

    Args:
        key: the secret that makes them this server's.

    Attributes:
        trusted_key: what stands for a client that may act for any user.
    """

    def __init__(self, key: bytes, clock: Clock = time.time) -> None:
        self._key = key
        self._clock = clock
        self.trusted_key = self._signature(b"trusted client")

    def make(self, user_id: str, kind: str, minutes: float | None) -> str:
        """Make a token, no two alike, that is good for so many minutes, None being for ever."""
        expires = None if minutes is None else self._clock() + minutes * 60
        return self._signed(user_id, kind, expires, secrets.token_hex(8))

    def lasting(self, user_id: str, kind: str) -> str:
        """Make a token that is good for ever, and the same every time."""
        return self._signed(user_id, kind, None, "")

    def read(self, token: bytes) -> Token | None:
        """What a token says, expired or not; None if it is none of this server's."""
        text, _, signature = token.partition(b".")
        if not hmac.compare_digest(signature, self._signature(text).encode()):
            return None
        user_id, kind, expires, _ = json.loads(base64.urlsafe_b64decode(text + b"=="))
        return Token(user_id, kind, expires is not None and self._clock() >= expires)

    def _signed(self, *fields: str | float | None) -> str:
        content = json.dumps(fields)
        text = base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")
        return f"{text}.{self._signature(text.encode())}"

    def _signature(self, text: bytes) -> str:
        return hmac.digest(self._key, text, "sha256").hex()


def checked_secret(secret: str) -> str:
    """
    A secret of the user's own.

    Raises:
        ValueError: if it is short, made of few characters, or has others than can stand in a cookie.
    """
    if len(secret) < LEAST_CHARACTERS or len(set(secret)) < LEAST_DIFFERENT or not _SECRET.fullmatch(secret):
        raise ValueError(
            f"the token must have at least {LEAST_CHARACTERS} characters, {LEAST_DIFFERENT} of them different, out of "
            'A-Z a-z 0-9 . _ ~ -; python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
        )
    return secret
