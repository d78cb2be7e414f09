"""The event loop, and the threads that may work for it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from oa_client._calls.engine import note_exchange
from oa_client._calls.exchange import Exchange
from oa_client._calls.process import Process
from oa_client._calls.threads import NoThread, start
from oa_client._values.errors import TransportError

_T = TypeVar("_T")


# Threads at a time, for each use: so none waits for another that may take long. More at once would keep the event loop,
# which starts them, from its other tasks.

#: for ordinary calls.
CALLS = 32
#: for the calls that open a reply.
OPENINGS = 32
#: for the calls that a reply needs in its middle or at its end.
ENDINGS = 32
#: to wait for bytes that the poller cannot wait for: a reply that is silent must not stop the others.
PIECES = math.inf


class Loop:
    """
    An event loop, with the threads that a client may have in it.

    Made where it runs; `set` is for any thread, all else for the loop.

    Attributes:
        calls, openings, endings, pieces: for `run`.
        new_waiter: returns something to await until it is given to `set()`.
    """

    def __init__(self, native: Any) -> None:
        self._process = Process()
        self._native = native
        self._find: Callable[[], object] = _running
        if hasattr(native, "call_soon_threadsafe"):
            # It is there, as it runs; and it is asked with each token, in a tenth of the time that anyio takes.
            from asyncio import get_running_loop

            self._find = get_running_loop
        # anyio's own way into the loop waits until it is there, which doubles the cost of a token.
        self._post: Callable[..., object] = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
        # On asyncio an event costs three times as much as the future in it.
        self.new_waiter: Callable[[], Any] = getattr(native, "create_future", _Waiter)
        self.calls = anyio.CapacityLimiter(CALLS)
        self.openings = anyio.CapacityLimiter(OPENINGS)
        self.endings = anyio.CapacityLimiter(ENDINGS)
        self.pieces = anyio.CapacityLimiter(PIECES)

    def set(self, waiters: Sequence[Any]) -> None:
        """
        Let those go on that await something of `new_waiter`.

        Raises:
            RuntimeError: if the event loop is over.
        """
        self._post(_set, waiters)

    def check(self) -> None:
        """
        See that this is the event loop that runs here.

        Raises:
            RuntimeError: if it is another.
            ConfigurationError: if this is a forked child.
        """
        self._process.check()
        if self._find() is not self._native:
            raise RuntimeError("the stream was opened in another event loop, and can be read there alone")

    async def run(self, limiter: anyio.CapacityLimiter, function: Callable[[], _T]) -> _T:
        """
        Return the result of a blocking function, which runs in a thread.

        If the task is cancelled, the function is left to itself: the caller has to stop what it does. On asyncio its
        place is free at once, on trio when the thread ends. Either will do, since a stopped exchange ends soon.

        Raises:
            NoThread: if the thread cannot be started.
        """
        has_begun = False

        def begin() -> _T:
            nonlocal has_begun
            has_begun = True
            return function()

        try:
            return await anyio.to_thread.run_sync(begin, abandon_on_cancel=True, limiter=limiter)
        except RuntimeError as error:
            if has_begun:
                raise
            raise NoThread(error) from error

    async def run_to_the_end(self, function: Callable[[], _T]) -> _T:
        """
        Return the result of a blocking function; if the task is cancelled, the function goes on.

        anyio's threads would then keep the program from ending, on asyncio.
        """
        waiter = self.new_waiter()
        result: Future[_T] = Future()
        result.add_done_callback(partial(self._arrive, waiter))
        start(function, result, "oa-client closing")
        await waiter
        try:
            return result.result()
        finally:
            # An error of the function knows this frame.
            del result

    def _arrive(self, waiter: Any, _: object) -> None:
        with suppress(RuntimeError):
            # The event loop may be over.
            self.set([waiter])


class Loops:
    """The event loops in which a client is used, mostly one."""

    def __init__(self) -> None:
        # Only those that are in use: a client may outlive many.
        self._loops: weakref.WeakValueDictionary[Any, Loop] = weakref.WeakValueDictionary()

    def here(self) -> Loop:
        """
        Return the event loop that runs here.

        Raises:
            TransportError: if no file can be opened: anyio loads what belongs to the event loop when it is first asked.
        """
        try:
            native = _running()
        except OSError as error:
            failure = TransportError(f"nothing was sent: {error}")
            failure.is_unsent = True
            raise failure from error
        loop = self._loops.get(native)
        if loop is None:
            loop = self._loops[native] = Loop(native)
        return loop

    async def call(self, function: Callable[[], _T]) -> _T:
        """Return the result of a blocking call; if the task is cancelled, stop the call, and drop its result."""
        exchanges: list[Exchange] = []
        is_left = False

        def note(exchange: Exchange) -> None:
            exchanges.append(exchange)
            if is_left:
                # The call had another one to make.
                exchange.stop()

        def run() -> _T:
            # anyio gives each function a context of its own.
            note_exchange.set(note)
            return function()

        try:
            loop = self.here()
            return await loop.run(loop.calls, run)
        except Exception:
            raise
        except BaseException:
            is_left = True
            for exchange in list(exchanges):
                exchange.stop()
                exchange.clean_up()
            raise


class _Waiter:
    """What can be awaited until it is set; on asyncio a future is that."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _: None) -> None:
        self._event.set()


def _running() -> Any:
    token: Any = anyio.lowlevel.current_token()
    return getattr(token, "native_token", token)


def _set(waiters: Sequence[Any]) -> None:
    for waiter in waiters:
        # Not one whose task was cancelled.
        if not waiter.done():
            waiter.set_result(None)
