"""An event loop, as other threads see it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from oa_client._values.errors import TransportError


class Loop:
    """
    The event loop that runs where this is made.

    Attributes:
        post: from any thread, has a function called in the loop; RuntimeError if that is over.
        new_waiter: in the loop, returns something to await until it is given to `set()`.

    Raises:
        TransportError: if no file can be opened: anyio loads what belongs to the event loop when it is first asked.
    """

    def __init__(self) -> None:
        try:
            self._native = _running()
        except OSError as error:
            failure = TransportError(f"nothing was sent: {error}")
            failure.is_unsent = True
            raise failure from error
        self._find: Callable[[], object] = _running
        if hasattr(self._native, "call_soon_threadsafe"):
            # It is there, as it runs; and it is asked with each token, in a tenth of the time that anyio takes.
            from asyncio import get_running_loop

            self._find = get_running_loop
        # anyio's own way into the loop waits until it is there, which doubles the cost of a token.
        self.post: Callable[[Callable[[], object]], object] = (
            getattr(self._native, "call_soon_threadsafe", None) or self._native.run_sync_soon
        )
        # On asyncio an event costs three times as much as the future in it.
        self.new_waiter: Callable[[], Any] = getattr(self._native, "create_future", _Waiter)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loop) and other._native is self._native

    def __hash__(self) -> int:
        return id(self._native)

    def set(self, waiters: Sequence[Any]) -> None:
        """
        Have those go on that await something of `new_waiter`; from any thread.

        Raises:
            RuntimeError: if the event loop is over.
        """
        self.post(partial(_set, waiters))

    def check(self) -> None:
        """
        See that this is the event loop that runs here.

        Raises:
            RuntimeError: if it is another.
        """
        if self._find() is not self._native:
            raise RuntimeError("the stream was opened in another event loop, and can be read there alone")


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
