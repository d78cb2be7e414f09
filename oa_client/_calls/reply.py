"""The state behind a stream: one reply, from the opening of its events to its final message."""

from __future__ import annotations

import enum
import io
import json
import logging
import math
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, overload

from oa_client._calls.clock import pauses
from oa_client._calls.exchange import Exchange
from oa_client._calls.turns import Turn
from oa_client._net.body import Body
from oa_client._net.failure import LINE_ERRORS
from oa_client._net.interrupt import Interrupted
from oa_client._values.errors import (
    APIError,
    AuthError,
    CancelledReplyError,
    GenerationError,
    IncompleteReplyError,
    OAError,
    ProtocolError,
    TransportError,
    TransportTimeout,
    without_frames,
    without_text,
)
from oa_client._values.events import Event, MessageEvent, PendingEvent, TokenEvent, event_from_json
from oa_client._values.foreign import is_foreign
from oa_client._values.json_object import SURROGATE, without_halves
from oa_client._values.message import Message
from oa_client._wire.answers import is_answer
from oa_client._wire.sse import EventReader, ServerSentEvent
from oa_client._wire.surface import DELETABLE_STATES, is_gone

#: seconds of pending events after which the message is looked at: the real server does not tell a stream that its
#: message was cancelled or has timed out.
PENDING_LOOK = 10.0

#: characters; far above any answer, as text and message of it are kept.
TEXT_LIMIT = 64 * 1024 * 1024

#: events after which none comes.
_LAST = ("message", "error")
_STOP_SEQUENCES = ("</s>", "<|endoftext|>", "<|im_end|>")
_HIGH_SURROGATE_AT_END = re.compile("[\ud800-\udbff]\\Z")

_log = logging.getLogger("oa_client")
# json.loads() looks at its arguments for as long as this takes.
_decode = json.JSONDecoder().raw_decode


class Pause(enum.Enum):
    """What a reply that is not to wait for anything has come to."""

    #: It needs bytes from its socket; until `Reply.due`.
    BYTES = enum.auto()
    #: It needs an answer of the server: whoever goes on with it has to wait for that.
    CALL = enum.auto()
    #: Its consumer is far behind. Said by those who read it, not by itself.
    ROOM = enum.auto()
    #: It waits for its turn to ask for an answer. Said by those who open it.
    TURN = enum.auto()


@dataclass(slots=True)
class Outcome:
    """
    What has come of a reply, for who is not to hold the reply itself.

    Attributes:
        message_id: the answer that was asked for.
        message: the final message; None until it has come.
    """

    message_id: str
    message: Message | None = None


class Reply:
    """
    The state behind a `Stream`.

    It does not know its stream: a stream that nobody holds any more is then free of cycles, and is closed at once.

    Attributes:
        received: bytes of the body so far.
    """

    def __init__(
        self, exchange: Exchange, body: Body, chat_id: str, message_id: str, begun: Callable[[], None]
    ) -> None:
        """Take over an open body; `begun` is called, perhaps often, when the message is not pending any more."""
        self.exchange = exchange
        self.chat_id, self.message_id = chat_id, message_id
        self.outcome = Outcome(message_id)
        self.diverged = False
        self.received = 0
        self._body = body
        self._begun = begun
        self._text = io.StringIO()
        self._half = ""
        self._looked = monotonic()
        self._is_over = False
        # Whether the answer will not change any more, though it ends with an error.
        self._is_final = False
        self._read_limit = exchange.timeout.read or math.inf
        self._hide = exchange.transport.secrets.hide
        self._is_bounded = False
        self._waits_since = 0.0

    @property
    def due(self) -> float:
        """Until when `Pause.BYTES` may last, in seconds on the monotonic clock; reading then says what was late."""
        clock = self.exchange.clock
        return self._waits_since + min(self._read_limit, clock.phase_left, clock.total_left)

    @property
    def message(self) -> Message | None:
        """The final message; None until it has come."""
        return self.outcome.message

    @property
    def text(self) -> str:
        """What was yielded."""
        return self._text.getvalue()

    @property
    def is_closed(self) -> bool:
        """Whether it was stopped before its end."""
        return self.exchange.stopped and self.message is None

    def stop(self) -> None:
        """End a reply that is not over, from any thread. Waits for nothing, starts nothing."""
        if not self._is_over:
            self.exchange.stop()

    def release(self) -> None:
        """Close the connection; only while nobody reads."""
        self._body.close()

    @property
    def is_direct(self) -> bool:
        """Whether it can be read with `waits=False`."""
        return self._body.is_direct

    def before_close(self, function: Callable[[], object] | None) -> None:
        """Have a function called before the socket is closed."""
        self._body.before_close = function

    def fileno(self) -> int:
        """Return the descriptor of the socket that `Pause.BYTES` waits for."""
        return self._body.fileno()

    @overload
    def read(self, waits: Literal[True] = True) -> Generator[str | Event, None, None]: ...

    @overload
    def read(self, waits: bool, in_pieces: bool = False) -> Generator[str | Event | Pause, None, None]: ...

    def read(self, waits: bool = True, in_pieces: bool = False) -> Generator[str | Event | Pause, None, None]:
        """
        Yield the reply: text for a token that has any, an event for all else.

        Most readers want the text alone, and at full speed an object for each token is dear. The generator knows
        the reply, so the reply must not know the generator.

        Args:
            waits: if false, a `Pause` is yielded before whatever would wait for the server.
            in_pieces: if true, `Pause.BYTES` is yielded before each wait for more of the body.
        """
        cut = self._body.failure
        final: Message | None = None
        try:
            try:
                final = yield from self._read_events(waits, in_pieces)
            except TransportError as error:
                cut = without_frames(error)
            if self.exchange.stopped:
                return
            if not waits:
                yield Pause.CALL
            if final is None:
                final = self._recover(cut)
            rest = self._rest(final)
            if rest:
                self._text.write(rest)
                yield rest
                if not waits:
                    # Somebody else may go on with it.
                    yield Pause.CALL
            self.outcome.message = final
            undeleted = self._finish()
            if undeleted is not None and self.exchange.is_strict:
                raise undeleted
            self._is_over = True
            yield MessageEvent(final)
        except OAError as error:
            if not self.exchange.stopped:
                if self._is_final:
                    if not waits:
                        yield Pause.CALL
                    self._finish()
                self.exchange.leave_chat()
                self.exchange.clean_up()
                self.exchange.describe(error, self.text)
                raise without_frames(error)  # noqa: B904 - the same error
        finally:
            self.exchange.leave_chat()
            self._body.close()

    def _read_events(self, waits: bool, in_pieces: bool) -> Generator[str | Event | Pause, None, Message | None]:
        """Yield what comes in the events; return the final message if it does."""
        clock, body, write = self.exchange.clock, self._body, self._text.write
        events = EventReader()
        if not waits:
            body.set_timeout(0)
        while not body.is_over and not self.exchange.stopped:
            if in_pieces:
                yield Pause.BYTES
            piece = self._receive(waits)
            if piece is None:
                yield Pause.BYTES
                continue
            # What it takes to read the events counts too, else a flood of them would stop the clock; what the consumer
            # takes does not. A token starts the clock anew anyway, and comes on a path that has no time for this.
            started, away, has_token = monotonic(), 0.0, False
            for event in events.feed(piece):
                # Most events are plain tokens, and those are read here, with nothing that could be spared: a call for
                # each would be a tenth of all that a token costs.
                source, data, end = event.data, None, -1
                try:
                    data, end = _decode(source)
                    text = data["text"]
                    if (
                        data["event_type"] == "token"
                        and text
                        and (text.isascii() or not SURROGATE.search(text))
                        and not self._half
                        and end == len(source)
                        and event.event == "message"
                    ):
                        write(text)
                        if clock.phase == "idle":
                            clock.phase_left = clock.idle
                        else:
                            clock.token()
                            self._begun()
                        has_token = True
                        yield text
                        continue
                except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                    if is_foreign(error):
                        raise
                    # It is something else, or broken: that is told apart below.
                item = self._item(event, data if end == len(source) else None)
                if isinstance(item, MessageEvent):
                    # If it is not complete after all, it is looked for like one that has not come.
                    return self._judge(item.message)
                left = monotonic()
                if item is not None:
                    yield item
                if isinstance(item, PendingEvent) and monotonic() - self._looked >= PENDING_LOOK:
                    if not waits:
                        yield Pause.CALL
                    # Counts its own time.
                    final = self._look()
                    if final is not None:
                        return final
                away += monotonic() - left
            if not has_token:
                clock.spend(monotonic() - started - away)
                clock.check()
            if self._text.tell() > TEXT_LIMIT:
                raise ProtocolError(f"the answer is longer than {TEXT_LIMIT} characters")
        return None

    def _receive(self, waits: bool) -> bytes | None:
        """
        Return bytes of the body, under the clock; perhaps none. None is instead of waiting, until `due`.

        Raises:
            TransportError: if the connection breaks, or a limit is passed.
        """
        self.exchange.process.check()
        clock, body = self.exchange.clock, self._body
        if waits:
            read = self._read_limit
            if self._is_bounded or clock.phase_left < read or clock.total_left < read:
                body.set_timeout(min(max(clock.left, 0.001), read))
                self._is_bounded = clock.left < read
            if not body.is_direct:
                body.set_deadline(max(clock.left, 0.001))
        started = self._waits_since or monotonic()
        try:
            piece = body.read()
        except LINE_ERRORS as error:
            problem = body.translate(error)
            clock.spend(monotonic() - started)
            clock.check()
            raise problem  # noqa: B904 - it has its cause
        if piece is None and (not self._waits_since or monotonic() < self.due):
            self._waits_since = started
            return None
        self._waits_since = 0.0
        waited = monotonic() - started
        clock.phase_left -= waited
        clock.total_left -= waited
        if clock.phase_left <= 0 or clock.total_left <= 0:
            clock.check()
        if piece is None:
            raise body.translate(TimeoutError())
        self.received += len(piece)
        return piece

    def _item(self, event: ServerSentEvent, data: Any) -> str | Event | None:
        """Read an event that is not a plain token, its data if known: text, an event, or None for a heartbeat."""
        if event.event == "ping" or not event.data:
            # Gateways send heartbeats without data too.
            return None
        try:
            data = json.loads(event.data) if data is None else data
        except (ValueError, RecursionError) as error:
            if event.event == "error":
                raise GenerationError(self._hide(f"the server reports an error: {event.data}")) from without_text(error)
            raise ProtocolError("the server sent an event that is not JSON") from without_text(error)
        if not isinstance(data, dict):
            raise ProtocolError("the server sent an event that is not a JSON object")
        if data.get("event_type") in _LAST and not is_answer(data.get("message"), self.chat_id, self.message_id):
            # As good as none, so the answer is looked for.
            raise TransportError("the last event of the stream tells of another message")
        self.exchange.clock.event()
        if data.get("event_type") != "pending":
            self._begun()
        if data.get("event_type") == "error":
            raise self._error(data)
        item = event_from_json(data)
        if not isinstance(item, TokenEvent):
            return item
        if self.exchange.clock.phase != "idle" and item.text:
            self.exchange.clock.token()
        text = self._join_surrogates(item.text)
        self._text.write(text)
        return text or TokenEvent("")

    def _join_surrogates(self, text: str) -> str:
        """Put together what a worker split; half a pair waits for the next event."""
        text, self._half = self._half + text, ""
        if not SURROGATE.search(text):
            return text
        half = _HIGH_SURROGATE_AT_END.search(text)
        if half:
            text, self._half = text[: half.start()], half[0]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _error(self, data: dict[str, Any]) -> OAError:
        """Make the error for an error event."""
        words = data.get("error")
        words = self._hide(without_halves(words)) if isinstance(words, str) and words else "no reason given"
        state = data["message"].get("state") if isinstance(data.get("message"), dict) else None
        # It may be anything, and nothing that a set takes.
        self._is_final = isinstance(state, str) and state in DELETABLE_STATES
        if state == "timeout":
            return CancelledReplyError(f"{words}: the message waited too long on the server", reason="timeout")
        return GenerationError(words)

    def _look(self) -> Message | None:
        """Look at a message that has been pending for a while; return it if it is complete."""
        self._looked = monotonic()
        try:
            return self._judge(self._get_message())
        except (TransportError, APIError):
            # The stream itself is alive; the next look may work.
            return None

    def _get_message(self) -> Message:
        exchange = self.exchange
        try:
            return exchange.send_late(exchange.surface.get_message(self.chat_id, self.message_id))
        except APIError as error:
            if is_gone(exchange.surface, self.chat_id, exchange.send_late):
                raise CancelledReplyError("the chat was deleted", reason="deleted") from error
            raise

    def _judge(self, message: Message) -> Message | None:
        """Return the message if it is complete, None if it may yet be, and raise if it never will."""
        if message.state != "pending":
            self._begun()
        if message.state == "complete":
            return message
        self._is_final = message.state in DELETABLE_STATES
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

    def _recover(self, cut: OAError | None) -> Message:
        """
        Return the final message though the stream ended without it.

        The events are not opened again: through the website the abandoned reader would take half of them.
        """
        clock = self.exchange.clock
        problem: OAError | None = cut
        for pause in pauses():
            try:
                message = self._judge(self._get_message())
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
                self.exchange.interrupt.wait(min(pause, clock.left))
        raise AssertionError  # the pauses do not end

    def _rest(self, message: Message) -> str:
        """Return what is yet to be yielded: what the final text adds, or the half of a pair that was held back."""
        final, yielded = message.content or "", self.text
        if final.startswith(yielded):
            return final[len(yielded) :]
        half = "\N{REPLACEMENT CHARACTER}" if self._half else ""
        if _bare(final) != _bare(yielded + half):
            self.diverged = True
            _log.warning(
                "message %s: the final text differs from the tokens; Stream.message has the final text", message.id
            )
        return half

    def _finish(self) -> OAError | None:
        """Read the body to its end and delete the chat: the answer is final. Never fails, but may return why."""
        self._body.drain()
        return self.exchange.delete_chat()


#: Opens a reply, in steps: it waits as `Turn.come` does. Is given a function to be told of the exchange.
Opening = Callable[[Callable[[Exchange], object]], Generator[Turn, None, Reply]]


def _bare(text: str) -> str:
    """Return a text without white space and stop sequences at its ends."""
    text = text.strip()
    for stop in _STOP_SEQUENCES:
        text = text.removesuffix(stop).rstrip()
    return text
