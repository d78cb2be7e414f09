"""Tokens, by which users prove their identity."""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass

from oa_client.local._storage.clock import Clock

#: of a secret that a user has chosen, so that nobody can guess it
LEAST_CHARACTERS = 32
LEAST_DIFFERENT = 8

# The characters that need no quotes in a header and a cookie.
_SECRET = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Token:
    """The contents of a token. Its kind is "access", "refresh" or "session"."""

    user_id: str
    kind: str
    expired: bool


class Tokens:
    """
    Makes tokens and reads them again.

    As on the real server, tokens are signed and not stored. So they take no room, and a token that expired long ago
    still differs from one that never existed.

    Args:
        key: the secret that makes them this server's.

    Attributes:
        trusted_key: the key of a client that may act for any user.
    """

    def __init__(self, key: bytes, clock: Clock = time.time) -> None:
        self._key = key
        self._clock = clock
        self.trusted_key = self._signature(b"trusted client")

    def make(self, user_id: str, kind: str, minutes: float | None) -> str:
        """Make a new token, valid for so many minutes, or without end for None."""
        expires = None if minutes is None else self._clock() + minutes * 60
        return self._signed(user_id, kind, expires, secrets.token_hex(8))

    def lasting(self, user_id: str, kind: str) -> str:
        """Make a token that never expires, and is the same every time."""
        return self._signed(user_id, kind, None, "")

    def read(self, token: bytes) -> Token | None:
        """Return the contents of a token, expired or not; None if it is not this server's."""
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
        ValueError: if it is short, made of few different characters, or has characters that a cookie cannot hold.
    """
    if len(secret) < LEAST_CHARACTERS or len(set(secret)) < LEAST_DIFFERENT or not _SECRET.fullmatch(secret):
        raise ValueError(
            f"the token must have at least {LEAST_CHARACTERS} characters, {LEAST_DIFFERENT} of them different, out of "
            'A-Z a-z 0-9 . _ ~ -; python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
        )
    return secret
