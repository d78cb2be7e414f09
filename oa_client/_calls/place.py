"""Where the prompt of a question goes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from oa_client._calls.exchange import Exchange
from oa_client._calls.turns import Turn


class Place:
    """
    The place of a prompt: the beginning of a chat that is made for it.

    Args:
        keep: whether the chat stays on the server.
        chat_id: the chat that the place is in; None makes one.
    """

    def __init__(self, keep: bool, chat_id: str | None = None) -> None:
        self.keep = keep
        self.chat_id = chat_id

    def around(self, exchange: Exchange) -> AbstractContextManager[Turn | None]:
        """
        Return what surrounds the opening of a reply.

        Its value is the turn to wait for before anything is sent; None if nobody else can use the chat.
        """
        return nullcontext()

    def put(self, exchange: Exchange, chat_id: str, text: str) -> str:
        """Post the prompt, or find it in the chat, and return its id."""
        return exchange.send(exchange.surface.post_prompt(chat_id, None, text))
