"""The async client: the blocking one, in threads."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import requests

from oa_client._accounts.cookies import Cookies
from oa_client._accounts.credentials import TrustedClient
from oa_client._async.chat import AsyncChat, AsyncChatList
from oa_client._async.feed import Feed, wake
from oa_client._async.loop import Loops
from oa_client._async.poller import Poller
from oa_client._async.stream import AsyncStream
from oa_client._blocking.chat import Chat
from oa_client._blocking.client import CLOSE_TIMEOUT, Client
from oa_client._calls.exchange import snapshot
from oa_client._calls.reply import Opening
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.options import AnswerOptions, merge_options, name_options
from oa_client._values.plugin import Plugin
from oa_client._values.question import Messages, read_question
from oa_client._values.timeout import Timeout, closing_time
from oa_client._values.user import User

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack


#: seconds for the thread that reads the streams to be gone, when all were stopped.
JOIN_LIMIT = 5.0


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
        token: str | TrustedClient | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int = 2,
        session: requests.Session | None = None,
        model: str | None = None,
        serialize: bool = True,
    ) -> None:
        client = Client(
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
        self._wrap(client)

    def _wrap(self, client: Client) -> None:
        self._client = client
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._poller = Poller(wake)
        self._loops = Loops()

    def __repr__(self) -> str:
        inner = self._client if hasattr(self, "_client") else Client.__new__(Client)
        return f"<Async{repr(inner)[1:]}"

    @property
    def wrapped(self) -> Client:
        """The blocking client that does the work."""
        return self._client

    def settings(self, *, with_credentials: bool = False) -> dict[str, Any]:
        """Return the arguments that make a client like this; see `Client.settings`."""
        return self._client.settings(with_credentials=with_credentials)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._client)

    @name_options
    def stream(
        self,
        messages: Messages,
        *,
        keep: bool = False,
        **options: Unpack[AnswerOptions],
    ) -> AsyncStream:
        """
        Ask, and return the reply while it is written; see `Client.stream`.

        This is a plain call, which checks the arguments. The stream is opened when it is entered or first asked for
        an item, and other errors come then.
        """
        question = read_question(messages, options, self._client._options)
        return self._open(partial(self._client._engine.ask, question, keep))

    def _open(self, start: Opening) -> AsyncStream:
        feed = Feed(start, self._poller, self._loops)
        self._feeds.add(feed)
        return AsyncStream(feed)

    @name_options
    async def ask(
        self,
        messages: Messages,
        *,
        keep: bool = False,
        **options: Unpack[AnswerOptions],
    ) -> Message:
        """Ask, wait, and return the final message; see `Client.ask`."""
        async with self.stream(messages, keep=keep, **options) as stream:
            return await stream.finish()

    @name_options
    async def create_chat(self, **options: Unpack[AnswerOptions]) -> AsyncChat:
        """Make a chat that the server keeps; see `Client.create_chat`."""
        given = merge_options(options, self._client._options)
        chat = await self._loops.call(partial(Chat._create, self._client._engine, given))
        chat._keep()
        return AsyncChat(chat, self._open, self._loops)

    @name_options
    async def open_chat(self, chat_id: str, **options: Unpack[AnswerOptions]) -> AsyncChat:
        """Return a chat that the server has, to go on with it; see `Client.open_chat`."""
        chat = await self._loops.call(partial(self._client.open_chat, chat_id, **options))
        return AsyncChat(chat, self._open, self._loops)

    def list_chats(
        self, *, after: str | None = None, before: str | None = None, include_hidden: bool = False
    ) -> AsyncChatList:
        """Return the user's chats, the newest first, to be iterated; see `Client.list_chats`. This is a plain call."""
        chats = self._client.list_chats(after=after, before=before, include_hidden=include_hidden)
        return AsyncChatList(chats._pager, self._loops)

    async def hide_all_chats(self) -> None:
        """Hide each chat; see `Client.hide_all_chats`."""
        await self._loops.call(self._client.hide_all_chats)

    async def delete_all_chats(self) -> tuple[str, ...]:
        """Delete each chat, the hidden ones too; see `Client.delete_all_chats`."""
        return await self._loops.call(self._client.delete_all_chats)

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server lists; see `Client.list_models`."""
        return await self._loops.call(self._client.list_models)

    async def list_plugins(self) -> list[Plugin]:
        """Return the plugins that the server offers; see `Client.list_plugins`."""
        return await self._loops.call(self._client.list_plugins)

    async def get_plugin(self, url: str) -> Plugin:
        """Have the server look up a plugin; see `Client.get_plugin`."""
        return await self._loops.call(partial(self._client.get_plugin, url))

    async def whoami(self) -> User:
        """Return who is signed in; see `Client.whoami`."""
        return await self._loops.call(self._client.whoami)

    async def refresh(self) -> User:
        """Renew the session at a website, and return who is signed in; see `Client.refresh`."""
        return await self._loops.call(self._client.refresh)

    async def delete_account(self, *, confirm: bool = False) -> None:
        """Delete the account of who is signed in; see `Client.delete_account`."""
        await self._loops.call(partial(self._client.delete_account, confirm=confirm))

    async def aclose(self, timeout: float | None = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """
        Close open streams, delete what chats they leave, and close the connections; see `Client.close`.

        If it is cancelled, chats are deleted for as long as it would have waited, and it can be called again.
        """
        seconds = closing_time(timeout)
        self._client._engine.stop()
        for feed in snapshot(self._feeds):
            feed.stop()
        given_up = threading.Event()
        try:
            return await self._loops.here().run_to_the_end(partial(self._close, seconds, given_up))
        except BaseException:
            given_up.set()
            raise

    def _close(self, timeout: float, given_up: threading.Event) -> tuple[str, ...]:
        self._poller.close(JOIN_LIMIT)
        return self._client._engine.close(timeout, given_up)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _unpickle(cls: type[AsyncClient], wrapped: Client) -> AsyncClient:
    client = cls.__new__(cls)
    client._wrap(wrapped)
    return client
