"""
The async client: the blocking one, in worker threads.

There is no second implementation of anything. A call is a hop into a thread; a stream has a thread that reads it and
hands over what it has read: a hop for each token would cost ten times as much as the token.
"""

from __future__ import annotations

import io
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import requests

from ._client import CLOSE_TIMEOUT, Client, Messages, note_exchange
from ._errors import OAError
from ._events import Event, MessageEvent, TokenEvent
from ._exchange import Exchange
from ._models import Message, ModelInfo, Sampling, Timeout
from ._stream import Reply, unfinished
from ._target import Cookies

#: items; how far the thread may read ahead of a consumer that is busy.
READ_AHEAD = 1024
#: items that are handed out without letting other tasks run.
GENEROSITY = 100
#: seconds for the thread of a stream that was stopped to be gone.
JOIN_LIMIT = 5.0
#: seconds. On one core, loop and thread would take turns every few tokens at full speed: a consumer that has just
#: waited for less than this rests for this long, so that the thread gets something done. Slower streams never rest.
REST = 0.001

_T = TypeVar("_T")


class Feed:
    """
    Carries the items of one reply from the thread that reads it to the event loop.

    The thread knows the feed, and the feed not the `AsyncStream`: a stream that nobody holds any more can be found by
    the garbage collector while its thread still reads.
    """

    def __init__(self, start: Callable[[Callable[[Exchange], None]], Reply]) -> None:
        self.items: deque[str | Event] = deque()
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._start = start
        self._exchange: Exchange | None = None
        self._stopped = False
        self._lock = threading.RLock()
        self._room = threading.Event()
        self._is_full = False
        self._waiters: list[anyio.Event] = []
        self._post: Callable[[Callable[[], object]], object] | None = None
        self._rested = 0.0
        self._thread = threading.Thread(target=self._run, name="oa-client stream", daemon=True)

    def launch(self) -> None:
        """Start the thread; to be called in the event loop that the items go to."""
        token: Any = anyio.lowlevel.current_token()
        # anyio's own way into the loop waits until it is there, which doubles the cost of a token.
        loop = getattr(token, "native_token", token)
        self._post = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        self._thread.start()

    @property
    def launched(self) -> bool:
        """Whether `launch()` was called."""
        return self._post is not None

    def stop(self) -> None:
        """End the reply, from any thread. Waits for nothing, starts nothing."""
        with self._lock:
            self._stopped = True
            exchange = self._exchange
        self._room.set()
        if exchange is not None and not self.ended:
            exchange.stop()

    def clean_up(self) -> None:
        """Have the chat of a reply that was stopped seen to, in the background."""
        if self._exchange is not None:
            self._exchange.clean_up()

    def join(self, timeout: float) -> None:
        """Wait until the thread is gone, in another thread, for at most `timeout` seconds."""
        if self.launched:
            self._thread.join(timeout)

    async def wait(self, until: Callable[[], object]) -> None:
        """Wait until something is true; it is looked at whenever the thread has news and somebody waits."""
        while not until():
            started = monotonic()
            if started - self._rested < REST:
                await anyio.sleep(REST)
            waiter = anyio.Event()
            self._waiters.append(waiter)
            # News that came before the thread could see the waiter.
            if not until():
                await waiter.wait()
            now = monotonic()
            self._rested = now if now - started < REST else 0.0

    def make_room(self) -> None:
        """Let the thread go on if it is ahead by too much."""
        if self._is_full:
            self._is_full = False
            self._room.set()

    def _run(self) -> None:
        items = self.items
        try:
            self.reply = self._start(self._note)
            self._wake()
            for item in self.reply.read():
                items.append(item)
                if self._waiters:
                    self._wake()
                if len(items) >= READ_AHEAD:
                    self._wait_for_room()
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._wake()

    def _note(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchange = exchange
            stopped = self._stopped
        if stopped:
            exchange.stop()

    def _wait_for_room(self) -> None:
        self._room.clear()
        self._is_full = True
        # The consumer may have taken all of it, or have gone, before it could see that.
        if len(self.items) >= READ_AHEAD and not self._stopped:
            self._room.wait()

    def _wake(self) -> None:
        """Wake each who waits, once: it looks again for itself, and comes back if there is nothing for it."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            try:
                self._post(waiter.set)  # type: ignore[misc]  # it was launched
            except RuntimeError:
                # The event loop is over.
                self.stop()


class AsyncStream(AsyncGenerator[str, None]):
    """
    A reply, while it arrives: `Stream` for async code.

    `async for` yields its text; `async with` opens it on entering and closes it on leaving. It is opened by either, so
    the errors of `AsyncClient.stream` come from there. Cancelling whoever waits for it closes it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._items = feed.items
        self._text = io.StringIO()
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
        return self._text.getvalue()

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
            item = await self._next()
            if type(item) is str:
                return item

    async def _next(self) -> str | Event:
        self._credit -= 1
        if not self._items or self._credit <= 0:
            await self._fill()
        item = self._items.popleft()
        if type(item) is str:
            self._text.write(item)
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
            if not await self._open():
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
        self._items.clear()
        self._feed.stop()
        self._feed.clean_up()

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event of the reply, the `MessageEvent` last; see `Stream.events`."""
        while True:
            try:
                item = await self._next()
            except StopAsyncIteration:
                return
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

    def __repr__(self) -> str:
        return f"<Async{repr(self._client)[1:]}"

    @property
    def wrapped(self) -> Client:
        """The blocking client that does the work."""
        return self._client

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
        question = self._client._read_question(
            messages, model, sampling, system_prompt, user_profile, response_instructions, plugins
        )
        feed = Feed(partial(_start, self._client, question, keep))
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
        self._client._stop()
        feeds = list(self._feeds)
        for feed in feeds:
            feed.stop()
        return await _in_thread(partial(self._close, timeout, feeds))

    def _close(self, timeout: float | None, feeds: Sequence[Feed]) -> tuple[str, ...]:
        undeleted = self._client.close(timeout)
        for feed in feeds:
            # It was stopped, and is about to end.
            feed.join(JOIN_LIMIT)
        return undeleted

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _start(client: Client, question: Any, keep: bool, note: Callable[[Exchange], None]) -> Reply:
    exchange = client._exchange(keep)
    note(exchange)
    return client._start(question, exchange)


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
