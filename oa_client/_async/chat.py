"""A conversation that the server keeps, and the list of them, for async code."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from oa_client._async.items import AsyncItems
from oa_client._async.loop import Loops
from oa_client._async.stream import AsyncStream
from oa_client._blocking.chat import Chat, ReportType
from oa_client._calls.reply import Opening
from oa_client._chats.listing import Pager
from oa_client._values.chat import ChatInfo, ChatPage
from oa_client._values.message import Message
from oa_client._values.options import AnswerOptions, name_options
from oa_client._values.question import Messages

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncChat:
    """
    A conversation that the server keeps: `Chat` for async code, made by `AsyncClient.create_chat` and `open_chat`.

    ```python
    chat = await client.create_chat()
    async for text in chat.stream("Why is the sky blue?"):
        print(text, end="", flush=True)
    ```

    `stream`, `regenerate` and `edit` are plain calls, which check the arguments; as `AsyncClient.stream`, the reply is
    opened when it is entered or first asked for an item. Turns count in the order in which they are opened.
    """

    def __init__(self, chat: Chat, open_stream: Callable[[Opening], AsyncStream], loops: Loops) -> None:
        self._chat = chat
        self._open_stream = open_stream
        self._loops = loops

    def __repr__(self) -> str:
        return f"<AsyncChat {self.id}>"

    @property
    def id(self) -> str:
        """What `AsyncClient.open_chat` takes; opaque."""
        return self._chat.id

    @name_options
    def stream(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> AsyncStream:
        """Say something, and return the reply while it is written; see `Chat.stream`."""
        return self._open_stream(self._chat._asking(messages, parent, options))

    @name_options
    async def ask(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> Message:
        """Say something, wait, and return the final message; see `Chat.ask`."""
        async with self.stream(messages, parent=parent, **options) as stream:
            return await stream.finish()

    @name_options
    def regenerate(self, message: Message | str | None = None, **options: Unpack[AnswerOptions]) -> AsyncStream:
        """Have a prompt answered once more, and return the reply; see `Chat.regenerate`."""
        return self._open_stream(self._chat._regenerating(message, options))

    @name_options
    def edit(self, message: Message | str, messages: Messages, **options: Unpack[AnswerOptions]) -> AsyncStream:
        """Say something in the place of a prompt, and return the reply; see `Chat.edit`."""
        return self._open_stream(self._chat._editing(message, messages, options))

    async def info(self) -> ChatInfo:
        """Return the title and the other fields of the chat; see `Chat.info`."""
        return await self._loops.call(self._chat.info)

    async def messages(self) -> list[Message]:
        """Return all messages of all branches; see `Chat.messages`."""
        return await self._loops.call(self._chat.messages)

    async def thread(self) -> list[Message]:
        """Return the branch in use, from the first prompt on; see `Chat.thread`."""
        return await self._loops.call(self._chat.thread)

    async def branches(self, message: Message | str) -> list[Message]:
        """Return a message and those that stand beside it; see `Chat.branches`."""
        return await self._loops.call(partial(self._chat.branches, message))

    async def select(self, message: Message | str) -> None:
        """Have the branch in use end at a message; see `Chat.select`."""
        await self._loops.call(partial(self._chat.select, message))

    async def rename(self, title: str) -> None:
        """Give the chat a title; see `Chat.rename`."""
        await self._loops.call(partial(self._chat.rename, title))

    async def hide(self) -> None:
        """Leave the chat out of lists; see `Chat.hide`."""
        await self._loops.call(self._chat.hide)

    async def show(self) -> None:
        """Have the chat in lists again; see `Chat.show`."""
        await self._loops.call(self._chat.show)

    async def allow_data_use(self, allowed: bool = True) -> None:
        """Opt in to the use of the chat for training, or out of it; see `Chat.allow_data_use`."""
        await self._loops.call(partial(self._chat.allow_data_use, allowed))

    async def delete(self) -> bool:
        """Delete the chat, and return whether it is gone already; see `Chat.delete`."""
        return await self._loops.call(self._chat.delete)

    async def export(self, format: Literal["json", "markdown"] = "json") -> str:
        """Return the chat as text, which `Transcript.parse` reads; see `Chat.export`."""
        return await self._loops.call(partial(self._chat.export, format))

    async def vote(self, message: Message | str, score: int) -> None:
        """Say that an answer is good, bad or neither; see `Chat.vote`."""
        await self._loops.call(partial(self._chat.vote, message, score))

    async def evaluate(self, message: Message | str, inferior: Sequence[Message | str]) -> None:
        """Say that a draft is better than others; see `Chat.evaluate`."""
        await self._loops.call(partial(self._chat.evaluate, message, inferior))

    async def report(self, message: Message | str, reason: str, report_type: ReportType = "feedback") -> None:
        """Report an answer to those who run the server; see `Chat.report`."""
        await self._loops.call(partial(self._chat.report, message, reason, report_type))


class AsyncChatList(AsyncIterator[ChatInfo]):
    """The chats of a user, asked for page by page as they are iterated: `ChatList` for async code."""

    def __init__(self, pager: Pager, loops: Loops) -> None:
        self._pager = pager
        self._loops = loops
        self._chats: Iterator[ChatInfo] = iter(())

    def __repr__(self) -> str:
        return f"<AsyncChatList: {self._pager.state}>"

    async def __anext__(self) -> ChatInfo:
        while True:
            for chat in self._chats:
                return chat
            page = await self._loops.call(self._pager.ask)
            if page is None:
                raise StopAsyncIteration
            self._chats = self._pager.go_on(page)

    def pages(self) -> AsyncIterator[ChatPage]:
        """Yield the pages that are left; see `ChatList.pages`."""
        return AsyncItems(self._next_page)

    async def _next_page(self) -> ChatPage:
        while (page := await self._loops.call(self._pager.ask)) is not None:
            self._pager.go_on(page)
            if page.chats:
                return page
        raise StopAsyncIteration
