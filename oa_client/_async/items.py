"""An async iterator that holds nothing open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


class AsyncItems(AsyncIterator[_T]):
    """
    What a function gives, until it raises StopAsyncIteration.

    Not an async generator, which wants to be closed: trio warns of each that a `break` has left.
    """

    def __init__(self, get: Callable[[], Awaitable[_T]]) -> None:
        self._get = get

    def __anext__(self) -> Awaitable[_T]:
        return self._get()
