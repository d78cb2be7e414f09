"""The client makes of every recorded answer of the real servers what it says, however its bytes come."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest

from oa_client import (
    APIError,
    AuthError,
    BusyError,
    CancelledReplyError,
    Client,
    Event,
    GenerationError,
    IncompleteReplyError,
    Message,
    MessageEvent,
    NotFoundError,
    OAError,
    PendingEvent,
    PluginEvent,
    RateLimitError,
    RequestError,
    Timeout,
    TokenEvent,
    UnknownEvent,
)
from tests.replay import FRAMINGS, Exchange, Framing, ReplayServer, recordings
from tests.scripted import END_OF_HEAD

STREAMED = [item for recording in recordings() for item in recording.events_exchanges]
ENDED = [item for item in STREAMED if item.ended != "open"]
LEFT_OPEN = [item for item in STREAMED if item.ended == "open"]
SILENT = {item.surface: item for item in LEFT_OPEN if item.expectation.text}
REFUSED = [item for recording in recordings() for item in recording.refused_posts]
# A recorded answer that never becomes final is given up soon; no recording needs longer in earnest.
PATIENCE = Timeout(connect=20, read=20, first_token=0.5, idle=0.5)
STOP_SEQUENCES = ("</s>", "<|endoftext|>", "<|im_end|>")
# Where a chat may be deleted; in any other state the real server would harm other users.
DELETABLE_STATES = ("complete", "aborted_by_worker", "timeout")
ERROR_CLASSES: Mapping[int, type[APIError]] = {
    400: RequestError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    413: RequestError,
    422: RequestError,
    429: RateLimitError,
    503: BusyError,
}


@dataclass(frozen=True)
class Outcome:
    """
    What comes out of a stream.

    Attributes:
        text: the joined pieces.
        content: of the final message.
        diverged: whether the two contradict each other.
        error: the class that was raised.
        reason: of a cancelled reply.
        status: of a refusal.
        detail: of a refusal.
    """

    text: str
    content: str | None = None
    diverged: bool = False
    error: type[OAError] | None = None
    reason: str | None = None
    status: int | None = None
    detail: Any = None


def expected_outcome(exchange: Exchange, stored: Mapping[str, Any]) -> Outcome:
    """Work out what must come of an exchange, GET message telling `stored` after it."""
    heard = exchange.expectation
    if exchange.status >= 400:
        error = ERROR_CLASSES.get(exchange.status, APIError)
        return Outcome("", error=error, status=exchange.status, detail=detail_of(exchange))
    final = heard.message or stored
    if heard.terminal == "error" and final["state"] == "timeout":
        return Outcome(heard.text, error=CancelledReplyError, reason="timeout")
    if heard.terminal == "error" or final["state"] == "aborted_by_worker":
        return Outcome(heard.text, error=GenerationError)
    if final["state"] != "complete":
        return Outcome(heard.text, error=IncompleteReplyError)
    content: str = final["content"]
    if content.startswith(heard.text):
        return Outcome(content, content)
    return Outcome(heard.text, content, diverged=without_ends(heard.text) != without_ends(content))


def without_ends(text: str) -> str:
    """Take away what may differ between tokens and message at no loss."""
    text = text.strip()
    for sequence in STOP_SEQUENCES:
        text = text.removesuffix(sequence)
    return text.strip()


def detail_of(refusal: Exchange) -> Any:
    """Return the server's explanation of a refusal: a text, or a list of wrong fields."""
    try:
        data = refusal.json
    except ValueError:
        return refusal.body.decode()
    return data["message"] if refusal.surface == "website" else data["detail"]


def observe(client: Client) -> tuple[Outcome, OAError | None]:
    """Stream one answer; return what came of it, and the error."""
    pieces: list[str] = []
    try:
        stream = client.stream("hello")
        pieces.extend(stream)
        message = stream.finish()
    except OAError as error:
        reason, status, detail = (getattr(error, name, None) for name in ("reason", "status", "detail"))
        outcome = Outcome("".join(pieces), error=type(error), reason=reason, status=status, detail=detail)
        return outcome, error
    assert "".join(pieces) == stream.text
    assert message is stream.message
    return Outcome(stream.text, message.content, stream.diverged), None


def event_of(kind: str, fields: Mapping[str, Any]) -> Event:
    """Return the event that the client must make of a recorded one."""
    if kind == "token":
        return TokenEvent(fields["text"])
    if kind == "pending":
        return PendingEvent(fields["queue_position"], fields["queue_size"])
    if kind == "message":
        return MessageEvent(message_of(fields["message"]))
    if kind == "plugin_intermediate":
        names = ("thought", "action_taken", "action_input", "action_response")
        return PluginEvent(**{name: fields[f"current_plugin_{name}"] for name in names})
    return UnknownEvent(kind, {"event_type": kind, **fields})


def message_of(data: Mapping[str, Any]) -> Message:
    """Return the message that the client must make of a recorded one."""
    created_at = datetime.fromisoformat(data["created_at"]).replace(tzinfo=timezone.utc)
    return Message(**{**data, "created_at": created_at})


def says_one_thing(exchange: Exchange) -> bool:
    """Return False for an answer that both keeps and ends its connection: the recorder had asked for the end."""
    return exchange.raw.partition(END_OF_HEAD)[0].count(b"\r\nconnection: ") < 2


def by_id(exchange: Exchange) -> str:
    """Name a parameter."""
    return exchange.id


def test_nothing_is_lost() -> None:
    """As many recorded answers are replayed as there were when this was written."""
    counts = {
        name: Counter(exchange.surface for exchange in exchanges)
        for name, exchanges in (("ended", ENDED), ("left open", LEFT_OPEN), ("refused", REFUSED))
    }

    assert {
        "ended": {"inference": 72, "website": 58},
        "left open": {"inference": 22, "website": 20},
        "refused": {"inference": 48, "website": 48},
    } == counts


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("exchange", ENDED, ids=by_id)
def test_ended_stream(exchange: Exchange, framing: Framing) -> None:
    """A recorded stream gives the same text, message, error and words at every framing."""
    with ReplayServer(exchange, framing) as server:
        is_final = server.stored_message["state"] in DELETABLE_STATES
        client = Client(server.url, **server.credentials, timeout=PATIENCE)
        observed, error = observe(client)
        left = client.close(timeout=20 if is_final else 0.2)

    assert expected_outcome(exchange, server.stored_message) == observed
    assert error is None or observed.text == error.text
    assert (exchange.expectation.error or "") in str(error)
    if is_final:
        assert ((), list(server.chats)) == (left, server.deleted_chats)
    else:
        assert (tuple(server.chats), [], []) == (left, server.deleted_chats, server.visible_chats)


@pytest.mark.parametrize("exchange", [item for item in ENDED if item.expectation.terminal == "message"], ids=by_id)
def test_events_of_a_stream(exchange: Exchange) -> None:
    """`events` gives every recorded event with all its fields, in order; only a missing rest is added."""
    heard = exchange.expectation
    expected = [event_of(*item) for item in heard.events]
    rest = (heard.message or {})["content"].removeprefix(heard.text)
    if rest and (heard.message or {})["content"].startswith(heard.text):
        expected.insert(-1, TokenEvent(rest))

    with ReplayServer(exchange) as server, Client(server.url, **server.credentials) as client:
        stream = client.stream("hello")
        observed = list(stream.events())

    assert expected == observed
    if says_one_thing(exchange):
        assert ["create", "prompter", "assistant", "events", "delete"] == server.calls
    assert exchange.ids == [stream.chat_id, stream.message_id]


@pytest.mark.parametrize("exchange", LEFT_OPEN, ids=by_id)
def test_stream_that_is_left(exchange: Exchange) -> None:
    """What a stream held when the recorder left is yielded at once, and leaving closes its connection."""
    expected = [event_of(*item) for item in exchange.expectation.events]
    with ReplayServer(exchange) as server, Client(server.url, **server.credentials) as client:
        stream = client.stream("hello")
        events = stream.events()
        observed = [next(events) for _ in expected]
        stream.close()
        server.wait_until(lambda: server.readers_left)
        remaining = list(events)
        with pytest.raises(IncompleteReplyError) as caught:
            stream.finish()
        left = client.close(timeout=0.3)

    assert expected == observed
    assert [] == remaining
    assert (exchange.expectation.text, None) == (stream.text, stream.message)
    assert (*exchange.ids, stream.text) == (caught.value.chat_id, caught.value.message_id, caught.value.text)
    assert (exchange.ids[0] in left) != (exchange.ids[0] in server.deleted_chats)
    assert [] == server.visible_chats


@pytest.mark.parametrize("exchange", [*SILENT.values()], ids=by_id)
def test_close_wakes_the_reader(exchange: Exchange) -> None:
    """`close` from another thread ends an iteration that waits for a token which never comes."""
    pieces: list[str] = []
    waiting = threading.Event()
    with ReplayServer(exchange) as server, Client(server.url, **server.credentials) as client:
        stream = client.stream("hello")

        def read() -> None:
            for piece in stream:
                pieces.append(piece)
                if "".join(pieces) == exchange.expectation.text:
                    waiting.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert waiting.wait(20)
        stream.close()
        reader.join(20)
        client.close(timeout=0.3)

        assert not reader.is_alive()


@pytest.mark.parametrize(
    "name",
    [
        "inference-stream_normal-2",
        "inference-stream_error_first-2",
        "inference-stream_finished_message-1",
        "inference-stream_bad_targets-0",
        "inference-assistant_message_errors-1",
        "website-stream_normal-2",
        "website-stream_general_error-2",
        "website-stream_finished_message-1",
        "website-stream_bad_targets-0",
        "website-assistant_message_errors-1",
    ],
)
def test_no_connection_is_left(name: str) -> None:
    """After `Client.close` no connection is open, though the caller still holds the stream or the error."""
    (exchange,) = (item for item in STREAMED + REFUSED if item.id == name)
    with ReplayServer(exchange, timeout=5) as server:
        held: list[object] = []
        with Client(server.url, **server.credentials) as client:
            try:
                stream = client.stream("hello")
                held += [stream, *stream]
            except OAError as error:
                held.append(error)
        server.wait_until(lambda: server.open_connections == 0)

        assert held


@pytest.mark.parametrize("exchange", REFUSED, ids=by_id)
def test_refused_post(exchange: Exchange) -> None:
    """A recorded refusal raises the class of its status, with the server's explanation unchanged."""
    # The real server's rate limit looks like this, and so does nothing else that this client can cause.
    hidden_limit = exchange.route == "assistant" and exchange.status == 500
    expected = RateLimitError if hidden_limit else ERROR_CLASSES.get(exchange.status, APIError)
    with ReplayServer(exchange) as server, Client(server.url, **server.credentials) as client:
        with pytest.raises(APIError) as caught:
            client.stream("hello")
        client.close(timeout=0.3)

    error = caught.value
    said = error.detail if isinstance(error.detail, str) else error.detail[0]["msg"]
    assert (expected, exchange.status, detail_of(exchange)) == (type(error), error.status, error.detail)
    assert said in str(error)
    assert 1 == server.calls.count(exchange.route)
    assert [] == server.visible_chats
