"""The server's clock, which a test can replace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

#: Seconds since 1970, as `time.time` gives them.
Clock = Callable[[], float]


def written(seconds: float) -> str:
    """Return a time as the server writes it: in UTC, but without an offset."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()


def age(written_time: str, seconds: float) -> float:
    """Return the seconds from a written time to another time."""
    return seconds - datetime.fromisoformat(written_time).replace(tzinfo=timezone.utc).timestamp()
