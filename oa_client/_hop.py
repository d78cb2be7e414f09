"""A blocking call, in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from ._engine import note_exchange
from ._errors import OAError
from ._exchange import Exchange

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T]) -> _T:
    """Run a blocking call in a thread; when the caller is cancelled, stop what it does."""
    exchanges: list[Exchange] = []
    is_abandoned = False

    def note(exchange: Exchange) -> None:
        exchanges.append(exchange)
        if is_abandoned:
            # The call had another one to make.
            exchange.stop()

    token = note_exchange.set(note)
    try:
        # A limiter of its own for each call: none waits for another, nor for anybody else's threads.
        return await anyio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except OAError:
        raise
    except BaseException:
        is_abandoned = True
        for exchange in list(exchanges):
            exchange.stop()
            exchange.clean_up()
        raise
    finally:
        note_exchange.reset(token)
