"""
The threads of a client, which stay for a while when they have nothing to do.

A new thread makes its first request at half the speed of one that has made some: it has no memory yet.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic

from ._fork import forget_in_children

#: seconds that a thread stays when it has nothing to do.
LINGER = 0.2

Work = Callable[[], object]


class Workers:
    """Runs functions that wait, each at once, in a thread."""

    def __init__(self) -> None:
        forget_in_children(self)
        self._forget()

    def _forget(self) -> None:
        # Re-entrant, as a signal's handler or the garbage collector may close the client anywhere.
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._is_closing = False

    def run(self, work: Work) -> None:
        """
        Run a function, which must not raise.

        Raises:
            RuntimeError: if no thread can be started.
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._queue.put(work)
                return
            thread = threading.Thread(target=self._run, args=([work],), name="oa-client worker", daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise

    def close(self, timeout: float) -> None:
        """Wait until all is done and the threads are gone, for at most `timeout` seconds."""
        deadline = monotonic() + timeout
        with self._lock:
            self._is_closing = True
            for _ in range(self._idle):
                self._queue.put(None)
            self._idle = 0
            threads = list(self._threads)
        for thread in threads:
            # Below a signal's handler there may be one that is yet to be started.
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, deadline - monotonic()))

    def _run(self, first: list[Work]) -> None:
        work: Work | None = first.pop()
        try:
            while work is not None:
                work()
                # What it knows may be what somebody else is to forget.
                del work
                work = self._wait()
        finally:
            self._threads.discard(threading.current_thread())

    def _wait(self) -> Work | None:
        with self._lock:
            if self._is_closing:
                return None
            self._idle += 1
        try:
            return self._queue.get(timeout=LINGER)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
            # It was given something just now.
            return self._queue.get()
