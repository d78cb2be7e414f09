"""The one place that takes credentials out of texts that come from outside: from a server, or a library below."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from oa_client._accounts.credentials import Credentials

MASK = "***"
#: characters; a shorter secret may be part of any word, and is not looked for.
SHORTEST_SECRET = 8


class Secrets:
    """
    The strings that no text may show.

    Args:
        known: those that stay the same.
        credentials: have the others, which change when a login is renewed.
    """

    def __init__(self, known: frozenset[str], credentials: Credentials) -> None:
        self._known = known
        self._credentials = credentials

    def hide(self, text: str) -> str:
        """Return a text without the secrets that it repeats."""
        for form in self._forms():
            text = text.replace(form, MASK)
        return text

    def are_in(self, text: str) -> bool:
        """Whether a text repeats a secret."""
        return any(form in text for form in self._forms())

    def _forms(self) -> Iterator[str]:
        """Yield each secret as it is, in JSON and in a URL."""
        # The longest first: it may begin like a shorter one.
        for secret in sorted(self._known | self._credentials.secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                yield from {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}
