"""How the items of a reply come from the threads that read it to the event loop."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

import anyio

from oa_client._async.loop import Loop
from oa_client._async.poller import Poller
from oa_client._calls.exchange import Exchange
from oa_client._calls.reply import Opening, Pause, Reply
from oa_client._calls.turns import Turn
from oa_client._calls.workers import Workers
from oa_client._values.errors import OAError, TransportError
from oa_client._values.events import Event
from oa_client._values.fork import forget_in_children

#: items; how far to read ahead of a consumer that is busy.
READ_AHEAD = 1024
#: bytes; likewise, of what has come since the consumer had nothing left: items may be long.
READ_AHEAD_BYTES = 4 * 1024 * 1024
#: seconds. On one core, loop and thread would take turns every few tokens at full speed: a consumer that has just
#: waited for less than this rests for this long, so that the thread gets something done. Slower streams never rest.
REST = 0.001


class Feed:
    """
    One reply, and who reads it: a thread, the poller, or nobody.

    A thread of its own opens the reply, and makes whatever call it needs later; it does not wait for the reply's turn.
    What lies between is the poller's, if the body can be read without waiting, else the thread's as well. Nobody reads
    while the consumer is behind.

    The readers know the feed, and the feed not the `AsyncStream`: a stream that nobody holds any more can be found by
    the garbage collector while it is still read.

    Args:
        start: opens the reply; is given a function to be told of the exchange.
        poller: of the client.
        workers: of the client.
    """

    def __init__(self, start: Opening, poller: Poller[Feed], workers: Workers) -> None:
        self.items: deque[str | Event] = deque()
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._start = start
        self._poller = poller
        self._workers = workers
        self._exchange: Exchange | None = None
        self._steps: Generator[Turn, None, Reply] | None = None
        self._turn: Turn | None = None
        self._source: Generator[str | Event | Pause, None, None] | None = None
        self._is_polled = False
        self._stopped = False
        # Re-entrant, as the garbage collector may stop a feed anywhere.
        self._lock = threading.RLock()
        self._is_parked = False
        self._bytes_limit = 0
        self._waiters: list[Any] = []
        self._loop: Loop | None = None
        self._rested = 0.0
        forget_in_children(self)

    # For the consumer, in the event loop.

    async def open(self) -> None:
        """Wait until the reply is open or has ended; the first to call it opens it, for this event loop."""
        if self._loop is None:
            self._loop = Loop()
            self._start_thread()
        while self.reply is None and not self.ended:
            due = self._turn_due
            left = due - monotonic()
            if left > 0:
                with anyio.move_on_after(left):
                    await self.wait(lambda: self.reply or self.ended or self._turn_due < due)  # noqa: B023 - awaited
            elif self._take_over():
                self._start_thread()

    @property
    def _turn_due(self) -> float:
        """When to go on with opening, in seconds on the monotonic clock; infinite if it does not wait for its turn."""
        turn = self._turn
        return turn.due if self._is_parked and turn is not None else math.inf

    @property
    def launched(self) -> bool:
        """Whether `open()` was called."""
        return self._loop is not None

    async def wait(self, until: Callable[[], object]) -> None:
        """
        Wait until something is true; it is looked at whenever there is news and somebody waits.

        Raises:
            RuntimeError: if `open()` was called in another event loop.
        """
        loop = self._loop
        assert loop is not None  # noqa: S101 - it was opened
        while not until():
            loop.check()
            started = monotonic()
            if started - self._rested < REST:
                await anyio.sleep(REST)
            waiter = loop.new_waiter()
            with self._lock:
                self._waiters.append(waiter)
            # News that came before the reader could see the waiter.
            if not until():
                await waiter
            now = monotonic()
            self._rested = now if now - started < REST else 0.0

    def make_room(self) -> None:
        """Have it read on if that was stopped because the consumer was behind, and it is not so far now."""
        if self._is_parked and self._has_room(READ_AHEAD // 2) and self._take_over():
            self._read_on()

    # For whoever ends it.

    def stop(self) -> None:
        """End the reply, from any thread. Waits for nothing, starts nothing."""
        with self._lock:
            self._stopped = True
            exchange = self._exchange
        if exchange is not None and not self.ended:
            exchange.stop()
        if self._take_over():
            # Nobody is at it, so nobody would notice.
            self._end_parked()

    def clean_up(self) -> None:
        """Have the chat of a reply that was stopped seen to, in the background."""
        if self._exchange is not None:
            self._exchange.clean_up()

    def _forget(self) -> None:
        """End, and leave the reply to the parent; see `Forgetful`."""
        self._lock = threading.RLock()
        self._stopped = self.ended = True
        self._is_parked = self._is_polled = False
        # The parent's selector is the same below: what is taken off it here, the parent would not hear of again.
        self.before_close(None)
        self._source = None

    # For the poller.

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

    def advance(self, in_thread: bool = False) -> Pause | None:
        """As `Readable`; `in_thread`: in a thread of its own, which may wait for calls."""
        items, source, reply = self.items, self._source, self.reply
        assert source is not None  # noqa: S101 - the reply is open
        assert reply is not None  # noqa: S101 - likewise
        if not items:
            self._bytes_limit = reply.received + READ_AHEAD_BYTES
        try:
            if not self._stopped:
                for item in source:
                    if type(item) is not str and isinstance(item, Pause):
                        if not in_thread or item is Pause.BYTES:
                            return item
                        continue
                    items.append(item)
                    if in_thread and self._waiters:
                        wake([self])
                    if len(items) >= READ_AHEAD or reply.received > self._bytes_limit:
                        return Pause.ROOM
        except BaseException as error:
            self.error = error
        self._end()
        return None

    def settle(self, pause: Pause | None) -> None:
        """As `Readable`."""
        try:
            if pause is Pause.BYTES:
                self._poller.read(self)
            elif pause is Pause.CALL:
                self._start_thread()
        except (RuntimeError, OSError) as error:
            # No thread can be started, or there are too many open files.
            problem = TransportError(f"the reply cannot be read on: {error}")
            problem.__cause__ = error
            self._break_off(problem)
        if pause is Pause.ROOM:
            self._is_parked = True
            # The consumer may have taken all of it, or have gone, before it could see that.
            if (self._stopped or self._has_room(READ_AHEAD - 1)) and self._take_over():
                self._read_on()

    def fail(self, error: BaseException) -> None:
        """As `Readable`."""
        self.error = error
        self._end()

    # Inside.

    def _has_room(self, count: int) -> bool:
        """Whether the consumer has no more items left than that, nor too many bytes."""
        reply = self.reply
        is_long = reply is not None and reply.received > self._bytes_limit
        return not self.items or (not is_long and len(self.items) <= count)

    def _take_over(self) -> bool:
        """Become the one who may go on with a reply that nobody reads."""
        with self._lock:
            was_full, self._is_parked = self._is_parked, False
            return was_full

    def _read_on(self) -> None:
        self.settle(Pause.BYTES if self._is_polled else Pause.CALL)

    def _start_thread(self) -> None:
        result: Future[None] = Future()
        result.add_done_callback(self._see)
        self._workers.run(self._run, result)

    def _see(self, result: Future[None]) -> None:
        error = result.exception()
        if error is not None:
            # No thread can be started.
            self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        if self._exchange is not None and isinstance(error, OAError):
            self._exchange.describe(error, self.reply.text if self.reply is not None else "")
        self.fail(error)
        wake([self])

    def _run(self) -> None:
        if self._source is None:
            try:
                self._open_on()
            except BaseException as error:
                self.error = error
                self.ended = True
            wake([self])
        if self._source is not None:
            pause = self.advance(in_thread=True)
            wake([self])
            self.settle(pause)

    def _open_on(self) -> None:
        """Open the reply, or leave it alone until its turn may have come."""
        if self._steps is None:
            self._steps = self._start(self._note)
        try:
            turn = next(self._steps)
        except StopIteration as end:
            reply: Reply = end.value
            self._is_polled = reply.is_direct and self._poller.reserve()
            self._source = reply.read(waits=not self._is_polled)
            self._turn, self.reply = None, reply
            return
        turn.on_ring = partial(wake, [self])
        self._turn, self._is_parked = turn, True
        # Whoever stops it may have come before it could see that.
        if self._stopped and self._take_over():
            self._end_parked()

    def _end_parked(self) -> None:
        if self._source is None and self._exchange is not None:
            self.error = self._exchange.closed_meanwhile()
        self._end()
        wake([self])

    def _note(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchange = exchange
            stopped = self._stopped
        if stopped:
            exchange.stop()

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
    Wake each who waits for one of the feeds, with one call for all of an event loop.

    Whoever is woken looks again for itself, and comes back if there is nothing for it.
    """
    loops: dict[Loop, tuple[list[Feed], list[Any]]] = {}
    for feed in feeds:
        with feed._lock:
            waiters, feed._waiters = feed._waiters, []
        if waiters and feed._loop is not None:
            there, waiting = loops.setdefault(feed._loop, ([], []))
            there.append(feed)
            waiting.extend(waiters)
    for loop, (there, waiting) in loops.items():
        try:
            loop.set(waiting)
        except RuntimeError:
            # The event loop is over.
            for feed in there:
                feed.stop()
