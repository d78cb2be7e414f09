"""One reply, for async code."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any

import anyio.lowlevel

from oa_client._async.feed import Feed
from oa_client._async.items import AsyncItems
from oa_client._blocking.stream import unfinished
from oa_client._values.events import Event, MessageEvent, TokenEvent
from oa_client._values.message import Message

#: items that are handed out without letting other tasks run.
GENEROSITY = 100


class AsyncStream(AsyncGenerator[str, None]):
    """
    A reply, while it arrives: `Stream` for async code.

    `async for` yields its text; `async with` opens it on entering and closes it on leaving. It is opened by either, so
    the errors of `AsyncClient.stream` come from there. A task that is cancelled while it waits for the reply closes it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._items: deque[str | Event] = feed.items
        self._length = 0
        self._message: Message | None = None
        self._closed = False
        self._credit = GENEROSITY
        self._is_read = False

    def __repr__(self) -> str:
        state = "complete" if self._message else "closed" if self._closed else "open" if self._feed.reply else "new"
        return f"<{type(self).__name__} of message {self.message_id}: {state}>"

    @property
    def chat_id(self) -> str | None:
        """The chat that the reply belongs to; None before opening."""
        return self._feed.reply.chat_id if self._feed.reply else None

    @property
    def message_id(self) -> str | None:
        """The assistant message; None before opening."""
        return self._feed.reply.message_id if self._feed.reply else None

    @property
    def text(self) -> str:
        """What was yielded so far."""
        # The reply is ahead.
        return self._feed.reply.text[: self._length] if self._feed.reply else ""

    @property
    def message(self) -> Message | None:
        """The final message, in full; None until it has come."""
        return self._message

    @property
    def diverged(self) -> bool:
        """Whether the final text is not the yielded one; see `Stream.diverged`."""
        return self._message is not None and self._feed.reply is not None and self._feed.reply.diverged

    async def __anext__(self) -> str:
        while True:
            self._credit -= 1
            if not self._items or self._credit <= 0:
                await self._fill()
            item = self._take()
            if type(item) is str:
                return item

    def _take(self) -> str | Event:
        item = self._items.popleft()
        if type(item) is str:
            self._length += len(item)
        elif type(item) is MessageEvent:
            self._message = item.message
        return item

    async def _fill(self) -> None:
        """Wait for an item; at the end raise what the reply ended with, or StopAsyncIteration."""
        if self._is_read:
            raise RuntimeError("another task is waiting for this stream")
        feed = self._feed
        self._credit = GENEROSITY
        self._is_read = True
        try:
            if feed.reply is None:
                await self._open()
            feed.make_room()
            if self._items:
                await anyio.lowlevel.checkpoint()
            elif feed.was_opened:
                await feed.fill()
        except BaseException:
            self._stop()
            raise
        finally:
            self._is_read = False
        if not self._items:
            if not self._closed and feed.reply is not None:
                # It came without its event if then the chat could not be deleted, where that is an error.
                self._message = feed.reply.message
            error, feed.error = feed.error, None
            if error is not None and not self._closed:
                raise error
            raise StopAsyncIteration

    async def _open(self) -> None:
        """Open the reply, if that was not done, and if it was not closed before."""
        feed = self._feed
        if feed.was_opened or not self._closed:
            await feed.open()

    def _stop(self) -> None:
        self._closed = True
        # Whoever reads may not have noticed yet, and what it adds would be behind a gap.
        self._items = deque()
        self._feed.stop()
        self._feed.clean_up()

    def events(self) -> AsyncIterator[Event]:
        """Yield every event of the reply, the `MessageEvent` last; see `Stream.events`."""
        return AsyncItems(self._next_event)

    async def _next_event(self) -> Event:
        self._credit -= 1
        if not self._items or self._credit <= 0:
            await self._fill()
        item = self._take()
        return TokenEvent(item) if isinstance(item, str) else item

    async def finish(self) -> Message:
        """
        Read to the end and return the final message.

        Raises:
            IncompleteReplyError: if the stream was closed before its end, or has raised an error before.
            OAError: as iterating does.
        """
        async for _ in self:
            pass
        if self._message is None:
            raise unfinished(self.chat_id, self.message_id, self.text)
        return self._message

    async def aclose(self) -> None:
        """
        End the stream; may be called again, and after the end.

        A task that waits for it is woken, and its iteration ends. See `Stream.close` for what becomes of the chat.
        """
        self._stop()
        feed = self._feed
        if feed.was_opened:
            await feed.wait_for_end()

    async def asend(self, value: None) -> str:
        """Return the next text, as `anext()`: a reply takes nothing but None."""
        if value is not None:
            raise TypeError("a reply takes no values")
        return await self.__anext__()

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> str:
        """Close the stream and raise the exception."""
        await self.aclose()
        error = val if isinstance(val, BaseException) else typ
        raise error if tb is None else error.with_traceback(tb)

    async def __aenter__(self) -> AsyncStream:
        try:
            await self._open()
        except BaseException:
            self._stop()
            raise
        if self._feed.reply is None and self._feed.error is not None and not self._closed:
            error, self._feed.error = self._feed.error, None
            raise error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # As Stream.__del__: no I/O, and no thread is started here.
        if hasattr(self, "_feed"):
            self._feed.stop()
