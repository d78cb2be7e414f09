"""
One reply on its way from the threads that read it into the event loop.

The user's task opens it and waits for its items in the event loop. One thread at a time is at work on it: one of
anyio's opens it, and makes whatever call it needs later; the poller reads its body, if that can be done without
waiting, or else one of anyio's reads a piece of the body whenever the task has nothing left. While the task is busy or
gone, no thread waits for it: the reply is left as it is.

Which thread may call what:

- `open`, `fill`, `make_room` and `wait_for_end` are for the event loop.
- `stop` is for any thread, and for the garbage collector; `clean_up` for any thread.
- What `Readable` names is for whichever thread is at work on it.
- `items` is filled by that thread, and emptied in the event loop. `reply`, `error` and `ended` are set by that thread.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import anyio

from oa_client._async.loop import Loop, Loops
from oa_client._async.poller import Poller
from oa_client._calls.exchange import Exchange
from oa_client._calls.pause import Pause
from oa_client._calls.reply import Opening, Reply
from oa_client._calls.threads import NoThread
from oa_client._calls.turns import Turn
from oa_client._values.errors import OAError, TransportError
from oa_client._values.events import Event

#: items; how far to read ahead of a consumer that is busy.
READ_AHEAD = 1024
#: bytes; how far to read ahead since the consumer last had nothing left: items may be long.
READ_AHEAD_BYTES = 4 * 1024 * 1024
#: seconds. On one core, loop and thread would take turns every few tokens at full speed: a consumer that has just
#: waited for less than this rests for this long, so that the thread gets something done. Slower streams never rest.
REST = 0.001


class Feed:
    """
    One reply, and who is at work on it.

    The threads know the feed, and the feed not the `AsyncStream`: a stream that nobody holds any more can be found by
    the garbage collector while it is still read.

    Args:
        start: opens the reply; is given a function to be told of the exchange.
        poller: of the client.
        loops: of the client.
    """

    def __init__(self, start: Opening, poller: Poller[Feed], loops: Loops) -> None:
        self.items: deque[str | Event] = deque()
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._start = start
        self._poller = poller
        self._loops = loops
        self._loop: Loop | None = None
        self._exchange: Exchange | None = None
        self._steps: Generator[Turn, None, Reply] | None = None
        self._turn: Turn | None = None
        self._source: Generator[str | Event | Pause, None, None] | None = None
        self._is_polled = False
        self._stopped = False
        # What the reply needs to go on; None while a thread is at work on it, and at its end.
        self._needs: Pause | None = Pause.CALL
        # Re-entrant, as the garbage collector may stop a feed anywhere.
        self._lock = threading.RLock()
        self._bytes_limit = 0
        self._waiters: deque[Any] = deque()
        self._rested = 0.0

    # In the event loop.

    @property
    def was_opened(self) -> bool:
        """Whether a task has begun to open it."""
        return self._loop is not None

    def open(self) -> Awaitable[None]:
        """
        Open the reply, or wait until another task has; it may end instead.

        Raises:
            RuntimeError: if it was opened in another event loop, as all of these do.
        """
        if self._loop is None:
            self._loop = self._loops.here()
        return self._go_on_until(self._is_open)

    def fill(self) -> Awaitable[None]:
        """Have the reply read until there are items, or it has ended."""
        return self._go_on_until(self._has_items)

    def make_room(self) -> None:
        """Have it read on if that was stopped because the consumer was behind, and it is not so far now."""
        if self._needs is Pause.ROOM and self._has_room(READ_AHEAD // 2):
            self._resume()

    async def wait_for_end(self) -> None:
        """Wait until nobody is at work on a reply that was opened and stopped."""
        while not self.ended:
            await self._news(self._loop, self._has_ended)

    async def _go_on_until(self, is_enough: Callable[[], object]) -> None:
        loop = self._loop
        while not is_enough():
            needs = self._needs
            if needs is None:
                await self._news(loop, is_enough)
            elif needs is Pause.ROOM:
                self._resume()
            elif needs is Pause.TURN and await self._is_waiting(loop):
                continue
            else:
                await self._call(loop, needs)

    async def _news(self, loop: Loop | None, is_enough: Callable[[], object]) -> None:
        """Wait until the thread at work tells something."""
        assert loop is not None  # noqa: S101 - it was opened
        loop.check()
        started = monotonic()
        if started - self._rested < REST:
            await anyio.sleep(REST)
        waiter = loop.new_waiter()
        self._waiters.append(waiter)
        # What came before the thread could see the waiter.
        if not is_enough() and self._needs is None:
            await waiter
        now = monotonic()
        self._rested = now if now - started < REST else 0.0

    async def _is_waiting(self, loop: Loop | None) -> bool:
        """Wait until the turn of the reply may have come; False if that is so already. No thread waits for it."""
        assert loop is not None  # noqa: S101 - it was opened
        loop.check()
        turn = self._turn
        due = 0.0 if turn is None else turn.due
        if due <= monotonic():
            return False
        waiter = loop.new_waiter()
        self._waiters.append(waiter)
        # It may have been told before it could see the waiter.
        if self._needs is Pause.TURN and turn is not None and turn.due >= due:
            with anyio.move_on_after(due - monotonic()):
                await waiter
        return True

    async def _call(self, loop: Loop | None, needs: Pause) -> None:
        """Have a thread do what the reply needs, and wait until it is done."""
        assert loop is not None  # noqa: S101 - it was opened
        loop.check()
        limiter = loop.endings
        if self._source is None:
            limiter = loop.openings
        elif needs is Pause.BYTES:
            limiter = loop.pieces
        try:
            await loop.run(limiter, partial(self._work, needs))
        except NoThread as error:
            if self._take():
                self._break_off(error)

    def _is_open(self) -> bool:
        return self.reply is not None or self.ended

    def _has_items(self) -> bool:
        return bool(self.items) or self.ended

    def _has_ended(self) -> bool:
        return self.ended

    # From any thread.

    def stop(self) -> None:
        """End the reply, from any thread. Waits for nothing, starts nothing."""
        if not self._poller.process.is_this:
            return
        with self._lock:
            self._stopped = True
            exchange = self._exchange
        if exchange is not None and not self.ended:
            exchange.stop()
        if self.was_opened and self._take():
            # Nobody else would notice.
            if self._source is None and exchange is not None:
                self.error = exchange.closed_meanwhile()
            self._end()
            wake([self])

    def clean_up(self) -> None:
        """Have the chat of a reply that was stopped seen to, in the background."""
        if self._exchange is not None:
            self._exchange.clean_up()

    # In the thread at work.

    def _work(self, needs: Pause) -> None:
        """Do what the reply needs, in a thread that may wait for it."""
        if not self._take():
            return
        if self._source is None:
            self._open()
        else:
            self.settle(self.advance(needs))
        wake([self])

    def _open(self) -> None:
        try:
            if self._steps is None:
                self._steps = self._start(self._note)
            turn = next(self._steps)
        except StopIteration as end:
            self._turn, self.reply = None, end.value
        except BaseException as error:
            self.error = error
            self.ended = True
        else:
            turn.on_ring = partial(wake, [self])
            self._turn = turn
            self.settle(Pause.TURN)
        if self.reply is None:
            return
        self._is_polled = self.reply.is_direct and self._poller.reserve()
        self._source = self.reply.read(waits=not self._is_polled, in_pieces=not self._is_polled)
        # A short reply may be there already. A piece may yet have to be waited for, and not in one of these threads.
        self.settle(self.advance() if self._is_polled else Pause.BYTES)

    def _note(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchange = exchange
            stopped = self._stopped
        if stopped:
            exchange.stop()

    @property
    def due(self) -> float:
        """As `Readable`."""
        return self.reply.due if self.reply is not None else math.inf

    def before_close(self, function: Callable[[], object] | None) -> None:
        """As `Readable`."""
        if self.reply is not None:
            self.reply.before_close(function)

    def fileno(self) -> int:
        """As `Readable`."""
        assert self.reply is not None  # noqa: S101 - it is polled
        return self.reply.fileno()

    def advance(self, allowed: Pause | None = None) -> Pause | None:
        """As `Readable`; `allowed`: what this thread may wait for, until there are items."""
        items, source, reply = self.items, self._source, self.reply
        assert source is not None  # noqa: S101 - the reply is open
        assert reply is not None  # noqa: S101 - it was opened
        if not items:
            self._bytes_limit = reply.received + READ_AHEAD_BYTES
        try:
            if not self._stopped:
                for item in source:
                    if type(item) is not str and isinstance(item, Pause):
                        if items or item is not allowed:
                            return item
                        continue
                    items.append(item)
                    if allowed is None and (len(items) >= READ_AHEAD or reply.received > self._bytes_limit):
                        return Pause.ROOM
        except BaseException as error:
            self.error = error
        self._end()
        return None

    def settle(self, pause: Pause | None) -> None:
        """As `Readable`."""
        if pause is Pause.BYTES and self._is_polled:
            self._poll()
        elif pause is not None:
            self._needs = pause
            if self._stopped:
                # stop() came before it could see that.
                self.stop()
            elif pause is Pause.ROOM and self._has_room(READ_AHEAD - 1):
                # The consumer has taken all of it before it could see that.
                self._resume()

    def fail(self, error: BaseException) -> None:
        """As `Readable`."""
        self.error = error
        self._end()

    # Inside.

    def _take(self) -> bool:
        """Become the one who is at work on a reply, if nobody is."""
        with self._lock:
            needs, self._needs = self._needs, None
            return needs is not None

    def _resume(self) -> None:
        if self._take():
            self._poll()

    def _poll(self) -> None:
        try:
            self._poller.read(self)
        except (RuntimeError, OSError) as error:
            # No thread can be started, or there are too many open files.
            problem = TransportError(f"the reply cannot be read on: {error}")
            problem.__cause__ = error
            self._break_off(problem)

    def _break_off(self, error: OAError) -> None:
        if self._exchange is not None:
            self._exchange.describe(error, self.reply.text if self.reply is not None else "")
        self.fail(error)
        wake([self])

    def _has_room(self, count: int) -> bool:
        """Whether the consumer has no more items left than that, nor too many bytes."""
        reply = self.reply
        is_long = reply is not None and reply.received > self._bytes_limit
        return not self.items or (not is_long and len(self.items) <= count)

    def _end(self) -> None:
        for steps in (self._steps, self._source):
            try:
                if steps is not None:
                    steps.close()
            except BaseException as error:
                self.error = self.error or error
        if self.reply is not None:
            # A generator that has not begun closes nothing.
            self.reply.release()
        if self._is_polled:
            self._is_polled = False
            self._poller.release()
        self.ended = True


def wake(feeds: Sequence[Feed]) -> None:
    """
    Wake each who waits for one of the feeds, with one call for all of an event loop; from any thread.

    Whoever is woken looks again for itself, and comes back if there is nothing for it.
    """
    loops: dict[Loop, tuple[list[Feed], list[Any]]] = {}
    for feed in feeds:
        waiters = feed._waiters
        if waiters and feed._loop is not None:
            there, waiting = loops.setdefault(feed._loop, ([], []))
            there.append(feed)
            with suppress(IndexError):
                # Another thread may take some.
                while True:
                    waiting.append(waiters.popleft())
    for loop, (there, waiting) in loops.items():
        try:
            loop.set(waiting)
        except RuntimeError:
            # The event loop is over.
            for feed in there:
                feed.stop()
