"""
The threads of a client, which stay for a while when they have nothing to do.

A new thread makes its first request at half the speed of one that has made some: it has no memory yet. And who starts a
thread waits until it runs, which is long where many do: an event loop would stand still for a second while hundreds of
calls begin. So one thread starts the others.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Generic, TypeVar

from oa_client._values.errors import TransportError
from oa_client._values.foreign import is_foreign, start_thread
from oa_client._values.fork import forget_in_children

#: seconds that a thread stays when it has nothing to do.
LINGER = 0.2

_T = TypeVar("_T")
#: A function, and where its result goes.
_Job = tuple[Callable[[], Any], "Future[Any] | Slot[Any]"]


class NoThread(TransportError):  # noqa: N818 - named by what is missing
    """No thread can be started, so nothing was sent."""

    is_unsent = True


class Slot(Generic[_T]):
    """
    A result to come, for a thread in which a signal's handler may raise.

    A future has a lock that is written in Python: a handler that raises in it leaves it locked, and whoever has the
    result waits for it.
    """

    def __init__(self) -> None:
        self.is_full = False
        self._come: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()

    def set_result(self, result: _T) -> None:
        """Put a result in."""
        self._put(result, None)

    def set_exception(self, error: BaseException) -> None:
        """Put an error in."""
        self._put(None, error)

    def _put(self, result: _T | None, error: BaseException | None) -> None:
        self.is_full = True
        self._come.put((result, error))

    def take(self) -> Any:
        """Wait for the result, and return it, or raise the error; once."""
        result, error = self._come.get()
        if error is not None:
            raise error
        return result

    def wait(self, timeout: float) -> None:
        """Wait until there is a result, for at most `timeout` seconds; nobody can take it then."""
        with contextlib.suppress(queue.Empty):
            self._come.get(timeout=timeout)


class Workers:
    """Runs functions that wait, each at once, in a thread."""

    def __init__(self) -> None:
        forget_in_children(self)
        self._forget()

    def _forget(self) -> None:
        """Begin without threads; see `Forgetful`."""
        # Re-entrant, as a signal's handler or the garbage collector may close the client anywhere.
        self._lock = threading.RLock()
        # For the threads that wait. None: nothing more will come.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        # How many take the next job, though they may yet be telling the result of their last.
        self._idle = 0
        # For the thread that starts others. None: look again.
        self._unstarted: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._starter: threading.Thread | None = None
        self._is_closing = False

    def run(self, function: Callable[[], _T], result: Future[_T] | Slot[_T]) -> None:
        """
        Run a function, and have its result or error in a future or slot: `NoThread` if no thread can be started.

        The callbacks of a future must not wait for anything.
        """
        is_starting = False
        try:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    self._jobs.put((function, result))
                    return
                self._unstarted.put((function, result))
                if self._starter is not None:
                    return
                is_starting = True
                self._starter = threading.Thread(target=self._start_threads, name="oa-client starter", daemon=True)
            start_thread(self._starter)
        except BaseException as error:
            if is_starting:
                # A signal's handler may raise when it runs already, and then it finds nothing to do.
                self._give_up(error)
            if not is_starting or is_foreign(error) or not isinstance(error, RuntimeError):
                raise

    def close(self, timeout: float) -> None:
        """Wait until all is done and the threads are gone, for at most `timeout` seconds."""
        deadline = monotonic() + timeout
        own = threading.current_thread()
        with self._lock:
            self._is_closing = True
            # Whoever closes waits for nobody who does so too.
            self._threads.discard(own)
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = 0
            starter = self._starter
            if starter is not None:
                self._unstarted.put(None)
        # Below a signal's handler there may be one that is yet to be started.
        if starter is not None and starter.ident is not None:
            starter.join(max(0.0, deadline - monotonic()))
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - monotonic()))

    # In the thread that starts the others.

    def _start_threads(self) -> None:
        while (job := self._next_unstarted()) is not None:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    self._jobs.put(job)
                    continue
                thread = threading.Thread(target=self._work, args=([job],), name="oa-client worker", daemon=True)
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:
                self._threads.discard(thread)
                _refuse(job, error)
            # What it knows may be what somebody else is to forget.
            del job, thread

    def _next_unstarted(self) -> _Job | None:
        while True:
            try:
                job = self._unstarted.get(timeout=0 if self._is_closing else LINGER)
            except queue.Empty:
                with self._lock:
                    if self._unstarted.empty():
                        if self._starter is threading.current_thread():
                            self._starter = None
                        return None
            else:
                if job is not None:
                    return job

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self._starter = None
            jobs = []
            while not self._unstarted.empty():
                jobs.append(self._unstarted.get())
        for job in jobs:
            if job is not None:
                _refuse(job, error)

    # In the others.

    def _work(self, first: list[_Job]) -> None:
        job: _Job | None = first.pop()
        try:
            while job is not None:
                tell = _call(*job)
                # Before anybody hears of it: who has waited for this may have another job at once.
                stays = self._offer()
                tell()
                # As above.
                del job, tell
                job = self._next() if stays else None
        finally:
            self._threads.discard(threading.current_thread())

    def _offer(self) -> bool:
        with self._lock:
            if self._is_closing:
                return False
            self._idle += 1
            return True

    def _next(self) -> _Job | None:
        try:
            return self._jobs.get(timeout=LINGER)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
            # It was given something just now.
            return self._jobs.get()


def _call(function: Callable[[], _T], result: Future[_T] | Slot[_T]) -> Callable[[], None]:
    """Call a function, and return what tells its result."""
    try:
        return partial(result.set_result, function())
    except BaseException as error:
        tell = partial(result.set_exception, error)
        # The error knows this frame.
        del function, result
        return tell


def _refuse(job: _Job, error: BaseException) -> None:
    refusal = NoThread(f"nothing was sent, as no thread could be started: {error}")
    refusal.__cause__ = error
    job[1].set_exception(refusal)
