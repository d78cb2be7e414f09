"""What a program prints, beside what it is to print."""

from __future__ import annotations

import re


def matches(expected: str, actual: str) -> bool:
    """Whether a text is the expected one, in which `…` stands for any; white space around it does not count."""
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, actual.strip(), re.DOTALL) is not None
