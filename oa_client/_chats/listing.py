"""The list of a user's chats, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from oa_client._calls.engine import Engine
from oa_client._values.chat import ChatInfo, ChatPage
from oa_client._values.errors import ConfigurationError, ProtocolError
from oa_client._wire.call import Call
from oa_client._wire.surface import Surface


class Walk:
    """
    A way through the pages of the list.

    Args:
        engine: of the client.
        after: a cursor; the way begins behind it and leads to older chats, as without a cursor.
        before: a cursor; the way begins before it and leads to newer chats.
        include_hidden: whether to list those that are hidden.

    Raises:
        ConfigurationError: if both cursors are given, or one is none.
    """

    def __init__(self, engine: Engine, after: str | None, before: str | None, include_hidden: bool) -> None:
        if after is not None and before is not None:
            raise ConfigurationError("after and before are both given: the list is walked in one direction")
        for name, cursor in (("after", after), ("before", before)):
            if cursor is not None and (not isinstance(cursor, str) or not cursor):
                raise ConfigurationError(f"{name} must be a cursor: ChatPage.next, or ChatPage.prev")
        self._engine = engine
        self._leads_to_newer = before is not None
        self._cursor = after or before
        self._passed = set() if self._cursor is None else {self._cursor}
        self._include_hidden = bool(include_hidden)
        self._is_over = False
        self._pages = 0

    @property
    def state(self) -> str:
        """How far it has come, in words."""
        read = "1 page" if self._pages == 1 else f"{self._pages} pages"
        return f"{read} read, {'no more' if self._is_over else 'more to come'}"

    def ask(self) -> ChatPage | None:
        """
        Ask for the next page; None is the end.

        It stays the next until `go_on`, so that one whose answer nobody took, by an error or a cancellation, can be
        asked for again.
        """
        if self._is_over:
            return None
        page = self._engine.send(self._call)
        if page.chats and self._cursor_behind(page) in self._passed:
            raise ProtocolError("the server's list of chats goes round in circles")
        return page

    def go_on(self, page: ChatPage) -> Iterator[ChatInfo]:
        """
        Go behind a page.

        Returns:
            its chats in the order of the way; pages have the newest first, wherever it leads.
        """
        self._pages += 1
        self._cursor = self._cursor_behind(page)
        # Behind the last of the newer ones the servers still name a cursor.
        if self._cursor is None or not page.chats:
            self._is_over = True
        else:
            self._passed.add(self._cursor)
        return iter(page.chats[::-1] if self._leads_to_newer else page.chats)

    def _cursor_behind(self, page: ChatPage) -> str | None:
        return page.prev if self._leads_to_newer else page.next

    def _call(self, surface: Surface) -> Call[ChatPage]:
        if self._leads_to_newer:
            return surface.list_chats(None, self._cursor, self._include_hidden)
        return surface.list_chats(self._cursor, None, self._include_hidden)


class ChatList(Iterator[ChatInfo]):
    """
    The chats of a user, asked for page by page as they are iterated; see `Client.list_chats`.

    Iterating raises what the calls of a client raise, and can be gone on with after that.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._chats: Iterator[ChatInfo] = iter(())

    def __repr__(self) -> str:
        return f"<ChatList: {self._walk.state}>"

    def __next__(self) -> ChatInfo:
        while True:
            for chat in self._chats:
                return chat
            page = self._walk.ask()
            if page is None:
                raise StopIteration
            self._chats = self._walk.go_on(page)

    def pages(self) -> Iterator[ChatPage]:
        """Yield the pages that are left, each with the newest first, and with the cursors of its neighbours."""
        while (page := self._walk.ask()) is not None:
            self._walk.go_on(page)
            if page.chats:
                yield page
