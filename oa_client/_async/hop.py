"""A blocking call, in a worker thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import anyio.lowlevel

from oa_client._async.loop import Loop
from oa_client._calls.engine import note_exchange
from oa_client._calls.exchange import Exchange
from oa_client._calls.workers import Workers

_T = TypeVar("_T")


class Hop:
    """
    The way of an event loop into the threads of a client.

    Not anyio's: that would start threads in the event loop, and a call that is abandoned would keep the program from
    ending.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run a blocking call in a thread; when the caller is cancelled, stop what it does, and drop its result."""
        # Before all else of anyio, as it says what went wrong if that cannot be loaded.
        loop = Loop()
        await anyio.lowlevel.checkpoint_if_cancelled()
        exchanges: list[Exchange] = []
        is_abandoned = False

        def note(exchange: Exchange) -> None:
            exchanges.append(exchange)
            if is_abandoned:
                # The call had another one to make.
                exchange.stop()

        context = copy_context()
        context.run(note_exchange.set, note)
        waiter = loop.new_waiter()
        result: Future[_T] = Future()
        result.add_done_callback(partial(_arrive, loop, waiter))
        self._workers.run(partial(context.run, function), result)
        try:
            await waiter
        except BaseException:
            is_abandoned = True
            for exchange in list(exchanges):
                exchange.stop()
                exchange.clean_up()
            raise
        try:
            return result.result()
        finally:
            # An error of the thread knows this frame.
            del result


def _arrive(loop: Loop, waiter: Any, _: object) -> None:
    with contextlib.suppress(RuntimeError):
        # The event loop may be over.
        loop.set([waiter])
