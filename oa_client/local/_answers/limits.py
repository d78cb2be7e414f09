"""How often a user may ask for an answer."""

from __future__ import annotations

from oa_client.local._settings import Settings
from oa_client.local._storage.clock import Clock
from oa_client.local._surfaces.refusals import BreakdownError

EXTRA_SECONDS = 60  # that the real server's limiter adds to what is set


class RateLimit:
    """
    Counts requests, by user, in windows that begin with their first one.

    It is kept in memory: a restart forgets it, as that of the real server's Redis does.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._limit = settings.rate_limit
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}  # when it ends, and how many came, by user

    def count(self, user_id: str) -> None:
        """
        Count a request, whatever becomes of it.

        Raises:
            BreakdownError: if it is one too many. The real server means to answer 429, but crashes.
        """
        if self._limit is None:
            return
        times, seconds = self._limit
        now = self._clock()
        ends, count = self._windows.get(user_id, (now, 0))
        if now >= ends:
            ends, count = now + seconds + EXTRA_SECONDS, 0
        if count >= times:
            raise BreakdownError(empty=False)
        self._windows[user_id] = ends, count + 1
