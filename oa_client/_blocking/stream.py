"""One reply, while it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from oa_client._calls.life import State
from oa_client._calls.reply import Reply
from oa_client._values.errors import ConfigurationError, IncompleteReplyError, OAError
from oa_client._values.events import Event, TokenEvent
from oa_client._values.foreign import is_foreign
from oa_client._values.message import Message


def unfinished(chat_id: str | None, message_id: str | None, text: str) -> IncompleteReplyError:
    """Return the error for a stream that ended without its final message."""
    error = IncompleteReplyError("the stream was closed, or has failed, before its end")
    error.chat_id, error.message_id, error.text = chat_id, message_id, text
    return error


class Stream:
    """
    A reply while it arrives: an iterator over its text, for one pass.

    It yields each token that is not empty as a `str`. At the end you have the text of the final message; if the message
    is longer than the tokens, its rest comes as one more token. Yielded text is never taken back: if the message says
    something else, `diverged` is true, and `message` is right.

    A stream that you read to its end cleans up after itself. If you may leave it early, use `with`, or close it.

    Iterating raises errors with `chat_id`, `message_id` and the `text` so far:

    Raises:
        GenerationError: if the server reports an error, or aborted the answer.
        CancelledReplyError: if the message was cancelled, timed out on the server, or deleted.
        TransportTimeout: if a limit of `Timeout` passes and the server's record is not complete either.
        IncompleteReplyError: if the connection breaks, and the message is not complete within the limits.
        ProtocolError: if the server sends something that is not an event.
        ConfigurationError: if another thread is reading the stream.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._items = reply.read()

    def __repr__(self) -> str:
        is_left = self._reply.life.state is State.LEFT
        state = "complete" if self.message is not None else "closed" if is_left else "open"
        return f"<Stream of message {self.message_id}: {state}>"

    @property
    def chat_id(self) -> str:
        """The chat that the reply belongs to."""
        return self._reply.chat_id

    @property
    def message_id(self) -> str:
        """The assistant message."""
        return self._reply.message_id

    @property
    def text(self) -> str:
        """The text that was yielded so far."""
        return self._reply.text

    @property
    def message(self) -> Message | None:
        """The whole final message; None until it has come."""
        return self._reply.message

    @property
    def diverged(self) -> bool:
        """Whether the final text differs from `text`, apart from white space and stop sequences at its ends."""
        return self._reply.diverged

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            for item in self._items:
                if type(item) is str:
                    return item
        except ValueError as error:
            self._explain(error)
        raise StopIteration

    def events(self) -> Iterator[Event]:
        """
        Yield every event of the reply, the `MessageEvent` last.

        It shares its one pass with iterating: text that you have read does not come again as an event. While the
        message is queued, a `PendingEvent` comes about once a second. It raises the errors of iterating.
        """
        try:
            for item in self._items:
                yield TokenEvent(item) if isinstance(item, str) else item
        except ValueError as error:
            self._explain(error)

    def _explain(self, error: ValueError) -> None:
        """Raise an error of the iteration; for a generator that another thread executes, say so."""
        if is_foreign(error):
            raise error
        if self._reply.life.is_left:
            # close(), while another thread reads.
            return
        if isinstance(error, OAError):
            raise error
        raise ConfigurationError(
            "another thread is reading this stream: read it in one thread, and pass on its text from there"
        ) from error

    def finish(self) -> Message:
        """
        Read to the end and return the final message.

        Raises:
            IncompleteReplyError: if the stream was closed before its end, or has already raised an error.
            OAError: as iterating does.
        """
        try:
            for _ in self._items:
                pass
        except ValueError as error:
            self._explain(error)
        if self.message is None:
            raise unfinished(self.chat_id, self.message_id, self.text)
        return self.message

    def close(self) -> None:
        """
        End the stream at once, from any thread; you may call this again.

        If a thread waits for the next token, its iteration ends. The chat is deleted in the background as soon as its
        answer is final; see `Client.close`.
        """
        self._reply.stop()
        try:
            self._items.close()
        except ValueError as error:
            if is_foreign(error):
                raise
            # Another thread is reading; stop() has woken it, and it releases the connection.
        else:
            self._reply.release()
        self._reply.exchange.clean_up()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # No I/O and no threads here: the clean-up gets to the chat at the client's next call, or at exit.
        if hasattr(self, "_reply"):
            self._reply.stop()
