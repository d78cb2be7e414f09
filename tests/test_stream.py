"""A reply while it arrives, over real sockets."""

from __future__ import annotations

import gc
import queue
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from oa_client import (
    AsyncClient,
    Client,
    ConfigurationError,
    GenerationError,
    IncompleteReplyError,
    MessageEvent,
    PendingEvent,
    PluginEvent,
    ProtocolError,
    Stream,
    Timeout,
    TokenEvent,
    TransportTimeout,
    UnknownEvent,
)
from tests.scripted import PING_COMMENT, EventWriter, OpenAssistantScript, chunk, event, in_turn, message_json, stall

Writer = Callable[[EventWriter], None]


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script."""
    with Client(script.url, **script.credentials) as made:
        yield made


def call_in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a function in a thread; the returned one waits for its result, or raises its error."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> Any:
        thread.join(20)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
        return results[0]

    return join


def hello_and_silence(stream: EventWriter) -> None:
    """Send one token, and nothing more until the client leaves."""
    stream.token("Hello")
    stream.connection.wait_until_left()


def test_iterating_yields_the_tokens(script: OpenAssistantScript, client: Client) -> None:
    """Each token is one string, and afterwards text and message are whole."""
    script.tokens = ["Hello", " wor", "ld"]

    stream = client.stream("Hi")
    tokens = list(stream)

    assert tokens == ["Hello", " wor", "ld"]
    assert stream.text == "Hello world"
    assert stream.message is not None
    assert ("Hello world", "complete", stream.message_id) == (
        stream.message.content,
        stream.message.state,
        stream.message.id,
    )
    assert not stream.diverged


def test_a_clean_reply_makes_five_calls(script: OpenAssistantScript, client: Client) -> None:
    """Create, prompter, assistant, events, delete, in this order and nothing else."""
    client.ask("Hi")

    assert script.calls == ["create", "prompter", "assistant", "events", "delete"]


def test_first_token_is_yielded_before_the_second_is_sent(script: OpenAssistantScript, client: Client) -> None:
    """The server sends its second token only after the client has yielded the first."""
    yielded = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(yielded)
        stream.token(" world")
        stream.message()

    script.events = events
    stream = client.stream("Hi")
    first = next(stream)
    yielded.set()

    assert (first, list(stream)) == ("Hello", [" world"])


def test_first_token_is_prompt_on_a_body_that_the_connection_ends(script: OpenAssistantScript, client: Client) -> None:
    """A reply without chunks is delivered token by token as well."""
    script.chunked = False
    test_first_token_is_yielded_before_the_second_is_sent(script, client)


def test_events_yield_everything(script: OpenAssistantScript, client: Client) -> None:
    """Pending, plugin, empty token and unknown events come in their order, the message last; heartbeats do not."""

    def events(stream: EventWriter) -> None:
        stream.pending(2, 3)
        stream.ping()
        stream.raw(b"data:\r\n\r\n")
        stream.event(
            "plugin_intermediate",
            current_plugin_thought="why",
            current_plugin_action_taken="search",
            current_plugin_action_input="in",
            current_plugin_action_response="out",
        )
        stream.token("")
        stream.event("novelty", value=1)
        stream.token("Hello world")
        stream.message()

    script.events = events
    *events_seen, last = client.stream("Hi").events()

    assert [
        PendingEvent(2, 3),
        PluginEvent("why", "search", "in", "out"),
        TokenEvent(""),
        UnknownEvent("novelty", {"event_type": "novelty", "value": 1}),
        TokenEvent("Hello world"),
    ] == events_seen
    assert isinstance(last, MessageEvent)
    assert last.message.content == "Hello world"


@pytest.mark.parametrize(
    ("tokens", "final", "yielded", "diverged"),
    [
        pytest.param(["Hello"], "Hello", ["Hello"], False, id="the same"),
        pytest.param(["Hello"], "Hello world", ["Hello", " world"], False, id="the message continues the tokens"),
        pytest.param([], "Hello", ["Hello"], False, id="no tokens"),
        pytest.param([], "", [], False, id="nothing at all"),
        pytest.param(["Hello"], "Hello\n", ["Hello", "\n"], False, id="white space that continues is yielded"),
        pytest.param([" Hello"], "Hello", [" Hello"], False, id="white space at the start"),
        pytest.param(["Hello", "</s>"], "Hello", ["Hello", "</s>"], False, id="a stop sequence"),
        pytest.param(["Hello<|im_end|>\n"], "Hello", ["Hello<|im_end|>\n"], False, id="a stop sequence and a line end"),
        pytest.param(["Hello"], "Goodbye", ["Hello"], True, id="another text"),
        pytest.param(["Hello"], "Hell", ["Hello"], True, id="a shorter text"),
    ],
)
def test_final_message_is_the_truth(
    script: OpenAssistantScript, client: Client, tokens: list[str], final: str, yielded: list[str], diverged: bool
) -> None:
    """What is yielded agrees with the final text where it can, and `diverged` tells where it cannot."""
    script.tokens = tokens
    script.final_text = final

    stream = client.stream("Hi")

    assert yielded == list(stream)
    assert (final, diverged) == (str(stream.finish()), stream.diverged)


def test_surrogate_pairs_are_joined(script: OpenAssistantScript, client: Client) -> None:
    """The halves of a pair in two tokens come as one character, and a half alone as U+FFFD."""
    script.tokens = ["a\ud83d", "\ude42b", "\ud83d", "c", "\ude42"]
    script.final_text = "a🙂b�c�"

    stream = client.stream("Hi")

    assert list(stream) == ["a", "🙂b", "�c", "�"]
    assert not stream.diverged


def test_half_a_pair_at_the_end_is_completed_by_the_message(script: OpenAssistantScript, client: Client) -> None:
    """A half that no token completes is not yielded when the final text knows better."""
    script.tokens = ["a\ud83d"]
    script.final_text = "a🙂"

    stream = client.stream("Hi")

    assert list(stream) == ["a", "🙂"]


def test_half_a_pair_at_the_end_becomes_a_replacement(script: OpenAssistantScript, client: Client) -> None:
    """A half that nothing completes is yielded as U+FFFD."""
    script.tokens = ["a\ud83d"]
    script.final_text = "a�"

    stream = client.stream("Hi")

    assert list(stream) == ["a", "�"]
    assert not stream.diverged


def test_half_a_pair_before_another_text_is_yielded(script: OpenAssistantScript, client: Client) -> None:
    """What is yielded and `.text` agree when the final text is another and half a pair was held back."""
    script.tokens = ["a\ud83d"]
    script.final_text = "b"

    stream = client.stream("Hi")

    assert list(stream) == ["a", "\N{REPLACEMENT CHARACTER}"]
    assert (stream.text, stream.diverged) == ("a\N{REPLACEMENT CHARACTER}", True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"data: 5\r\n\r\n", "not a JSON object", id="not an object"),
        pytest.param(b'data: {"event_type": "token"}\r\n\r\n', "token event: text", id="a token without text"),
        pytest.param(b'data: {"event_type": "message"}\r\n\r\n', "message: expected", id="a message without message"),
        pytest.param(b'data: {"text": "x"}\r\n\r\n', "no event_type", id="no type"),
        pytest.param(b"data: " + b"[" * 100_000 + b"\r\n\r\n", "not JSON", id="deep JSON"),
    ],
)
def test_malformed_event_raises(script: OpenAssistantScript, client: Client, body: bytes, words: str) -> None:
    """What is not an event raises a ProtocolError with the text so far."""

    def events(stream: EventWriter) -> None:
        stream.token("Hel")
        stream.raw(body)

    script.events = events
    script.message_state = "complete"
    with pytest.raises(ProtocolError, match=words) as caught:
        client.ask("Hi")

    assert caught.value.text == "Hel"


def test_error_named_event_that_is_not_json_raises_its_text(script: OpenAssistantScript, client: Client) -> None:
    """An event with the SSE name `error` is raised with its data."""
    script.events = lambda stream: stream.raw(b"event: error\r\ndata: went wrong\r\n\r\n")
    script.message_state = "complete"

    with pytest.raises(GenerationError, match="went wrong"):
        client.ask("Hi")


def test_time_of_the_consumer_does_not_count(script: OpenAssistantScript) -> None:
    """A consumer that takes longer than all limits together loses nothing."""
    limits = Timeout(read=0.5, first_token=0.5, idle=0.5, total=0.5)
    consumed = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(consumed)
        stream.token(" world")
        stream.message()

    script.events = events
    with Client(script.url, **script.credentials, timeout=limits) as client:
        stream = client.stream("Hi")
        first = next(stream)
        # Not to wait for anything: this is the consumer's time, and it is longer than the limits.
        threading.Event().wait(0.7)
        consumed.set()
        assert [first, *stream] == ["Hello", " world"]


def test_close_wakes_a_blocked_reader(script: OpenAssistantScript, client: Client) -> None:
    """close() from another thread ends a read on a silent socket, and the iteration ends without an error."""
    script.events = hello_and_silence
    stream = client.stream("Hi")
    reading = threading.Event()

    def read() -> list[str]:
        first = next(stream)
        reading.set()
        return [first, *stream]

    result = call_in_thread(read)
    reading.wait(20)
    stream.close()
    stream.close()
    script.message_state = "complete"

    assert result() == ["Hello"]
    assert stream.message is None
    with pytest.raises(IncompleteReplyError):
        stream.finish()


def test_close_wakes_a_reader_that_waits_for_the_deletion(script: OpenAssistantScript, client: Client) -> None:
    """close() also ends the wait for the last call, and the chat is left to the clean-up."""
    delete, script.on_delete = script.on_delete, stall
    stream = client.stream("Hi")
    result = call_in_thread(lambda: list(stream))
    script.wait_until(lambda: "delete" in script.calls)
    script.on_delete = delete
    stream.close()

    assert result() == ["Hello", " world"]
    assert str(stream.message) == "Hello world"
    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


def test_close_is_released_at_once_and_the_chat_goes_when_its_answer_is_final(
    script: OpenAssistantScript, client: Client
) -> None:
    """A chat left in mid-answer is hidden, and deleted only when the answer is complete."""
    script.events = hello_and_silence
    script.message_state = "in_progress"
    with client.stream("Hi") as stream:
        assert next(stream) == "Hello"
    script.wait_until(lambda: script.chats["c1"].hidden)
    assert not script.chats["c1"].deleted

    script.message_state = "complete"

    assert client.close() == ()
    assert script.chats["c1"].deleted


def test_break_without_close_leaves_nothing(script: OpenAssistantScript, client: Client) -> None:
    """An unnamed stream that a `for` leaves early is finalised: its socket closes, its chat goes with the client."""
    script.events = hello_and_silence
    for _ in client.stream("Hi"):
        break
    gc.collect()
    script.wait_until(lambda: script.open_connections == 0)

    script.message_state = "complete"

    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_stream_forgotten_in_a_cycle_closes_its_socket(script: OpenAssistantScript, is_begun: bool) -> None:
    """Of a stream in a reference cycle the collector closes the connection, without a warning of the socket."""
    script.events = hello_and_silence
    with Client(script.url, **script.credentials) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = client.stream("Hi")
        if is_begun:
            next(stream)
        knot: list[Any] = [stream]
        knot.append(knot)
        del stream, knot
        script.message_state = "complete"
        gc.collect()
        script.wait_until(lambda: script.open_connections == 0)

    assert [str(warning.message) for warning in caught] == []
    assert script.deleted_chats == ["c1"]


def test_exception_of_the_consumer_closes_the_stream(script: OpenAssistantScript, client: Client) -> None:
    """`with` closes the stream when its body raises."""
    script.events = hello_and_silence
    script.message_state = "complete"

    def consume(stream: Stream) -> None:
        with stream:
            raise LookupError(next(stream))

    with pytest.raises(LookupError, match="Hello"):
        consume(client.stream("Hi"))

    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


def test_second_pass_yields_nothing(script: OpenAssistantScript, client: Client) -> None:
    """A stream is read once: text taken by iterating does not come again as events."""
    stream = client.stream("Hi")

    assert next(stream) == "Hello"
    assert [event.text for event in stream.events() if isinstance(event, TokenEvent)] == [" world"]
    assert list(stream) == []


def test_keep_keeps_the_chat(script: OpenAssistantScript, client: Client) -> None:
    """With keep=True the chat is neither deleted nor hidden, also when the reader leaves early."""
    client.ask("Hi", keep=True)
    with client.stream("Hi", keep=True) as stream:
        next(stream)

    assert client.close() == ()
    assert script.visible_chats == ["c1", "c2"]


def test_failed_delete_does_not_spoil_the_answer(script: OpenAssistantScript, client: Client) -> None:
    """A DELETE that fails is tried again in the background, and the answer is whole."""
    script.on_delete = in_turn(lambda connection, _: script.send_text(connection, "", 500), script.on_delete)

    assert str(client.ask("Hi")) == "Hello world"
    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


def test_delete_that_never_works_is_reported(script: OpenAssistantScript, client: Client) -> None:
    """close() returns the ids of the chats that it could not delete."""
    script.on_delete = lambda connection, _: script.send_text(connection, "", 500)
    client.ask("Hi")

    assert client.close(timeout=1) == ("c1",)
    assert script.chats["c1"].hidden


def test_connection_is_kept_for_the_next_chat() -> None:
    """On a server that keeps connections alive, ten chats take one."""
    with (
        OpenAssistantScript("inference") as script,
        Client(script.url, **script.credentials) as client,
    ):
        for _ in range(10):
            client.ask("Hi")

        assert script.accepted == 1


def test_endless_body_after_the_message_is_not_read(script: OpenAssistantScript, client: Client) -> None:
    """What a server sends after the message is not waited for."""

    def events(stream: EventWriter) -> None:
        stream.event("message", message=script.change_message(stream.message_id, state="complete", content="Hello"))
        stream.connection.wait_until_left()

    script.events = events

    assert str(client.ask("Hi")) == "Hello"
    assert script.deleted_chats == ["c1"]


def test_repr_shows_the_state(script: OpenAssistantScript, client: Client) -> None:
    """The repr names the message and whether the stream is open, complete or closed."""
    stream = client.stream("Hi")
    assert repr(stream) == "<Stream of message m1: open>"
    stream.finish()
    assert repr(stream) == "<Stream of message m1: complete>"


@pytest.mark.parametrize("state", [[], {}, None, 5])
def test_error_with_a_state_that_is_none(script: OpenAssistantScript, client: Client, state: Any) -> None:
    """An error event is that, whatever stands in place of the message's state."""

    def events(stream: EventWriter) -> None:
        stream.event("error", error="no memory", message={"state": state})
        stream.end()

    script.events = events
    script.message_state = "complete"

    with pytest.raises(GenerationError, match="no memory"):
        client.ask("Hi")


def test_halves_of_pairs_can_be_printed(script: OpenAssistantScript, client: Client) -> None:
    """Half of a surrogate pair in an error or in a plugin's step is replaced, so that both can be printed."""
    step = ("thought", "action_taken", "action_input", "action_response")

    def events(stream: EventWriter) -> None:
        stream.event("plugin_intermediate", **{f"current_plugin_{name}": "a\ud800" for name in step})
        stream.error("b\udc00")

    script.events = events
    stream = client.stream("Hi")
    items = stream.events()
    plugin_event = next(items)
    with pytest.raises(GenerationError) as caught:
        next(items)

    assert plugin_event == PluginEvent("a\ufffd", "a\ufffd", "a\ufffd", "a\ufffd")
    assert str(caught.value) == "b\ufffd"


def test_answer_without_end(script: OpenAssistantScript, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that goes on past the longest answer that is kept is given up."""
    monkeypatch.setattr("oa_client._calls.reply.TEXT_LIMIT", 1000)

    def events(stream: EventWriter) -> None:
        while True:
            stream.token("x" * 100)

    script.events, script.message_state = events, "complete"

    with pytest.raises(ProtocolError, match="longer than 1000 characters"):
        client.ask("Hi")


def test_two_threads_cannot_read_a_stream(script: OpenAssistantScript, client: Client) -> None:
    """A second thread that reads a stream is told so, and the first goes on."""
    go_on, is_read = threading.Event(), threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(go_on)
        stream.message(content="Hello")

    script.events = events
    stream = client.stream("Hi")
    items = stream._items

    def mark() -> Iterator[Any]:
        is_read.set()
        yield from items

    first = next(stream)
    stream._items = mark()  # type: ignore[assignment]  # a generator around it
    join = call_in_thread(lambda: list(stream))
    assert is_read.wait(20)
    for use in (lambda: next(stream), stream.finish, lambda: list(stream.events())):
        with pytest.raises(ConfigurationError, match="another thread"):
            use()
    go_on.set()

    assert (first, join(), str(stream.message)) == ("Hello", [], "Hello")


def test_other_message_than_asked_for_is_not_taken(script: OpenAssistantScript, client: Client) -> None:
    """If the stream breaks, and the server then tells of another message than was asked for, that is an error."""
    script.events = EventWriter.end
    script.on_message = lambda connection, _: script.send_json(
        connection, message_json("m9", "c9", "p9", state="complete", content="of somebody else")
    )

    with pytest.raises(ProtocolError, match="another message"):
        client.ask("Hi")


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(PING_COMMENT * 2000, id="pings"),
        pytest.param(event({"event_type": "pending", "queue_position": 1, "queue_size": 1}) * 800, id="pending"),
        pytest.param(event({"event_type": "new"}) * 1500, id="unknown events"),
        pytest.param(b"\n" * 65_000, id="blank lines"),
    ],
)
def test_flood_does_not_stop_the_clock(script: OpenAssistantScript, block: bytes) -> None:
    """A limit is kept though more comes than can be read, so that nothing is ever waited for."""
    data = chunk(block)

    def events(stream: EventWriter) -> None:
        # Many times what is read within the limit.
        for _ in range(5_000):
            stream.connection.send(data)
        stream.message()

    script.events = events
    with Client(script.url, **script.credentials, timeout=Timeout(first_token=0.2), max_retries=0) as client:
        with pytest.raises(TransportTimeout) as caught:
            client.ask("Hi")
        script.message_state = "complete"

    assert caught.value.phase == "first_token"


# Memory.


@pytest.mark.full
@pytest.mark.parametrize("is_async", [False, True])
def test_memory_for_a_long_reply(is_async: bool) -> None:
    """A reply takes no memory for its tokens but that of their text."""
    count = 150_000
    tokens = b"".join(event({"event_type": "token", "text": "x"}) for _ in range(1_000))

    def events(stream: EventWriter) -> None:
        for _ in range(count // 1_000):
            stream.raw(tokens)
        stream.message(content="x" * count)

    with OpenAssistantScript("inference") as script:
        script.events = events
        sizes: list[int] = []

        def note(number: int) -> None:
            if number in (10_000, count - 1):
                sizes.append(tracemalloc.get_traced_memory()[0])

        async def read() -> None:
            async with AsyncClient(script.url, **script.credentials) as client:
                number = 0
                async for _ in client.stream("Hi"):
                    note(number)
                    number += 1

        tracemalloc.start()
        try:
            if is_async:
                anyio.run(read)
            else:
                with Client(script.url, **script.credentials) as client:
                    for number, _ in enumerate(client.stream("Hi")):
                        note(number)
        finally:
            tracemalloc.stop()

    before, after = sizes
    # io.StringIO has four bytes for a character, and some to spare.
    assert after - before < 8 * count


# The garbage collector.


class Cycle:
    """Something that only the garbage collector finds."""

    def __init__(self, *held: object) -> None:
        self.held = (*held, self)


@pytest.fixture
def collecting_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Once called, it has the garbage collector come, at last, when a thread takes a connection from the pool."""
    original = queue.LifoQueue._get

    def get(pool: Any) -> Any:
        monkeypatch.setattr(queue.LifoQueue, "_get", original)
        gc.collect()
        return original(pool)

    gc.disable()
    yield lambda: monkeypatch.setattr(queue.LifoQueue, "_get", get)
    gc.enable()


def test_collected_while_the_pool_is_locked(collecting_in_the_pool: Callable[[], None]) -> None:
    """A stream can be collected wherever a thread is, also within the pool that its connection is of."""
    with OpenAssistantScript("inference") as script, Client(script.url, **script.credentials) as client:
        chat = client.create_chat()
        script.events = hello_and_silence
        script.message_state = "complete"
        stream = client.stream("Hi")
        next(stream)
        Cycle(stream)
        del stream
        collecting_in_the_pool()
        thread = threading.Thread(target=chat.info, daemon=True)
        thread.start()
        thread.join(20)

        assert not thread.is_alive()


def test_async_stream_collected_while_the_pool_is_locked(collecting_in_the_pool: Callable[[], None]) -> None:
    """So can one whose consumer is far behind, which nobody reads."""

    async def use(client: AsyncClient) -> None:
        chat = await client.create_chat()
        stream = client.stream("Hi")
        await anext(stream)
        while not stream._feed._needs:
            await anyio.lowlevel.checkpoint()
        Cycle(stream)
        del stream
        collecting_in_the_pool()
        with anyio.fail_after(20):
            await chat.info()
        await client.aclose()

    with OpenAssistantScript("inference") as script:
        script.tokens = ["x"] * 3_000
        script.message_state = "complete"
        anyio.run(use, AsyncClient(script.url, **script.credentials))
