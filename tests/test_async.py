"""The async client, on asyncio (also in debug mode, and with eager tasks) and on trio, over real sockets."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from oa_client import (
    AsyncChat,
    AsyncChatList,
    AsyncClient,
    AsyncStream,
    Chat,
    ChatList,
    Client,
    ConfigurationError,
    GenerationError,
    IncompleteReplyError,
    MessageEvent,
    PendingEvent,
    RateLimitError,
    Stream,
    Timeout,
    TokenEvent,
    TransportTimeout,
)
from oa_client._loop import Loop

from .scripted import (
    EventWriter,
    Handler,
    OpenAssistantScript,
    ScriptedServer,
    Surface,
    json_response,
    reply,
    stall,
)

pytestmark = pytest.mark.anyio


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]  # Python 3.12
    return loop


BACKENDS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("asyncio", {"debug": True}), id="asyncio-debug"),
    pytest.param(("trio", {}), id="trio"),
]
if sys.version_info >= (3, 12):
    BACKENDS.append(pytest.param(("asyncio", {"loop_factory": _eager_loop}), id="asyncio-eager"))


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Each event loop."""
    return request.param


@pytest.fixture(params=["website", "inference", "inference, a thread for each stream"])
def surface(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Surface:
    """Each server, and each way in which replies are read: all by one thread, or each by its own."""
    name, _, is_threaded = request.param.partition(", ")
    if is_threaded:
        monkeypatch.setattr("oa_client._transport.body._is_readable", lambda *_: False)
    chosen: Surface = name
    return chosen


@pytest.fixture
async def client(script: OpenAssistantScript) -> AsyncIterator[AsyncClient]:
    """A client of the script; after it no connection is left."""
    async with AsyncClient(script.url, **script.credentials, max_retries=0) as made:
        yield made
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Wait for something blocking."""
    return await anyio.to_thread.run_sync(partial(function, *arguments))


def spin_until(predicate: Callable[[], object]) -> None:
    """Wait in a thread for something that gives no sign, for 20 seconds at most."""
    deadline = monotonic() + 20
    while not predicate():
        assert monotonic() < deadline


def hello_and_silence(stream: EventWriter) -> None:
    """Send one token, and nothing more until the client leaves."""
    stream.token("Hello")
    stream.connection.wait_until_left()


async def cancel_when(ready: Callable[[], object], work: Callable[[], Awaitable[object]]) -> None:
    """Run something, cancel it once a blocking call has returned, and make sure that it was cancelled."""
    cancelled = []
    async with anyio.create_task_group() as group:

        async def run() -> None:
            try:
                await work()
            except anyio.get_cancelled_exc_class():
                cancelled.append(True)
                raise

        group.start_soon(run)
        await in_thread(ready)
        group.cancel_scope.cancel()
    assert cancelled == [True]


async def test_iterating_yields_the_tokens(script: OpenAssistantScript, client: AsyncClient) -> None:
    """`async for` over the plain call yields each token, and afterwards text and message are whole."""
    script.tokens = ["Hello", " wor", "ld"]
    stream = client.stream("Hi")

    before = (stream.chat_id, stream.message_id, stream.message)
    tokens = [text async for text in stream]

    assert before == (None, None, None)
    assert tokens == ["Hello", " wor", "ld"]
    assert (stream.text, stream.chat_id, stream.message_id, stream.diverged) == ("Hello world", "c1", "m1", False)
    assert str(stream.message) == "Hello world"
    assert script.calls == ["create", "prompter", "assistant", "events", "delete"]


async def test_events_yield_everything(script: OpenAssistantScript, client: AsyncClient) -> None:
    """events() yields what the blocking stream's does."""

    def events(stream: EventWriter) -> None:
        stream.pending(2, 3)
        stream.token("")
        stream.token("Hello world")
        stream.message()

    script.events = events
    async with client.stream("Hi") as stream:
        *seen, last = [event async for event in stream.events()]

    assert seen == [PendingEvent(2, 3), TokenEvent(""), TokenEvent("Hello world")]
    assert isinstance(last, MessageEvent)


async def test_first_token_is_yielded_before_the_second_is_sent(
    script: OpenAssistantScript, client: AsyncClient
) -> None:
    """The server sends its second token only after the client has yielded the first."""
    yielded = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(yielded)
        stream.token(" world")
        stream.message()

    script.events = events
    tokens = []
    async for text in client.stream("Hi"):
        tokens.append(text)
        yielded.set()

    assert tokens == ["Hello", " world"]


async def test_ask_and_finish_return_the_message(client: AsyncClient) -> None:
    """ask() and finish() return the final message."""
    assert str(await client.ask("Hi")) == "Hello world"
    async with client.stream("Hi") as stream:
        assert str(await stream.finish()) == "Hello world"
        assert (await stream.finish()) is stream.message


async def test_models_are_listed() -> None:
    """list_models() returns typed values."""
    answer = [{"name": "m", "description": "", "parameter_configs": []}]
    with ScriptedServer(reply(json_response(answer))) as server:
        async with AsyncClient(server.url, token="t") as client:
            assert [model.name for model in await client.list_models()] == ["m"]


async def test_diverged_is_seen(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A final text that differs is told."""
    script.final_text = "Goodbye"
    stream = client.stream("Hi")
    await stream.finish()

    assert (stream.text, str(stream.message), stream.diverged) == ("Hello world", "Goodbye", True)


async def test_wrong_arguments_are_told_at_once(script: OpenAssistantScript, client: AsyncClient) -> None:
    """stream() itself raises what can be known without the server."""
    with pytest.raises(ConfigurationError, match="messages is empty"):
        client.stream("")

    assert script.calls == []


async def test_errors_of_opening_come_on_entering(script: OpenAssistantScript, client: AsyncClient) -> None:
    """An error of the calls before the events is raised by `async with`, and by the first item."""
    script.on_assistant = lambda connection, _: script.send_json(connection, {"detail": "slow"}, 429)
    with pytest.raises(RateLimitError):
        async with client.stream("Hi"):
            pass
    with pytest.raises(RateLimitError):
        await anext(client.stream("Hi"))

    assert script.visible_chats == []


async def test_error_is_raised_once(script: OpenAssistantScript, client: AsyncClient) -> None:
    """After its error a stream is over, and finish() says that it is incomplete."""
    script.events = lambda stream: stream.error("out of memory")
    stream = client.stream("Hi")
    with pytest.raises(GenerationError):
        await stream.finish()

    assert [text async for text in stream] == []
    with pytest.raises(IncompleteReplyError):
        await stream.finish()


async def test_leaving_early_deletes_the_chat(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream that is left in mid-answer closes its socket, and its chat goes when the answer is final."""
    script.events = hello_and_silence
    script.message_state = "in_progress"
    async with client.stream("Hi") as stream:
        assert await anext(stream) == "Hello"
    await in_thread(script.wait_until, lambda: script.chats["c1"].hidden)
    script.message_state = "complete"

    assert await client.aclose() == ()
    assert script.deleted_chats == ["c1"]
    assert [text async for text in stream] == []
    with pytest.raises(IncompleteReplyError):
        await stream.finish()


async def test_nothing_comes_behind_a_gap(script: OpenAssistantScript, client: AsyncClient) -> None:
    """What the reader adds to a stream that another task has just closed is not yielded: what was before is gone."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    assert await anext(stream) == "Hello"

    await stream.aclose()
    stream._feed.items.append("late")

    assert [text async for text in stream] == []


async def test_break_without_close_leaves_nothing(script: OpenAssistantScript, client: AsyncClient) -> None:
    """An unnamed stream that `async for` leaves early is finalised: its socket closes, its chat goes."""
    script.events = hello_and_silence
    script.message_state = "complete"
    async for _ in client.stream("Hi"):
        break
    gc.collect()
    await in_thread(script.wait_until, lambda: script.open_connections == 0)

    assert await client.aclose() == ()
    assert script.deleted_chats == ["c1"]


async def test_stream_that_is_never_opened_does_nothing(script: OpenAssistantScript, client: AsyncClient) -> None:
    """Without entering or iterating, no call is made; closing such a stream is the end of it."""
    stream = client.stream("Hi")
    await stream.aclose()

    async with stream:
        assert [text async for text in stream] == []
    assert script.calls == []


async def test_generator_methods(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream is an AsyncGenerator: asend(None) is the next item, athrow() closes and raises."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")

    assert isinstance(stream, collections.abc.AsyncGenerator)
    assert await stream.asend(None) == "Hello"
    with pytest.raises(TypeError):
        await stream.asend("x")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(LookupError, match="words"):
        await stream.athrow(LookupError("words"))
    assert [text async for text in stream] == []


async def test_aclose_wakes_a_waiting_task(script: OpenAssistantScript, client: AsyncClient) -> None:
    """aclose() in one task ends the iteration in another, without an error."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    tokens = []
    got_one = anyio.Event()

    async def read() -> None:
        async for text in stream:
            tokens.append(text)
            got_one.set()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await got_one.wait()
        await anyio.lowlevel.checkpoint()
        await stream.aclose()

    assert tokens == ["Hello"]


async def test_full_speed_stream_lets_others_run(script: OpenAssistantScript, client: AsyncClient) -> None:
    """While thousands of tokens are there for the taking, another task gets its turns."""
    script.tokens = ["x"] * 5_000
    turns = 0
    done = False

    async def tick() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        tokens = [text async for text in client.stream("Hi")]
        done = True

    assert len(tokens) == 5_000
    assert turns >= 5_000 / 100


def _stall_at(name: str, released: threading.Event) -> Callable[[OpenAssistantScript], None]:
    """Make one call of a script wait until an event is set."""

    def arrange(script: OpenAssistantScript) -> None:
        handler: Handler = getattr(script, f"on_{name}")

        def wait_first(connection: Any, request: Any) -> None:
            connection.wait(released)
            handler(connection, request)

        setattr(script, f"on_{name}", wait_first)

    return arrange


@pytest.mark.parametrize("call", ["create", "prompter", "assistant", "events", "delete"])
async def test_loop_goes_on_while_a_call_hangs(script: OpenAssistantScript, client: AsyncClient, call: str) -> None:
    """Each call hangs until another task of the same loop has had its turns."""
    released = threading.Event()
    _stall_at(call, released)(script)

    async def release() -> None:
        await in_thread(script.wait_until, lambda: call in script.calls)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        released.set()

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        answer = await client.ask("Hi")

    assert str(answer) == "Hello world"


@pytest.mark.parametrize("call", ["create", "prompter", "assistant", "events"])
async def test_cancelling_while_a_call_hangs(script: OpenAssistantScript, call: str) -> None:
    """Whoever waits for a hanging call is released when cancelled, and no chat, socket or thread is left."""
    released = threading.Event()
    _stall_at(call, released)(script)
    script.message_state = "complete"
    async with AsyncClient(script.url, **script.credentials) as client:
        await cancel_when(lambda: script.wait_until(lambda: call in script.calls), partial(client.ask, "Hi"))
        released.set()
        if call == "assistant":
            # Its answer never came, so the client has to find the message in the chat.
            await in_thread(script.wait_until, lambda: "m1" in script.chats["c1"].messages)
            script.change_message("m1", state="complete")
        assert await client.aclose() == ()

    assert script.visible_chats == []
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def test_cancelling_in_mid_stream(script: OpenAssistantScript) -> None:
    """A task that waits for a token is released when cancelled, and the chat goes."""
    got_one = threading.Event()

    async def read(client: AsyncClient) -> None:
        async for _ in client.stream("Hi"):
            got_one.set()

    script.events = hello_and_silence
    script.message_state = "complete"
    async with AsyncClient(script.url, **script.credentials) as client:
        await cancel_when(got_one.wait, partial(read, client))
        assert await client.aclose() == ()

    assert script.deleted_chats == ["c1"]
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def test_cancelling_a_connect() -> None:
    """A task whose connection is never made is released when cancelled, and its thread ends."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with AsyncClient(url, token="t", timeout=60) as client:

            def has_socket() -> bool:
                return any(exchange.interrupt.socket for exchange in list(client.wrapped._engine._exchanges))

            await cancel_when(partial(spin_until, has_socket), partial(client.ask, "Hi"))


async def test_cancelling_while_it_is_another_ones_turn(script: OpenAssistantScript) -> None:
    """A task that waits for another reply's turn is released when cancelled, and leaves no chat."""
    script.events = lambda stream: stream.connection.wait_until_left()
    async with AsyncClient(script.url, **script.credentials) as client:
        async with client.stream("one"):
            await cancel_when(lambda: script.wait_until(lambda: "message" in script.calls), partial(client.ask, "two"))
        script.message_state = "complete"
        assert await client.aclose() == ()

    assert script.visible_chats == []
    assert script.calls.count("assistant") == 1


async def test_cancelling_aclose(script: OpenAssistantScript) -> None:
    """A task that waits in aclose() is released when cancelled."""
    script.message_state = "in_progress"
    script.events = hello_and_silence
    client = AsyncClient(script.url, **script.credentials)
    stream = client.stream("Hi")
    await anext(stream)
    await cancel_when(lambda: script.wait_until(lambda: script.chats["c1"].hidden), partial(client.aclose, 60))
    script.message_state = "complete"

    assert await client.aclose() == ()
    assert script.deleted_chats == ["c1"]


async def test_cancelling_list_models() -> None:
    """A task that waits for the models is released when cancelled, and the thread with it."""
    with ScriptedServer(stall) as server:
        async with AsyncClient(server.url, token="t") as client:
            await cancel_when(lambda: server.wait_until(lambda: server.requests), client.list_models)


async def test_timeouts_of_ours_and_of_the_loop(script: OpenAssistantScript) -> None:
    """A limit of `Timeout` raises inside a scope of the loop that is not over."""
    script.events = hello_and_silence
    script.message_state = "in_progress"
    async with AsyncClient(script.url, **script.credentials, timeout=Timeout(idle=0.1)) as client:
        with anyio.fail_after(60), pytest.raises(TransportTimeout):
            await client.ask("Hi")
        script.message_state = "complete"


async def test_three_hundred_streams_at_once(script: OpenAssistantScript) -> None:
    """With serialize=False 300 streams are open together, all finish, and an unrelated thread call gets through."""
    everybody = threading.Event()
    count = 300

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(everybody)
        stream.token(" world")
        stream.message()

    script.events = events
    answers = []

    async def ask(client: AsyncClient) -> None:
        answers.append(str(await client.ask("Hi")))

    async with (
        AsyncClient(script.url, **script.credentials, serialize=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(count):
            group.start_soon(ask, client)
        await in_thread(script.wait_until, lambda: script.calls.count("events") == count)
        everybody.set()

    assert answers == ["Hello world"] * count
    assert script.visible_chats == []


async def test_consumer_that_uses_threads_does_not_deadlock(script: OpenAssistantScript) -> None:
    """Fifty streams whose consumers each use a thread of anyio's default forty all finish."""
    script.tokens = ["x"] * 20

    async def consume(client: AsyncClient) -> None:
        async for _ in client.stream("Hi"):
            await in_thread(str)

    async with (
        AsyncClient(script.url, **script.credentials, serialize=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(50):
            group.start_soon(consume, client)

    assert script.visible_chats == []


async def test_consumer_that_stops_reading_stops_the_reader(script: OpenAssistantScript, client: AsyncClient) -> None:
    """No more is read ahead than a bound, though the server has sent more."""
    script.tokens = ["x"] * 3_000
    async with client.stream("Hi") as stream:
        await anext(stream)
        await in_thread(spin_until, lambda: stream._feed._is_full)
        ahead = len(stream._items)
        script.message_state = "complete"

    assert ahead <= 1024


async def test_closing_a_client_whose_consumer_is_far_behind(script: OpenAssistantScript) -> None:
    """aclose() also ends a thread that waits for room."""
    script.tokens = ["x"] * 3_000
    async with AsyncClient(script.url, **script.credentials) as client:
        stream = client.stream("Hi")
        await anext(stream)
        await in_thread(spin_until, lambda: stream._feed._is_full)
        script.message_state = "complete"

    assert stream._feed.ended
    assert script.deleted_chats == ["c1"]


async def test_two_readers_are_told(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A second task that waits for the same stream gets a RuntimeError, and neither hangs."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    await anext(stream)
    errors = []

    async def read() -> None:
        try:
            await stream.finish()
        except (RuntimeError, IncompleteReplyError) as error:
            errors.append(type(error))
            await stream.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)

    assert errors == [RuntimeError, IncompleteReplyError]


async def test_flood_starves_nobody(script: OpenAssistantScript) -> None:
    """A stream on which comments come without end leaves the others of the client their turn."""
    is_read = threading.Event()

    def events(stream: EventWriter) -> None:
        if stream.message_id == "m1":
            stream.token("Hello")
            while not is_read.is_set():
                stream.raw(b": comment\r\n\r\n" * 10_000)
        else:
            stream.token("Hello")
        stream.token(" world")
        stream.message()

    script.events = events
    async with (
        AsyncClient(script.url, **script.credentials, serialize=False) as client,
        client.stream("Hi") as first,
    ):
        await anext(first)
        with anyio.fail_after(60):
            other = str(await client.ask("Hi"))
        is_read.set()
        await first.finish()

    assert (first.text, other) == ("Hello world", "Hello world")


async def test_stop_between_opening_and_reading(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream that is stopped when it was just opened lets go of its connection, though it is held."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    start = stream._feed._start

    def start_and_stop(note: Callable[[Any], None]) -> Any:
        opened = start(note)
        stream._feed.stop()
        return opened

    stream._feed._start = start_and_stop
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await client.aclose()
    await in_thread(script.wait_until, lambda: script.open_connections == 0)

    assert stream.text == ""


async def test_stop_while_the_local_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the event loop does to close a client does not wait for a local server that starts."""
    is_starting, may_start = threading.Event(), threading.Event()

    def start() -> Any:
        is_starting.set()
        assert may_start.wait(20)
        raise ConfigurationError("no server today")

    monkeypatch.setattr("oa_client._engine._local_target", start)
    client = AsyncClient()

    async def ask() -> None:
        with pytest.raises(ConfigurationError):
            await client.ask("Hi")

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await in_thread(is_starting.wait, 20)
        # It would wait for ever if it waited.
        client.wrapped._engine.stop()
        may_start.set()
    await client.aclose()


async def test_repr_shows_the_state(script: OpenAssistantScript, client: AsyncClient) -> None:
    """The reprs name the server, the message and the state, and no credential."""
    stream = client.stream("Hi")
    states = [repr(stream)]
    await stream.finish()
    states.append(repr(stream))

    assert states == ["<AsyncStream of message None: new>", "<AsyncStream of message m1: complete>"]
    assert repr(client) == f"<AsyncClient of {script.url} ({client.wrapped._engine.target.surface.name})>"  # type: ignore[union-attr]  # it has one


async def test_address_less_client_does_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local server is started in a thread, by the first call."""
    released = threading.Event()

    def start() -> Any:
        assert released.wait(20)
        raise ConfigurationError("no server today")

    monkeypatch.setattr("oa_client._engine._local_target", start)

    async def release() -> None:
        released.set()

    async with AsyncClient() as client, anyio.create_task_group() as group:
        group.start_soon(release)
        with pytest.raises(ConfigurationError, match="no server today"):
            await client.ask("Hi")


def _public(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(cls):
        if not name.startswith("_"):
            yield name, member


@pytest.mark.parametrize(
    ("blocking", "other", "renamed", "added"),
    [
        pytest.param(Client, AsyncClient, {"close": "aclose"}, {"wrapped"}, id="client"),
        pytest.param(Stream, AsyncStream, {"close": "aclose"}, {"asend", "athrow"}, id="stream"),
        pytest.param(Chat, AsyncChat, {}, set(), id="chat"),
        pytest.param(ChatList, AsyncChatList, {}, set(), id="chat list"),
    ],
)
async def test_both_faces_are_alike(
    anyio_backend_name: str, blocking: type, other: type, renamed: dict[str, str], added: set[str]
) -> None:
    """Each public method has its twin with the same parameters and defaults, and there are no others."""
    ours = {renamed.get(name, name): member for name, member in _public(blocking)}
    theirs = dict(_public(other))

    assert ours.keys() == theirs.keys() - added
    for name, member in ours.items():
        if inspect.isfunction(member):
            expected = list(inspect.signature(member).parameters.values())
            assert list(inspect.signature(theirs[name]).parameters.values()) == expected, name
    # The others are made by a client.
    assert inspect.signature(other).parameters == inspect.signature(blocking).parameters or blocking is not Client


@pytest.mark.parametrize("how", ["named", "unnamed"])
async def test_end_of_the_loop_with_an_open_stream(
    anyio_backend_name: str, script: OpenAssistantScript, how: str
) -> None:
    """A loop that ends while a stream is open leaves no thread, and the chat goes when its client is closed."""
    script.events = hello_and_silence
    script.message_state = "complete"
    kept: list[Any] = []

    async def use() -> None:
        stream = made.stream("Hi")
        await anext(stream)
        kept.extend([stream] if how == "named" else [])

    made = AsyncClient(script.url, **script.credentials)

    def run() -> None:
        anyio.run(use, backend=anyio_backend_name)
        kept.clear()
        gc.collect()
        made.wrapped.close()

    await in_thread(run)
    await made.aclose()

    assert script.deleted_chats == ["c1"]
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def test_feeds_of_a_loop_that_is_gone_end(anyio_backend_name: str, script: OpenAssistantScript) -> None:
    """A thread that has news for a loop that is closed stops its stream."""
    released = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(released)
        with contextlib.suppress(Exception):
            for _ in range(100):
                stream.token("x")
            stream.message()

    script.events = events
    script.message_state = "complete"
    streams: list[AsyncStream] = []

    async def use() -> None:
        stream = made.stream("Hi")
        streams.append(stream)
        await anext(stream)
        # It waits when the loop ends.
        stream._feed._waiters.append(Loop().new_waiter())

    made = AsyncClient(script.url, **script.credentials)
    await in_thread(partial(anyio.run, use, backend=anyio_backend_name))
    released.set()
    await in_thread(spin_until, lambda: streams[0]._feed.ended)

    assert streams[0]._feed.ended
    await made.aclose()
