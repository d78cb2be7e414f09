"""
One pending answer at a time.

A second assistant message of an account cancels the first while that one is still pending, in whatever chat, and the
first stream is not told. So a client asks for an answer only when none of its own is pending. Those who wait stand in a
queue. One of them looks at the pending message for all, as the stream that it belongs to may have no reader. A message
that is still pending when its own first-token limit has passed keeps nobody any longer: the server may have lost it.

Whoever waits may do so without a thread: `Turn.come` is a generator, which says when to go on with it.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from time import monotonic
from typing import NamedTuple, TypeVar

from oa_client._calls.clock import FIRST_PAUSE, pauses
from oa_client._calls.exchange import LATE_LIMIT, Exchange
from oa_client._net.interrupt import Interrupted
from oa_client._values.errors import APIError, OAError
from oa_client._wire.surface import is_gone

#: seconds between two looks, at most.
LONGEST_PAUSE = 1.0
#: seconds that a thread waits at a stretch: Windows tells it of Ctrl-C only in between.
STRETCH = 1.0

_T = TypeVar("_T")


class _Pending(NamedTuple):
    """The message that is pending, and until when it keeps others, in seconds on the monotonic clock."""

    chat_id: str
    message_id: str
    until: float


class Turns:
    """
    The queue of those who want to ask for an answer, and the message of this client that is pending.

    Nobody relies on being told: what holds is what the attributes say, and each who waits looks at them again.
    """

    def __init__(self) -> None:
        # Re-entrant, as the garbage collector may end a turn anywhere.
        self._lock = threading.RLock()
        # The first asks first. Whoever asks stays in it meanwhile.
        self._queue: OrderedDict[Turn, None] = OrderedDict()
        self._asking: Turn | None = None
        self._looker: Turn | None = None
        self._pending: _Pending | None = None
        self._pauses = pauses(last=LONGEST_PAUSE)
        self._look_at = 0.0

    @contextlib.contextmanager
    def turn(self, exchange: Exchange) -> Iterator[Turn]:
        """Let an exchange stand in the queue, from `Turn.come` until this is left."""
        turn = Turn(self, exchange)
        try:
            yield turn
        finally:
            # Ctrl-C may have come anywhere above, and may come with the first call below.
            if turn in self._queue:
                del self._queue[turn]
            self._settle()

    def begin(self, chat_id: str, message_id: str, limit: float | None) -> None:
        """Note a message that was asked for, and the seconds for which it keeps others at most."""
        with self._lock:
            now = monotonic()
            self._pauses = pauses(last=LONGEST_PAUSE)
            self._look_at = now + next(self._pauses)
            self._pending = _Pending(chat_id, message_id, now + (math.inf if limit is None else limit))
            looker = self._looker
        if looker is not None:
            looker.ring()

    def end(self, message_id: str) -> None:
        """Note that a message is no longer pending; cheap if that is known."""
        if self._pending is None or self._pending.message_id != message_id:
            return
        with self._lock:
            if self._pending is not None and self._pending.message_id == message_id:
                self._pending = None
        self._settle()

    def _settle(self, own: Turn | None = None) -> bool:
        """See whose turn it is and who looks, tell them, and return whether it is the turn of `own`."""
        called: list[Turn] = []
        with self._lock:
            now = monotonic()
            if self._pending is not None and self._pending.until <= now:
                self._pending = None
            if self._asking not in self._queue:
                self._asking = None
            if self._asking is None and self._pending is None:
                for turn in list(self._queue):
                    # Whoever is looking has no time for it.
                    if not turn.is_looking:
                        self._asking = turn
                        called.append(turn)
                        break
            if self._looker not in self._queue or self._looker is self._asking:
                self._looker = None
                # The last one, as it waits the longest.
                for turn in list(self._queue)[-2:]:
                    if turn is not self._asking:
                        self._looker = turn
                if self._looker is not None:
                    self._look_at = max(self._look_at, now + FIRST_PAUSE)
                    called.append(self._looker)
            has_turn = own is not None and self._asking is own
        for turn in called:
            if turn is not own:
                turn.ring()
        return has_turn

    def _pick(self, turn: Turn) -> _Pending | None:
        """Return the message that a turn is to look at now, if any, and count that as a look."""
        with self._lock:
            now = monotonic()
            if self._looker is not turn or self._pending is None or now < self._look_at:
                return None
            self._look_at = now + next(self._pauses)
            return self._pending

    def _due(self, turn: Turn) -> float:
        """Return when a turn has something to do, in seconds on the monotonic clock."""
        if self._asking is turn:
            return 0.0
        if self._looker is not turn:
            return math.inf
        pending = self._pending
        if pending is not None:
            return min(self._look_at, pending.until)
        # Somebody asks, or was interrupted in the middle of leaving.
        return math.inf if self._asking in self._queue else 0.0


class Turn:
    """
    One exchange in the queue; made by `Turns.turn`.

    Attributes:
        is_looking: whether it waits for an answer about the pending message.
        on_ring: called, from any thread, when `due` may have changed.
    """

    def __init__(self, turns: Turns, exchange: Exchange) -> None:
        self.is_looking = False
        self.on_ring: Callable[[], object] | None = None
        self._turns = turns
        self._exchange = exchange
        self._limit = math.inf
        # Its put() is re-entrant, unlike an Event, and the garbage collector may ring.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def come(self) -> Generator[Turn, None, None]:
        """
        Wait until nobody asks and nothing is pending; others then wait until `Turns.turn` is left.

        The wait is bounded by the first-token limit of the exchange. Yields when it has to wait: go on with it when
        `due` has come, or earlier.

        Raises:
            TransportTimeout: if the limit is passed.
            Interrupted: if the exchange is stopped.
        """
        turns, exchange = self._turns, self._exchange
        clock = exchange.clock
        clock.ask()
        turns._queue[self] = None
        while not turns._settle(self):
            pending = turns._pick(self)
            if pending is not None:
                self._look(pending)
            else:
                self._limit = monotonic() + clock.left
                exchange.interrupt.attach(self)
                exchange.thread = None
                try:
                    with clock.waiting():
                        yield self
                finally:
                    exchange.thread = threading.get_ident()
                    exchange.interrupt.detach()
                if exchange.life.is_left:
                    raise Interrupted("interrupted while another reply of this client was pending")
            clock.check()

    @property
    def due(self) -> float:
        """When to go on, in seconds on the monotonic clock; infinite if only `ring` can tell."""
        return 0.0 if self._exchange.life.is_left else min(self._limit, self._turns._due(self))

    def wait(self) -> None:
        """Wait, in this thread, until it is to go on, or for a while."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=min(max(self.due - monotonic(), 0.0), STRETCH))

    def ring(self) -> None:
        """Wake the thread or task that waits, so that it looks at `due` again; from anywhere. Waits for nothing."""
        self._bell.put(None)
        if self.on_ring is not None:
            self.on_ring()

    def shutdown(self, _how: int = 0) -> None:
        """Ring: what an interrupt does to a socket."""
        self.ring()

    def _look(self, pending: _Pending) -> None:
        exchange = self._exchange
        limit = max(0.001, min(LATE_LIMIT, pending.until - monotonic(), exchange.clock.left))
        self.is_looking = True
        try:
            try:
                message = exchange.send_late(exchange.surface.get_message(pending.chat_id, pending.message_id), limit)
                is_over = message.state != "pending"
            except APIError:
                is_over = is_gone(exchange.surface, pending.chat_id, exchange.send_late)
        except Interrupted:
            raise
        except OAError:
            # The trouble of another reply; the wait is bounded.
            return
        finally:
            self.is_looking = False
        if is_over:
            self._turns.end(pending.message_id)


def wait_through(steps: Generator[Turn, None, _T]) -> _T:
    """Go through steps, waiting in this thread where they wait for a turn, and return their result."""
    try:
        while True:
            next(steps).wait()
    except StopIteration as end:
        result: _T = end.value
        return result
    except BaseException as error:
        if inspect.getgeneratorstate(steps) == inspect.GEN_SUSPENDED:
            # Ctrl-C, while they wait: they see to what has to be left.
            steps.throw(error)
        raise
