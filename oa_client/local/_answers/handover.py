"""The way from other threads to the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Handover:
    """
    Calls made in any thread and carried out on the event loop, in their order.

    Waking the loop costs more than the call, so one wake-up serves all that have gathered.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._awake = False

    def __call__(self, call: Callable[[], None]) -> None:
        """Have `call` carried out soon; never, if the loop is closed."""
        self._calls.append(call)
        if self._awake:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # closed: nobody is left to hear it
            self._calls.clear()

    def _drain(self) -> None:
        # First of all: whoever appends from here on has to wake the loop again.
        self._awake = False
        while self._calls:
            self._calls.popleft()()
