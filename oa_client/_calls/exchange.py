"""What one reply is made with: its clock, its interrupt, and the chat that it has to get rid of."""

from __future__ import annotations

import atexit
import itertools
import logging
import math
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TypeVar

from oa_client._calls.cleanup import GRACE, Cleanup, finish_all
from oa_client._calls.clock import Clock, pauses
from oa_client._calls.life import Life, State
from oa_client._calls.process import Process
from oa_client._calls.retry import pause_before
from oa_client._calls.signing import signing
from oa_client._calls.threads import NoThread, Slot, start
from oa_client._net.interrupt import Interrupt, Interrupted
from oa_client._net.transport import Transport
from oa_client._values.errors import (
    APIError,
    BusyError,
    ConfigurationError,
    OAError,
    TransportError,
    TransportTimeout,
)
from oa_client._values.timeout import Timeout
from oa_client._wire.call import Call
from oa_client._wire.surface import Surface

#: seconds to connect and without a byte, for calls that are made when time is up or nobody waits for their result.
LATE_LIMIT = 5.0
#: seconds to connect and without a byte, to delete the chat of an answer that is there: its reader waits for it.
DELETE_LIMIT = 1.0

_T = TypeVar("_T")
_log = logging.getLogger("oa_client")
_alive: weakref.WeakSet[Exchange] = weakref.WeakSet()


class Exchange:
    """
    One user's request of a client, from its first call to its last.

    Args:
        transport: to the server.
        timeout: limits of each call and of all together.
        max_retries: how often a call may be repeated.
        cleanup: takes the chat if it cannot be deleted at the end; None keeps the chat.

    Attributes:
        process: that made it; in a forked child it does nothing.
        clock: counts the time that the user is kept waiting.
        interrupt: ends whatever the exchange waits for.
        life: how far the reply has come, and whether the user has left it.
        chat_id: the chat that was made; None before.
        was_busy: whether the server has refused a call since its queue was full, even if a repetition then went well.
        thread: the one that makes its calls; None before and after, and while it waits for its turn.
        is_strict: whether it is as the gpt4free provider's: an API error has the server's bare words as `args[0]`, and
            it is an error if the chat of a complete answer cannot be deleted.
    """

    def __init__(self, transport: Transport, timeout: Timeout, max_retries: int, cleanup: Cleanup | None) -> None:
        self.process = Process()
        self.transport = transport
        self.timeout = timeout
        self.clock = Clock(timeout)
        self.interrupt = Interrupt()
        self.life = Life()
        self.chat_id: str | None = None
        self.was_busy = False
        self.thread: int | None = None
        self.is_strict = False
        self._signing = signing(transport)
        self._max_retries = max_retries
        self._cleanup = cleanup
        self._chat_is_ours = cleanup is not None
        _alive.add(self)
        _see_to_the_end()

    @property
    def surface(self) -> Surface:
        """The dialect of the server."""
        return self.transport.target.surface

    def create_chat(self) -> str:
        """
        Make a chat and return its id; errors as `send`.

        If the exchange is stopped meanwhile, the answer is waited for all the same, for a short time: without the id
        nobody could delete the chat. For the same reason a thread makes it where Ctrl-C could come.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._create_chat()
        made: Slot[str] = Slot()
        try:
            self.life.create()
            start(self._create_chat, made, "oa-client chat")
            try:
                return str(made.take())
            except NoThread:
                # At the interpreter's exit.
                return self._create_chat()
        except BaseException:
            if not made.is_full:
                self.stop()
                self.clean_up()
                # The clean-up ends it before.
                made.wait(2 * GRACE)
            raise
        finally:
            # An error of the thread knows this frame.
            del made

    def _create_chat(self) -> str:
        self.life.create()
        try:
            self.chat_id = self.send(self.surface.create_chat())
        finally:
            self.life.created()
            if self.life.is_left:
                self.stop()
                if self._cleanup is not None:
                    self._cleanup.look_again()
        return self.chat_id

    def send(self, call: Call[_T]) -> _T:
        """
        Send a call, and again while that is safe and may help.

        Raises:
            OAError: what `Transport.send` raised the last time. If the clock cut the call short, that limit is named.
        """
        for repetition in itertools.count(1):
            # Each attempt and each wait counts before the next one gets what is left.
            self.clock.check()
            try:
                with self.clock.waiting():
                    return self._signing.send(call, self._limits(), self.interrupt)
            except (APIError, TransportError) as error:
                if isinstance(error, BusyError):
                    self.was_busy = True
                elif isinstance(error, TransportTimeout):
                    self.clock.check()
                pause = pause_before(repetition, call, error) if repetition <= self._max_retries else None
                if pause is None or pause >= self.clock.left:
                    raise
                _log.info("%s; try %d of %d in %.1f s", error, repetition + 1, self._max_retries + 1, pause)
                with self.clock.waiting():
                    if self.interrupt.wait(pause):
                        raise
        raise AssertionError("the loop has no end")  # for type checkers

    def send_late(self, call: Call[_T], limit: float | None = None) -> _T:
        """
        Send a call, though a limit may be passed: once, and for a short time; errors as `Transport.send`.

        Args:
            call: to be sent.
            limit: seconds to connect, and for the answer; `LATE_LIMIT` if not given.
        """
        limit = LATE_LIMIT if limit is None else limit
        with self.clock.waiting():
            return self._signing.send(call, Timeout(connect=limit, read=limit), self.interrupt)

    def looks(self) -> Iterator[None]:
        """
        Yield when it is time to look at something: at once, and again after growing pauses.

        Raises:
            TransportTimeout: if a limit is passed.
            Interrupted: if the exchange is stopped.
        """
        for pause in pauses():
            yield
            with self.clock.waiting():
                is_stopped = self.interrupt.wait(min(pause, max(self.clock.left, 0)))
            if is_stopped:
                raise Interrupted("interrupted while another answer was waited for")
            self.clock.check()

    def _limits(self) -> Timeout:
        """Return the limits of one call: what the clock leaves of the user's."""
        left = max(self.clock.left, 0.001)
        connect, read = (min(limit or math.inf, left) for limit in (self.timeout.connect, self.timeout.read))
        return Timeout(connect=None if connect == math.inf else connect, read=None if read == math.inf else read)

    def stop(self) -> None:
        """
        End the exchange, if it is not over, from any thread: wake whoever waits, and leave the chat.

        Waits for nothing, starts nothing.
        """
        if not self.process.is_this or self.life.progress is State.GONE:
            return
        self.life.leave()
        if self.life.progress is State.CREATING and self._cleanup is not None:
            self._cleanup.fire_later(self.interrupt)
        else:
            self.interrupt.fire()
        self.leave_chat()

    def keep_chat(self) -> None:
        """Have the chat stay: it is its user's now."""
        self._chat_is_ours = False

    def leave_chat(self) -> None:
        """Leave the chat, if there is one to be deleted, to the clean-up."""
        if self._chat_is_ours and self._cleanup is not None and self.chat_id is not None and self.process.is_this:
            # In this order: left twice does no harm.
            self._cleanup.leave(self.chat_id, self.life.message_id, self.life.progress)
            self._chat_is_ours = False

    def delete_chat(self) -> OAError | None:
        """Delete the chat, unless it is kept; its answer is final. If that fails, the clean-up tries again."""
        if self._chat_is_ours and self.chat_id is not None:
            try:
                # Where a failure is an error, it must be one.
                limit = LATE_LIMIT if self.is_strict else DELETE_LIMIT
                self.send_late(self.surface.delete_chat(self.chat_id), limit)
                self._chat_is_ours = False
            except OAError as error:
                _log.debug("chat %s could not be deleted at once: %s", self.chat_id, error)
                self.leave_chat()
                self.clean_up()
                return error
        return None

    def __del__(self) -> None:
        # An interrupt may have come between any two lines of those who have it.
        if hasattr(self, "_chat_is_ours"):
            self.leave_chat()

    def clean_up(self) -> None:
        """Have what was left seen to, in the background."""
        if self._cleanup is not None:
            self._cleanup.start()

    def hide(self, names: Iterable[str]) -> list[str]:
        """Return names of the server, for an error, without the credentials that they repeat."""
        return [self.transport.secrets.hide(name) for name in names]

    def closed_meanwhile(self) -> OAError:
        """Return the error for an exchange that was stopped."""
        return self.describe(ConfigurationError("the client was closed meanwhile"))

    def describe(self, error: OAError, text: str = "") -> OAError:
        """Add what is known of the reply to an error."""
        error.chat_id, error.message_id, error.text = self.chat_id, self.life.message_id, text
        if self.is_strict and isinstance(error, APIError) and error.detail:
            error.args = (error.detail,)
        return error


def snapshot(items: weakref.WeakSet[_T]) -> list[_T]:
    """Return what is in a set that other threads add to."""
    while True:
        try:
            return list(items)
        except RuntimeError:
            # Another thread has added one meanwhile.
            continue


#: The process for whose end `multiprocessing` was told what to do.
_told_in = 0


def _see_to_the_end() -> None:
    """Have `_stop_all` run in a child of multiprocessing too, which ends without what atexit knows."""
    global _told_in
    util, process = (sys.modules.get(f"multiprocessing.{name}") for name in ("util", "process"))
    if util is None or process is None or process.parent_process() is None or _told_in == os.getpid():
        return
    _told_in = os.getpid()
    # Before what waits for threads of the user, which may be waiting for an answer.
    util.Finalize(None, _stop_all, exitpriority=100)


@atexit.register
def _stop_all() -> None:
    """Delete the chats of streams that were forgotten."""
    for exchange in snapshot(_alive):
        exchange.stop()
    finish_all()
