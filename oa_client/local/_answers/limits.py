"""How often a user may ask for an answer."""

from __future__ import annotations

from oa_client.local._settings import Settings
from oa_client.local._storage.clock import Clock
from oa_client.local._surfaces.refusals import BreakdownError

#: seconds that the real server's limiter adds to the setting
EXTRA_SECONDS = 60


class RequestLimit:
    """
    Counts requests, by user, in windows that begin with their first one.

    A restart forgets them, as on the real server, which keeps them in Redis.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._limit = settings.rate_limit
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}  # by user: the end of the window, and the number of requests

    def count(self, user_id: str) -> None:
        """
        Count a request, whether or not it succeeds.

        Raises:
            BreakdownError: if it exceeds the limit. The real server means to answer 429, but crashes.
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
