"""Tell whether a chat is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oa_client._calls.exchange import Exchange
from oa_client._values.errors import APIError, NotFoundError, OAError, RateLimitError, reworded
from oa_client._wire.surface import is_gone


@contextmanager
def explaining_absence(exchange: Exchange, chat_id: str) -> Iterator[None]:
    """Tell a missing chat from a server in trouble, for which a server may give the same answer."""
    try:
        yield
    except APIError as error:
        if error.status not in (404, 500) or isinstance(error, RateLimitError):
            raise
        try:
            is_missing = is_gone(exchange.surface, chat_id, exchange.send)
        except OAError:
            # The 404 may mean the trouble that this error reports; after a 500, either error will do.
            if error.status == 404 or exchange.life.is_left:
                raise
            is_missing = False
        if not is_missing:
            raise
        said = f": {error.detail}" if error.detail else ""
        raise reworded(
            error,
            NotFoundError,
            f"the server has no chat {chat_id}, or it is another user's{said}",
        ) from error
