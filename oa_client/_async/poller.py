"""
One thread that reads the replies of a client, whenever bytes of one are there.

A thread for each reply would do for some hundreds. With more, the threads that wait for the interpreter lock take the
processor from the one that has it: each wakes and asks for the lock 200 times a second.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from oa_client._calls.pause import Pause
from oa_client._calls.process import Process
from oa_client._values.foreign import start_thread

#: seconds that the thread stays when nothing is left to read.
LINGER = 0.2
#: seconds; to wait for months at once is too much for a selector.
LONGEST_WAIT = 86400.0
#: Windows' select() takes 512 sockets.
CAPACITY = 500 if sys.platform == "win32" else sys.maxsize


class Readable(Protocol):
    """What can be read without waiting."""

    @property
    def due(self) -> float:
        """Until when its socket may be waited for, in seconds on the monotonic clock."""

    def fileno(self) -> int:
        """Return the descriptor of its socket."""

    def before_close(self, function: Callable[[], object] | None) -> None:
        """Have a function called before its socket is closed."""

    def advance(self) -> Pause | None:
        """Read what is there, and return what it waits for then. Never fails."""

    def settle(self, pause: Pause | None) -> None:
        """See to what it waits for, which is not bytes. Never fails."""

    def fail(self, error: BaseException) -> None:
        """End it with an error."""


R = TypeVar("R", bound=Readable)


class Poller(Generic[R]):
    """
    Reads while there is something to be read, in a thread of its own.

    The thread alone touches the selector, and nobody else closes a socket that is registered: a descriptor that the
    system gives out again is never read for the reply that had it before.

    Args:
        wake: is called with those that were read, once a round.

    Attributes:
        process: that made it; a forked child has none of its threads.
    """

    def __init__(self, wake: Callable[[Sequence[R]], None]) -> None:
        self._wake = wake
        # The two ends of what wakes the thread, and its selector.
        self._resources: tuple[socket.socket, socket.socket, selectors.BaseSelector] | None = None
        self.process = Process()
        # Re-entrant, as the garbage collector may give a place back anywhere.
        self._lock = threading.RLock()
        self._inbox: deque[R] = deque()
        self._thread: threading.Thread | None = None
        self._places = CAPACITY
        self._is_closing = False

    def reserve(self) -> bool:
        """Take a place for a reply, if there is one; to be given back with `release`."""
        with self._lock:
            if self._places == 0:
                return False
            self._places -= 1
            return True

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            self._places += 1

    def read(self, readable: R) -> None:
        """Read what is there, at once, and then whatever comes; from any thread, but not the garbage collector's."""
        with self._lock:
            if self._thread is None:
                self._start()
            self._inbox.append(readable)
            self._ring()

    def close(self, timeout: float) -> None:
        """Wait for the thread, for at most `timeout` seconds: all that it reads was stopped."""
        if not self.process.is_this:
            return
        with self._lock:
            self._is_closing = True
            thread = self._thread
            self._ring()
        if thread is not None:
            thread.join(timeout)

    def _ring(self) -> None:
        if self._resources is not None:
            alarm = self._resources[0]
            with contextlib.suppress(BlockingIOError):
                # If it is full, it rings.
                alarm.send(b"\0")

    def _start(self) -> None:
        with contextlib.ExitStack() as undo:
            # Here and not in the thread: if it cannot be made, somebody has to be told.
            selector = undo.enter_context(selectors.DefaultSelector())
            alarm, bell = socket.socketpair()
            undo.callback(alarm.close)
            undo.callback(bell.close)
            alarm.setblocking(False)
            bell.setblocking(False)
            selector.register(bell, selectors.EVENT_READ)
            thread = threading.Thread(target=self._run, args=(bell, selector), name="oa-client reader", daemon=True)
            start_thread(thread)
            undo.pop_all()
        self._thread, self._resources = thread, (alarm, bell, selector)

    def _run(self, bell: socket.socket, selector: selectors.BaseSelector) -> None:
        with contextlib.closing(bell), selector:
            try:
                self._read_all(selector, bell)
            except BaseException as error:
                # Never seen. Nobody shall wait for what is not read any more.
                with self._lock:
                    left = [*self._inbox, *(readable for readable, _ in _registered(selector))]
                    self._inbox.clear()
                    self._forget_thread()
                for readable in left:
                    readable.fail(error)
                self._wake(left)
                raise

    def _read_all(self, selector: selectors.BaseSelector, bell: socket.socket) -> None:
        """Read until nothing is left."""
        due = math.inf
        while True:
            ready = selector.select(self._patience(selector, due))
            if not ready and self._is_done(selector):
                return
            news = []
            for key, _ in ready:
                if key.data is None:
                    _silence(bell)
                else:
                    due = min(due, self._advance(selector, key.data, key.fd))
                    news.append(key.data)
            while self._inbox:
                readable = self._inbox.popleft()
                due = min(due, self._advance(selector, readable, None))
                news.append(readable)
            now = monotonic()
            if now >= due:
                # Most have got more time since it was set.
                due = math.inf
                for readable, fd in _registered(selector):
                    if readable.due <= now:
                        due = min(due, self._advance(selector, readable, fd))
                        news.append(readable)
                    else:
                        due = min(due, readable.due)
            self._wake(news)

    def _patience(self, selector: selectors.BaseSelector, due: float) -> float | None:
        """Return for how long to wait, in seconds."""
        if len(selector.get_map()) == 1:
            return 0.0 if self._is_closing else LINGER
        return None if due == math.inf else min(max(0.0, due - monotonic()), LONGEST_WAIT)

    def _is_done(self, selector: selectors.BaseSelector) -> bool:
        with self._lock:
            if len(selector.get_map()) > 1 or self._inbox:
                return False
            self._forget_thread()
            return True

    def _forget_thread(self) -> None:
        if self._resources is not None:
            # It closes the others itself.
            self._resources[0].close()
        self._thread = self._resources = None

    def _advance(self, selector: selectors.BaseSelector, readable: R, fd: int | None) -> float:
        """Go on with what is registered for a descriptor, or yet to be; return until when it may be waited for."""
        pause = readable.advance()
        if pause is Pause.BYTES:
            if fd is None:
                try:
                    number = readable.fileno()
                    selector.register(number, selectors.EVENT_READ, readable)
                    # A forked child may have a copy of the socket: if it was closed first, the system would go on to
                    # tell of it, and nothing could make it stop.
                    readable.before_close(partial(self._unregister, selector, number))
                except (OSError, ValueError, KeyError) as error:
                    readable.fail(error)
                    return math.inf
            return readable.due
        if fd is not None:
            readable.before_close(None)
            with contextlib.suppress(KeyError):
                # It may be closed, and so not be registered any more.
                selector.unregister(fd)
        readable.settle(pause)
        return math.inf

    def _unregister(self, selector: selectors.BaseSelector, fd: int) -> None:
        # What a forked child takes off the selector, which is the same below, its parent would not hear of again.
        if self.process.is_this:
            selector.unregister(fd)


def _registered(selector: selectors.BaseSelector) -> list[tuple[Any, int]]:
    return [(key.data, key.fd) for key in selector.get_map().values() if key.data is not None]


def _silence(bell: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while bell.recv(4096):
            pass
