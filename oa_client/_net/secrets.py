"""The one place that removes credentials from foreign texts, which come from a server or a library below."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from oa_client._accounts.credentials import Credentials

MASK = "***"
#: characters; a shorter secret may be part of any word, so it is not hidden.
SHORTEST_SECRET = 8


class Secrets:
    """
    The strings that must never be shown.

    Args:
        known: the secrets that do not change.
        credentials: hold the others, which change when a login is renewed.
    """

    def __init__(self, known: frozenset[str], credentials: Credentials) -> None:
        self._known = known
        self._credentials = credentials

    def hide(self, text: str) -> str:
        """Return a text with its secrets hidden."""
        for form in self._forms():
            text = text.replace(form, MASK)
        return text

    def are_in(self, text: str) -> bool:
        """Return whether a text contains a secret."""
        return any(form in text for form in self._forms())

    def _forms(self) -> Iterator[str]:
        """Yield each secret as it is, in JSON and in a URL."""
        # The longest first: it may contain a shorter one.
        for secret in sorted(self._known | self._credentials.secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                yield from {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}
