"""
One pending answer at a time.

A second assistant message of an account cancels the first while that one is still pending, in whatever chat, and the
first stream is not told. So a client asks for an answer only when none of its own is pending. Whoever waits looks at
the pending message itself: the stream it belongs to may have no reader. A message that is still pending when its own
first-token limit has passed keeps nobody any longer, else one that the server has lost would keep all for ever.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from oa_client._calls.clock import pauses
from oa_client._calls.exchange import Exchange
from oa_client._net.interrupt import Interrupt, Interrupted
from oa_client._values.errors import APIError, OAError
from oa_client._wire.surface import is_gone


class Turns:
    """The pending messages of a client, by id, with the chat of each and when it keeps nobody any longer."""

    def __init__(self) -> None:
        # Re-entrant, as an interrupt may be fired by the garbage collector.
        self._lock = threading.RLock()
        # As in `Interrupt`, nobody says `with self._changed`.
        self._changed = threading.Condition(self._lock)
        self._pending: dict[str, tuple[str, float]] = {}
        self._asking: Exchange | None = None

    @contextmanager
    def turn(self, exchange: Exchange) -> Iterator[None]:
        """
        Wait until nobody asks and nothing is pending, and keep others from asking meanwhile.

        The wait is bounded by the first-token limit of the exchange.

        Raises:
            TransportTimeout: if the limit is passed.
            Interrupted: if the exchange is stopped.
        """
        clock = exchange.clock
        clock.ask()
        growing = pauses()
        try:
            while not self._enter(exchange):
                with clock.waiting():
                    self._wait(exchange.interrupt, min(next(growing), clock.left))
                if exchange.stopped:
                    raise Interrupted("interrupted while another reply of this client was pending")
                for message_id, (chat_id, _) in list(self._pending.items()):
                    self._look(exchange, chat_id, message_id)
                clock.check()
            yield
        finally:
            # Ctrl-C may have come anywhere above, and may come below.
            if self._asking is exchange:
                self._asking = None
                with self._lock:
                    self._changed.notify_all()

    def _look(self, exchange: Exchange, chat_id: str, message_id: str) -> None:
        try:
            try:
                message = exchange.send_late(exchange.surface.get_message(chat_id, message_id))
                is_over = message.state != "pending"
            except APIError:
                is_over = is_gone(exchange.surface, chat_id, exchange.send_late)
        except Interrupted:
            raise
        except OAError:
            # The trouble of another reply; the wait is bounded.
            return
        if is_over:
            self.end(message_id)

    def begin(self, chat_id: str, message_id: str, limit: float | None) -> None:
        """Note a message that was asked for, and the seconds for which it keeps others at most."""
        with self._lock:
            self._pending[message_id] = chat_id, monotonic() + (math.inf if limit is None else limit)

    def end(self, message_id: str) -> None:
        """Note that a message is no longer pending."""
        with self._lock:
            if self._pending.pop(message_id, None) is not None:
                self._changed.notify_all()

    def shutdown(self, _how: int = 0) -> None:
        """Wake all who wait, to look again: what an interrupt does to a socket."""
        with self._lock:
            self._changed.notify_all()

    def _enter(self, exchange: Exchange) -> bool:
        with self._lock:
            now = monotonic()
            self._pending = {id_: entry for id_, entry in self._pending.items() if entry[1] > now}
            if self._asking is not None or self._pending:
                return False
            self._asking = exchange
            return True

    def _wait(self, interrupt: Interrupt, seconds: float) -> None:
        # Not under both locks: whoever fires the interrupt comes from the other side.
        interrupt.attach(self)
        with self._lock:
            if not interrupt.fired and (self._asking is not None or self._pending):
                self._changed.wait(seconds)
        interrupt.detach()
