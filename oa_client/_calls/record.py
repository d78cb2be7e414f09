"""What the server's record says of an answer, whatever its stream says."""

from __future__ import annotations

import logging
from time import monotonic

from oa_client._calls.clock import pauses
from oa_client._calls.exchange import Exchange
from oa_client._net.interrupt import Interrupted
from oa_client._values.errors import (
    APIError,
    AuthError,
    CancelledReplyError,
    GenerationError,
    IncompleteReplyError,
    OAError,
    TransportError,
    TransportTimeout,
)
from oa_client._values.message import Message
from oa_client._wire.surface import DELETABLE_STATES, is_gone

_log = logging.getLogger("oa_client")


class AnswerRecord:
    """
    The message that an answer is on the server.

    Args:
        exchange: of the reply.
        chat_id: of its chat.
        message_id: of the message.

    Attributes:
        looked: when it was last looked at, in seconds on the monotonic clock.
    """

    def __init__(self, exchange: Exchange, chat_id: str, message_id: str) -> None:
        self.looked = monotonic()
        self._exchange = exchange
        self._chat_id, self._message_id = chat_id, message_id

    def look(self) -> Message | None:
        """Look at the message, and judge it; raises what the calls and `judge` raise."""
        self.looked = monotonic()
        exchange = self._exchange
        try:
            message = exchange.send_late(exchange.surface.get_message(self._chat_id, self._message_id))
        except APIError as error:
            if is_gone(exchange.surface, self._chat_id, exchange.send_late):
                raise CancelledReplyError("the chat was deleted", reason="deleted") from error
            raise
        return self.judge(message)

    def judge(self, message: Message) -> Message | None:
        """Return the message if it is complete, None if it may yet be, and raise if it never will."""
        if message.state != "pending":
            self._exchange.life.begin()
        if message.state == "complete":
            return message
        if message.state in DELETABLE_STATES:
            self._exchange.life.settle()
        if message.state == "aborted_by_worker":
            raise GenerationError("the server gave the answer up; its reason went to a stream that was not open")
        if message.state == "cancelled":
            raise CancelledReplyError(
                "another request of the same account took the place of this one, which was still queued",
                reason="cancelled",
            )
        if message.state == "timeout":
            raise CancelledReplyError("the message waited too long on the server", reason="timeout")
        return None

    def recover(self, cut: OAError | None) -> Message:
        """
        Return the final message though the stream ended without it.

        The events are not opened again: through the website the abandoned reader would take half of them.
        """
        clock = self._exchange.clock
        problem: OAError | None = cut
        for pause in pauses():
            try:
                message = self.look()
                if message is not None:
                    _log.info(
                        "message %s: taken from the server's record, as its stream ended early%s",
                        message.id,
                        f": {cut}" if cut else "",
                    )
                    return message
            except AuthError:
                raise
            except (TransportError, APIError) as error:
                if isinstance(error, Interrupted):
                    raise
                problem = error
            if isinstance(cut, TransportTimeout):
                raise cut
            if clock.left <= 0:
                raise IncompleteReplyError(
                    "the connection was lost before the final message, and the server did not have it in time"
                ) from problem
            with clock.waiting():
                self._exchange.interrupt.wait(min(pause, clock.left))
        raise AssertionError  # the pauses do not end
