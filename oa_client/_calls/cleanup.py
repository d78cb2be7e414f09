"""
The chats that streams leave behind.

A chat whose answer is queued or being written must not be deleted: the real server then aborts other users' answers,
or loses the next user's message. So a user who leaves early is released at once, and the chat comes here: it is hidden,
and deleted when its answer is final.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import monotonic
from typing import TypeVar

from oa_client._calls.clock import pauses
from oa_client._calls.life import State
from oa_client._calls.process import Process
from oa_client._calls.signing import signing
from oa_client._net.interrupt import Interrupt
from oa_client._net.transport import Transport
from oa_client._values.errors import APIError, OAError
from oa_client._values.foreign import start_thread, suppress
from oa_client._values.message import Message
from oa_client._values.timeout import Timeout
from oa_client._wire.call import Call
from oa_client._wire.surface import DELETABLE_STATES, FINAL_STATES, is_gone

#: seconds that an abandoned answer is waited for before its chat is left hidden.
DEADLINE = 600.0
#: seconds between looks at an answer that is not final: short at first, for short answers.
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
#: seconds; the longest pause while somebody waits in close().
CLOSING_PAUSE = 1.0
#: seconds after which an answer that was asked for, and is not in its chat, will not come into it any more.
UNSURE = 5.0
#: seconds after which an answer that is not final is taken for dead: it has long been taken off the server's queue, or
#: was being written when the server was killed, and never changes.
STALE = 86_400.0
#: seconds that a chat which is being made when its user leaves may take: without its id nobody could delete it.
GRACE = 2.0
#: seconds for all that is left at the interpreter's exit.
EXIT_TIMEOUT = 5.0
#: seconds for the thread to end when its time is up.
JOIN_LIMIT = 2.0
#: seconds to connect, and without a byte, for a call of the clean-up.
CONNECT_LIMIT, READ_LIMIT = 5.0, 10.0

_T = TypeVar("_T")
_log = logging.getLogger("oa_client")


@dataclass(slots=True, eq=False)
class _LeftChat:
    """A chat to be deleted, the answer to wait for (None: whichever the chat has), and how far its reply had come."""

    chat_id: str
    message_id: str | None
    state: State
    deadline: float = field(default_factory=lambda: monotonic() + DEADLINE)
    unsure_until: float = 0.0
    hidden: bool = False
    pauses: Iterator[float] = field(default_factory=lambda: pauses(FIRST_PAUSE, LAST_PAUSE))
    due: float = 0.0


#: Kept from the garbage collector while they have something to do.
_unfinished: set[Cleanup] = set()


@dataclass(slots=True, eq=False)
class _LaterInterrupt:
    """An interrupt to be fired, and when."""

    interrupt: Interrupt
    due: float = field(default_factory=lambda: monotonic() + GRACE)


class Cleanup:
    """
    Deletes chats in a thread of its own, which lives while there are any.

    Args:
        transport: to the server.
        is_own: whether that is this process's own local server. No answer of it is lost when a chat is deleted early,
            but its model stops; and it ends before the process does, with its chats.
    """

    def __init__(self, transport: Transport, is_own: bool = False) -> None:
        self.is_own = is_own
        self._transport = transport
        self._signing = signing(transport)
        self._process = Process()
        # What there is to do. Nothing is taken out before it is done, as a signal's handler may raise anywhere.
        self._items: list[_LeftChat | _LaterInterrupt] = []
        # Never blocks and is re-entrant, so that the garbage collector may put into it: whether to look at all again,
        # or just at what is new.
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        # Re-entrant, as a signal's handler may close the client anywhere.
        self._lock = threading.RLock()
        # As in `Interrupt`, nobody says `with self._changed`.
        self._changed = threading.Condition(self._lock)
        # The thread that deletes: its own, or the one that closes it.
        self._thread: threading.Thread | None = None
        self._interrupt = Interrupt()
        self._deadline: float | None = None
        self._failed: list[str] = []

    def leave(self, chat_id: str, message_id: str | None = None, state: State = State.NEW) -> None:
        """
        Note a chat, without starting anything: for the garbage collector.

        Args:
            chat_id: of the chat.
            message_id: the answer, if its id has come.
            state: how far the reply has come. After `ASKED` the answer may yet come into the chat, and after `REFUSED`
                there will be none, whatever the chat says.
        """
        unsure_until = monotonic() + UNSURE if state is State.ASKED else 0.0
        self._add(_LeftChat(chat_id, message_id, state, unsure_until=unsure_until))

    def look_again(self) -> None:
        """See whether what is waited for has come already."""
        self._bell.put(True)

    def fire_later(self, interrupt: Interrupt) -> None:
        """Fire an interrupt in `GRACE` seconds; starts nothing, as `leave`."""
        self._add(_LaterInterrupt(interrupt))

    def _add(self, item: _LeftChat | _LaterInterrupt) -> None:
        self._items.append(item)
        self._bell.put(False)
        _unfinished.add(self)

    def start(self) -> None:
        """See to what was left, in the background."""
        if not self._process.is_this:
            return
        with self._lock:
            if self._thread is None and self._deadline is None and self._items:
                thread = threading.Thread(target=self._serve, name="oa-client clean-up", daemon=True)
                with suppress(RuntimeError):
                    # If none can be started, what was left waits for the next call, or the exit.
                    start_thread(thread)

    def close(self, timeout: float, given_up: threading.Event | None = None) -> tuple[str, ...]:
        """
        Finish within `timeout` seconds; return the ids of the chats that could not be deleted.

        Args:
            timeout: seconds.
            given_up: set if nobody waits any more; the thread that deletes then goes on until its time is up.
        """
        if not self._process.is_this:
            # A forked child leaves all to the parent.
            return ()
        own = threading.current_thread()
        try:
            with self._lock:
                self._deadline = monotonic() + timeout
                thread = self._thread = self._thread or own
            if thread is own:
                # No thread is started for it: at the interpreter's exit none can be.
                self._run()
            else:
                self._bell.put(True)
                if not self._has_ended(thread, timeout) and not (given_up and given_up.is_set()):
                    self._interrupt.fire()
                    self._bell.put(True)
                    # In name resolution it cannot be woken.
                    if not self._has_ended(thread, JOIN_LIMIT):
                        self._failed += [item.chat_id for item in list(self._items) if isinstance(item, _LeftChat)]
        except BaseException:
            # A signal's handler raised: it was not closed, and goes on in the background until it is.
            self._deadline = None
            if self._thread is own:
                self._end()
            self.start()
            raise
        return tuple(dict.fromkeys(self._failed))

    def _has_ended(self, thread: threading.Thread, timeout: float) -> bool:
        with self._lock:
            return self._changed.wait_for(lambda: self._thread is not thread, timeout)

    def _end(self) -> None:
        with self._lock:
            self._thread = None
            self._changed.notify_all()

    def _serve(self) -> None:
        """Be the one who is at it, unless somebody else has become that meanwhile."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.current_thread()
        self._run()

    def _run(self) -> None:
        while True:
            with self._lock:
                _unfinished.discard(self)
                if not self._items:
                    self._end()
                    return
                _unfinished.add(self)
            self._wait()
            for item in list(self._items):
                if self._is_done(item):
                    self._items.remove(item)

    def _is_done(self, item: _LeftChat | _LaterInterrupt) -> bool:
        """Do what is due; return whether that was the last."""
        if isinstance(item, _LaterInterrupt):
            if item.due <= monotonic():
                item.interrupt.fire()
            # Or what it was for has come.
            return item.interrupt.fired
        if item.due > monotonic():
            return False
        if self._is_settled(item):
            return True
        if self._seconds_left(item) <= 0:
            self._give_up(item, "its answer was not final in time")
            return True
        longest = LAST_PAUSE if self._deadline is None else CLOSING_PAUSE
        item.due = monotonic() + min(next(item.pauses), longest, self._seconds_left(item))
        if item.unsure_until > monotonic():
            item.due = min(item.due, item.unsure_until)
        return False

    def _wait(self) -> None:
        """Wait until something is due, or has come."""
        pause = min(item.due for item in list(self._items)) - monotonic()
        try:
            looks_again = self._bell.get(timeout=pause) if pause > 0 else self._bell.get_nowait()
        except queue.Empty:
            return
        for item in list(self._items) if looks_again else ():
            if isinstance(item, _LeftChat):
                item.due, item.pauses = 0.0, pauses(FIRST_PAUSE, LAST_PAUSE)
            elif self._interrupt.fired:
                item.due = 0.0

    def _seconds_left(self, item: _LeftChat) -> float:
        """Return the seconds that the chat may yet take."""
        if self._interrupt.fired:
            return 0.0
        end = item.deadline if self._deadline is None else min(item.deadline, self._deadline)
        return end - monotonic()

    def _is_settled(self, item: _LeftChat) -> bool:
        """Go one step on with a chat; return whether that was the last."""
        try:
            state = self._state(item)
            if state in DELETABLE_STATES:
                self._send(self._transport.target.surface.delete_chat(item.chat_id), item)
                return True
            self._hide(item)
            if state in FINAL_STATES:
                self._give_up(item, f"its answer is {state}, and may still be in the server's queue")
                return True
        except OAError as error:
            _log.debug("clean-up of chat %s: %s", item.chat_id, error)
            if isinstance(error, APIError) and self._is_gone(item):
                return True
            with contextlib.suppress(OAError):
                self._hide(item)
        return False

    def _hide(self, item: _LeftChat) -> None:
        if not item.hidden:
            self._send(self._transport.target.surface.update_chat(item.chat_id, hidden=True), item)
            item.hidden = True

    def _state(self, item: _LeftChat) -> str:
        surface = self._transport.target.surface
        if item.state is State.REFUSED or self.is_own:
            return "complete"
        if item.message_id is not None:
            return self._send(surface.get_message(item.chat_id, item.message_id), item).state
        messages = self._send(surface.get_chat(item.chat_id), item).messages
        if monotonic() < item.unsure_until and not any(message.role == "assistant" for message in messages):
            # It was asked for, and may be about to be stored.
            return "pending"
        return blocking_state(messages) or "complete"

    def _is_gone(self, item: _LeftChat) -> bool:
        try:
            return is_gone(self._transport.target.surface, item.chat_id, lambda call: self._send(call, item))
        except OAError:
            return False

    def _send(self, call: Call[_T], item: _LeftChat) -> _T:
        left = max(self._seconds_left(item), 0.001)
        timeout = Timeout(connect=min(CONNECT_LIMIT, left), read=min(READ_LIMIT, left))
        return self._signing.send(call, timeout, self._interrupt)

    def _give_up(self, item: _LeftChat, why: str) -> None:
        self._failed.append(item.chat_id)
        how = "hidden, not deleted" if item.hidden else "neither deleted nor hidden"
        _log.warning("chat %s is %s: %s", item.chat_id, how, why)


def blocking_state(messages: Iterable[Message]) -> str | None:
    """Return the state of an answer for whose sake a chat must not be deleted yet; None if there is none."""
    now = datetime.now(timezone.utc)
    for message in messages:
        is_recent = message.created_at is None or (now - message.created_at).total_seconds() < STALE
        if message.role == "assistant" and message.state not in DELETABLE_STATES and is_recent:
            return message.state
    return None


def start_all() -> None:
    """See to what was left, by clients that are gone as well."""
    for cleanup in list(_unfinished):
        cleanup.start()


def finish_all() -> None:
    """Do what is left, in this thread, within `EXIT_TIMEOUT`: for the interpreter's exit."""
    deadline = monotonic() + EXIT_TIMEOUT
    for cleanup in list(_unfinished):
        if not cleanup.is_own and cleanup._process.is_this:
            cleanup.close(max(0.0, deadline - monotonic()))
            # urllib3 has closed what there was before this, and Python warns of a socket that is left open.
            cleanup._transport.close()
