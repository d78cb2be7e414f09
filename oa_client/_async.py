"""
The async client: the blocking one, in worker threads.

There is no second implementation of anything. A call is a hop into a thread; a stream is read by threads, which hand
over what they have read: a hop for each token would cost ten times as much as the token.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import requests

from ._client import CLOSE_TIMEOUT, Client
from ._engine import JOIN_LIMIT, Engine, note_exchange
from ._errors import OAError
from ._events import Event, MessageEvent, TokenEvent
from ._exchange import Exchange, snapshot
from ._feed import Feed, wake
from ._models import Message, ModelInfo, Sampling, Timeout
from ._poller import Poller
from ._question import Messages, Question, read_question
from ._stream import Reply, unfinished
from ._target import Cookies

#: items that are handed out without letting other tasks run.
GENEROSITY = 100

_T = TypeVar("_T")


class AsyncStream(AsyncGenerator[str, None]):
    """
    A reply, while it arrives: `Stream` for async code.

    `async for` yields its text; `async with` opens it on entering and closes it on leaving. It is opened by either, so
    the errors of `AsyncClient.stream` come from there. Cancelling whoever waits for it closes it.
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
        return f"<AsyncStream of message {self.message_id}: {state}>"

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
        if self._message is None and self._feed.ended and not self._items and self._feed.reply is not None:
            # The message came, and then the chat could not be deleted, where that is an error.
            return self._feed.reply.message
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
            if feed.reply is None and not await self._open():
                raise StopAsyncIteration
            feed.make_room()
            if self._items:
                await anyio.lowlevel.checkpoint()
            else:
                await feed.wait(lambda: self._items or feed.ended)
        except BaseException:
            self._stop()
            raise
        finally:
            self._is_read = False
        if not self._items:
            error, feed.error = feed.error, None
            if error is not None and not self._closed:
                raise error
            raise StopAsyncIteration

    async def _open(self) -> bool:
        """Open the reply, if that was not done; return whether there is one: not if it was closed before."""
        feed = self._feed
        if self._closed and not feed.launched:
            return False
        if not feed.launched:
            feed.launch()
        if feed.reply is None:
            await feed.wait(lambda: feed.reply or feed.ended)
        return True

    def _stop(self) -> None:
        self._closed = True
        # Whoever reads may not have noticed yet, and what it adds would be behind a gap.
        self._items = deque()
        self._feed.stop()
        self._feed.clean_up()

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event of the reply, the `MessageEvent` last; see `Stream.events`."""
        while True:
            self._credit -= 1
            if not self._items or self._credit <= 0:
                try:
                    await self._fill()
                except StopAsyncIteration:
                    return
            item = self._take()
            yield TokenEvent(item) if isinstance(item, str) else item

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
        if feed.launched and not feed.ended:
            await feed.wait(lambda: feed.ended)

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
        if self._feed.reply is None and self._feed.error is not None:
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


class AsyncClient:
    """
    `Client` for async code, on asyncio and on trio: the same arguments, methods and errors.

    ```python
    async with AsyncClient("http://127.0.0.1:8000", token=token) as client:
        async for text in client.stream("Why is the sky blue?"):
            print(text, end="", flush=True)
    ```

    The event loop is never blocked. Cancellation takes effect at once, whatever the network does: the connection is
    closed, and the chat is left to the client's clean-up, which `aclose` waits for.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        cookies: Cookies | None = None,
        token: str | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int = 2,
        session: requests.Session | None = None,
        model: str | None = None,
        serialize: bool = True,
    ) -> None:
        self._client = Client(
            base_url,
            cookies=cookies,
            token=token,
            proxy=proxy,
            headers=headers,
            timeout=timeout,
            max_retries=max_retries,
            session=session,
            model=model,
            serialize=serialize,
        )
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._poller = Poller(wake)

    def __repr__(self) -> str:
        return f"<Async{repr(self._client)[1:]}"

    @property
    def wrapped(self) -> Client:
        """The blocking client that does the work."""
        return self._client

    def settings(self, *, with_credentials: bool = False) -> dict[str, Any]:
        """Return the arguments that make a client like this; see `Client.settings`."""
        return self._client.settings(with_credentials=with_credentials)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._client)

    def stream(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        sampling: Sampling | Mapping[str, Any] | str | None = None,
        system_prompt: str | None = None,
        user_profile: str | None = None,
        response_instructions: str | None = None,
        plugins: Sequence[Mapping[str, Any]] | None = None,
        keep: bool = False,
    ) -> AsyncStream:
        """
        Ask, and return the reply while it is written; see `Client.stream`.

        This is a plain call, which checks the arguments. The stream is opened when it is entered or first asked for
        an item, and other errors come then.
        """
        question = read_question(
            messages,
            model=self._client._model if model is None else model,
            sampling=sampling,
            system_prompt=system_prompt,
            user_profile=user_profile,
            response_instructions=response_instructions,
            plugins=plugins,
        )
        engine = self._client._engine
        feed = Feed(partial(_start, engine, question, keep), self._poller, engine.workers)
        self._feeds.add(feed)
        return AsyncStream(feed)

    async def ask(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        sampling: Sampling | Mapping[str, Any] | str | None = None,
        system_prompt: str | None = None,
        user_profile: str | None = None,
        response_instructions: str | None = None,
        plugins: Sequence[Mapping[str, Any]] | None = None,
        keep: bool = False,
    ) -> Message:
        """Ask, wait, and return the final message; see `Client.ask`."""
        async with self.stream(
            messages,
            model=model,
            sampling=sampling,
            system_prompt=system_prompt,
            user_profile=user_profile,
            response_instructions=response_instructions,
            plugins=plugins,
            keep=keep,
        ) as stream:
            return await stream.finish()

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server lists; see `Client.list_models`."""
        return await _in_thread(self._client.list_models)

    async def aclose(self, timeout: float | None = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """Close open streams, delete what chats they leave, and close the connections; see `Client.close`."""
        self._client._engine.stop()
        for feed in snapshot(self._feeds):
            feed.stop()
        return await _in_thread(partial(self._close, timeout))

    def _close(self, timeout: float | None) -> tuple[str, ...]:
        # It starts threads, and the client waits for them.
        self._poller.close(JOIN_LIMIT)
        return self._client.close(timeout)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _unpickle(cls: type[AsyncClient], wrapped: Client) -> AsyncClient:
    client = cls(**wrapped.settings())
    client._client = wrapped
    return client


def _start(engine: Engine, question: Question, keep: bool, note: Callable[[Exchange], None]) -> Reply:
    exchange = engine.exchange(keep)
    note(exchange)
    return engine.start(exchange, question, engine.post_in_new_chat)


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Run a blocking call in a thread; when the caller is cancelled, stop what it does."""
    exchanges: list[Exchange] = []
    token = note_exchange.set(exchanges.append)
    try:
        # A limiter of its own for each call: none waits for another, nor for anybody else's threads.
        return await anyio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except OAError:
        raise
    except BaseException:
        for exchange in exchanges:
            exchange.stop()
            exchange.clean_up()
        raise
    finally:
        note_exchange.reset(token)
