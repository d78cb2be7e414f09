"""What a command prints."""

from __future__ import annotations

import re

#: What a model writes is not trusted: control characters could rewrite the terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return a text without characters that control a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
