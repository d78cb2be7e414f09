"""How long a reply may keep its reader waiting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from oa_client._values.errors import Phase, TransportTimeout
from oa_client._values.timeout import Timeout

#: seconds
FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0


class Clock:
    """
    Counts down while a reply keeps its reader waiting; the time that the consumer takes is not counted.

    Attributes:
        phase: "first_token" until `token()`, then "idle".
        phase_left: seconds that may yet be waited in this phase; infinite if there is no limit, and before `ask()`.
        total_left: seconds that may yet be waited for the whole reply; infinite if there is no limit.
    """

    __slots__ = ("_timeout", "idle", "phase", "phase_left", "total_left")

    def __init__(self, timeout: Timeout) -> None:
        self._timeout = timeout
        self.phase: Phase = "first_token"
        self.idle = _limit(timeout.idle)
        self.total_left = _limit(timeout.total)
        self.phase_left = math.inf

    @property
    def left(self) -> float:
        """Seconds until the first of the two limits; infinite if there is none."""
        return min(self.phase_left, self.total_left)

    def ask(self) -> None:
        """Start to count for the first token: the assistant message is asked for."""
        self.phase_left = _limit(self._timeout.first_token)

    def token(self) -> None:
        """Start to count between events: the first token came."""
        self.phase = "idle"
        self.phase_left = self.idle

    def event(self) -> None:
        """Start the count between events again; before the first token an event changes nothing."""
        if self.phase == "idle":
            self.phase_left = self.idle

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside."""
        started = monotonic()
        try:
            yield
        finally:
            self.spend(monotonic() - started)

    def spend(self, seconds: float) -> None:
        """Count seconds that were waited."""
        self.phase_left -= seconds
        self.total_left -= seconds

    def check(self) -> None:
        """
        Look at the limits.

        Raises:
            TransportTimeout: if one is passed.
        """
        if self.left > 0:
            return
        phase = "total" if self.total_left <= 0 else self.phase
        seconds = getattr(self._timeout, phase)
        raise TransportTimeout(f"{_WHAT[phase]} {seconds:g} s; Timeout.{phase} is the limit", phase=phase)


def growing_pause(count: int, first: float, last: float) -> float:
    """Return the seconds to wait after so many pauses: the first, then twice as long each time, at most the last."""
    # A power that grows without end would be too large for a float.
    return min(first * 2.0 ** min(count, 16), last)


def pauses(first: float | None = None, last: float = LAST_PAUSE) -> Iterator[float]:
    """Yield the seconds to wait between looks at a message: short at first, for idle servers."""
    shortest = FIRST_PAUSE if first is None else first
    return (growing_pause(count, shortest, last) for count in itertools.count())


_WHAT = {
    "first_token": "no token came in",
    "idle": "nothing but pings came in",
    "total": "the reply was not complete in",
}


def _limit(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
