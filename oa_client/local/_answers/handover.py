"""Hand calls over from other threads to the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Handover:
    """
    Carries out calls of any thread on the event loop, in their order.

    Waking the loop costs more than a call, so one wake-up serves all waiting calls.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._awake = False

    def __call__(self, call: Callable[[], None]) -> None:
        """Carry `call` out soon; never, if the loop is closed."""
        self._calls.append(call)
        if self._awake:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # the loop is closed, so nobody needs the call
            self._calls.clear()

    def _drain(self) -> None:
        # First of all, because a thread that appends from here on must wake the loop again.
        self._awake = False
        while self._calls:
            self._calls.popleft()()
