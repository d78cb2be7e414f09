"""What time it is, for everything that has to know; a test may say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], float]
"""Seconds since 1970, as `time.time` gives them."""


def written(seconds: float) -> str:
    """A time as the server writes it: UTC, but without saying so."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()


def age(written_time: str, seconds: float) -> float:
    """The seconds that have passed between a written time and another one."""
    return seconds - datetime.fromisoformat(written_time).replace(tzinfo=timezone.utc).timestamp()
