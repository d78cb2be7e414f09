"""The state behind a stream: one reply, from the opening of its events to its final message."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Literal, overload

from oa_client._calls.exchange import Exchange
from oa_client._calls.life import State
from oa_client._calls.pause import Pause
from oa_client._calls.record import AnswerRecord
from oa_client._calls.turns import Turn
from oa_client._net.body import Body
from oa_client._net.failure import LINE_ERRORS
from oa_client._values.errors import (
    APIError,
    CancelledReplyError,
    GenerationError,
    OAError,
    ProtocolError,
    TransportError,
    without_frames,
    without_text,
)
from oa_client._values.events import Event, MessageEvent, PendingEvent, TokenEvent, event_from_json
from oa_client._values.foreign import is_foreign
from oa_client._values.json_object import SURROGATE, without_halves
from oa_client._values.message import Message
from oa_client._wire.answers import is_answer
from oa_client._wire.limits import TEXT_LIMIT
from oa_client._wire.sse import EventReader, ServerSentEvent
from oa_client._wire.surface import DELETABLE_STATES
from oa_client._wire.text import join_surrogates, rest_of

#: seconds of pending events after which the message is looked at: the real server does not tell a stream that its
#: message was cancelled or has timed out.
PENDING_LOOK = 10.0

#: events after which none comes.
_LAST = ("message", "error")
_log = logging.getLogger("oa_client")
# json.loads() looks at its arguments for as long as this takes.
_decode = json.JSONDecoder().raw_decode


class Reply:
    """
    The state behind a `Stream`.

    It does not know its stream: a stream that nobody holds any more is then free of cycles, and is closed at once.

    Attributes:
        received: bytes of the body so far.
    """

    def __init__(self, exchange: Exchange, body: Body, chat_id: str, message_id: str) -> None:
        """Take over an open body."""
        self.exchange = exchange
        self.life = exchange.life
        self.chat_id, self.message_id = chat_id, message_id
        self.diverged = False
        self.received = 0
        self._body = body
        self._text = io.StringIO()
        self._half = ""
        self._record = AnswerRecord(exchange, chat_id, message_id)
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
        return self.life.message

    @property
    def text(self) -> str:
        """What was yielded."""
        return self._text.getvalue()

    def stop(self) -> None:
        """End a reply that is not over, from any thread. Waits for nothing, starts nothing."""
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
        life, cut = self.life, self._body.failure
        final: Message | None = None
        try:
            try:
                final = yield from self._read_events(waits, in_pieces)
            except TransportError as error:
                cut = without_frames(error)
            if life.is_left:
                return
            if not waits:
                yield Pause.CALL
            if final is None:
                final = self._record.recover(cut)
            rest = self._rest(final)
            if rest:
                self._text.write(rest)
                yield rest
                if not waits:
                    # Somebody else may go on with it.
                    yield Pause.CALL
            life.settle(final)
            self._body.drain()
            undeleted = self.exchange.delete_chat()
            life.end()
            if undeleted is not None and self.exchange.is_strict:
                raise undeleted
            yield MessageEvent(final)
        except OAError as error:
            if not life.is_left:
                if life.progress is State.FINAL:
                    if not waits:
                        yield Pause.CALL
                    self._body.drain()
                    self.exchange.delete_chat()
                self.exchange.leave_chat()
                self.exchange.clean_up()
                self.exchange.describe(error, self.text)
                raise without_frames(error)  # noqa: B904 - the same error
        finally:
            self.exchange.leave_chat()
            self._body.close()

    def _read_events(self, waits: bool, in_pieces: bool) -> Generator[str | Event | Pause, None, Message | None]:
        """Yield what comes in the events; return the final message if it does."""
        life, clock, body, write = self.life, self.exchange.clock, self._body, self._text.write
        events = EventReader()
        if not waits:
            body.set_timeout(0)
        while not body.is_over and not life.is_left:
            if in_pieces:
                yield Pause.BYTES
            piece = self._receive(waits)
            if piece is None:
                yield Pause.BYTES
                continue
            # The time to read the events counts too, or a flood of them would stop the clock. The consumer's time does
            # not count. A token starts the clock again anyway, and comes on a path that has no time for this.
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
                            life.begin()
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
                    return self._record.judge(item.message)
                left = monotonic()
                if item is not None:
                    yield item
                if isinstance(item, PendingEvent) and monotonic() - self._record.looked >= PENDING_LOOK:
                    if not waits:
                        yield Pause.CALL
                    # If it fails, the stream itself is alive, and the next look may work. Counts its own time.
                    with contextlib.suppress(TransportError, APIError):
                        final = self._record.look()
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
            self.life.begin()
        if data.get("event_type") == "error":
            raise self._error(data)
        item = event_from_json(data)
        if not isinstance(item, TokenEvent):
            return item
        if self.exchange.clock.phase != "idle" and item.text:
            self.exchange.clock.token()
        text, self._half = join_surrogates(self._half + item.text)
        self._text.write(text)
        return text or TokenEvent("")

    def _error(self, data: dict[str, Any]) -> OAError:
        """Make the error for an error event."""
        words = data.get("error")
        words = self._hide(without_halves(words)) if isinstance(words, str) and words else "no reason given"
        state = data["message"].get("state") if isinstance(data.get("message"), dict) else None
        # It may be anything, and nothing that a set takes.
        if isinstance(state, str) and state in DELETABLE_STATES:
            self.life.settle()
        if state == "timeout":
            return CancelledReplyError(f"{words}: the message waited too long on the server", reason="timeout")
        return GenerationError(words)

    def _rest(self, message: Message) -> str:
        """Return what is yet to be yielded."""
        rest, self.diverged = rest_of(message.content or "", self.text, self._half)
        if self.diverged:
            _log.warning(
                "message %s: the final text differs from the tokens; Stream.message has the final text", message.id
            )
        return rest


#: Opens a reply, in steps: it waits as `Turn.come` does. Is given a function to be told of the exchange.
Opening = Callable[[Callable[[Exchange], object]], Generator[Turn, None, Reply]]
