"""A thread for one function, which goes on when the thread that waits for it is interrupted."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from oa_client._values.errors import TransportError
from oa_client._values.foreign import start_thread

_T = TypeVar("_T")


class NoThread(TransportError):  # noqa: N818 - named by what is missing
    """No thread can be started, so nothing was sent."""

    is_unsent = True

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"nothing was sent, as no thread could be started: {error}")
        self.__cause__ = error


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


def start(function: Callable[[], _T], result: Future[_T] | Slot[_T], name: str) -> None:
    """
    Run a function in a thread that does not keep the program alive, and put its result or its error into `result`.

    The error is `NoThread` if the thread cannot be started, as at the interpreter's exit.
    """
    thread = threading.Thread(target=_run, args=(function, result), name=name, daemon=True)
    try:
        start_thread(thread)
    except BaseException as error:
        if thread.ident is None:
            result.set_exception(NoThread(error))
        if not isinstance(error, RuntimeError):
            raise


def _run(function: Callable[[], _T], result: Future[_T] | Slot[_T]) -> None:
    try:
        result.set_result(function())
    except BaseException as error:
        result.set_exception(error)
        # The error knows this frame.
        del function, result
