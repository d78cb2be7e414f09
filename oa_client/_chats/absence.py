"""A chat that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oa_client._calls.exchange import Exchange
from oa_client._values.errors import APIError, NotFoundError, OAError, RateLimitError, reworded
from oa_client._wire.surface import is_gone


@contextmanager
def explaining_absence(exchange: Exchange, chat_id: str) -> Iterator[None]:
    """Tell a chat that is not there from a server in trouble, where the server gives one answer for both."""
    try:
        yield
    except APIError as error:
        if error.status not in (404, 500) or isinstance(error, RateLimitError):
            raise
        try:
            is_missing = is_gone(exchange.surface, chat_id, exchange.send)
        except OAError:
            # A 404 may stand for the trouble that this tells of; a 500 is as good as this.
            if error.status == 404 or exchange.stopped:
                raise
            is_missing = False
        if not is_missing:
            raise
        said = f": {error.detail}" if error.detail else ""
        raise reworded(
            error,
            NotFoundError,
            f"there is no chat {chat_id} here, or it is another user's{said}",
        ) from error
