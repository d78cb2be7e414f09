"""The list of a user's chats, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from oa_client._calls.engine import Engine
from oa_client._values.chat import ChatInfo, ChatPage
from oa_client._values.errors import ConfigurationError, ProtocolError
from oa_client._wire.call import Call
from oa_client._wire.surface import Surface


class Pager:
    """
    Fetches the pages of the list, in one direction.

    Args:
        engine: the client's engine.
        after: a cursor; begin there and go to older chats, as without a cursor.
        before: a cursor; begin before it and go to newer chats.
        include_hidden: whether to list hidden chats.

    Raises:
        ConfigurationError: if both cursors are given, or one is not a cursor.
    """

    def __init__(self, engine: Engine, after: str | None, before: str | None, include_hidden: bool) -> None:
        if after is not None and before is not None:
            raise ConfigurationError("after and before are both given: pass only one")
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
        """How far the fetching has come, in words."""
        read = "1 page" if self._pages == 1 else f"{self._pages} pages"
        return f"{read} read, {'no more' if self._is_over else 'more to come'}"

    def ask(self) -> ChatPage | None:
        """
        Ask for the next page; None means the end.

        It stays the next page until `go_on`, so that it can be asked for again after an error or a cancellation.
        """
        if self._is_over:
            return None
        page = self._engine.send(self._call)
        if page.chats and self._cursor_behind(page) in self._passed:
            raise ProtocolError("the server's list of chats never ends: one of its pages leads back to an earlier one")
        return page

    def go_on(self, page: ChatPage) -> Iterator[ChatInfo]:
        """
        Go past a page.

        Returns:
            its chats in the order of the direction; in a page the newest always comes first.
        """
        self._pages += 1
        self._cursor = self._cursor_behind(page)
        # After the last page of newer chats the servers still name a cursor.
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
    An iterator over the user's chats, which fetches them page by page; see `Client.list_chats`.

    Iterating raises the errors of a client's calls; after an error you can iterate on.
    """

    def __init__(self, pager: Pager) -> None:
        self._pager = pager
        self._chats: Iterator[ChatInfo] = iter(())

    def __repr__(self) -> str:
        return f"<ChatList: {self._pager.state}>"

    def __next__(self) -> ChatInfo:
        while True:
            for chat in self._chats:
                return chat
            page = self._pager.ask()
            if page is None:
                raise StopIteration
            self._chats = self._pager.go_on(page)

    def pages(self) -> Iterator[ChatPage]:
        """Yield the remaining pages, each with the newest chat first, and with the cursors of its neighbours."""
        while (page := self._pager.ask()) is not None:
            self._pager.go_on(page)
            if page.chats:
                yield page
