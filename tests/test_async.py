"""The async client, on asyncio (also in debug mode, and with eager tasks) and on trio, over real sockets."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
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
    OAError,
    PendingEvent,
    RateLimitError,
    Stream,
    Timeout,
    TokenEvent,
    TransportError,
    TransportTimeout,
)
from oa_client._async.feed import Feed
from oa_client._calls.cleanup import Cleanup
from oa_client._calls.exchange import Exchange
from oa_client._calls.pause import Pause
from oa_client._net.transport import Transport
from tests.scripted import (
    Connection,
    EventWriter,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    Surface,
    chat_json,
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


#: Each event loop with one server, and both ways to read; `--full` runs all combinations.
QUICK = {
    ("asyncio", "website"),
    ("asyncio-debug", "inference, in pieces"),
    ("asyncio-eager", "inference"),
    ("trio", "inference"),
}


def is_quick(params: Mapping[str, Any]) -> bool:
    """Whether a combination is one of the quick ones."""
    if not {"anyio_backend", "surface"} <= params.keys():
        return True
    name, options = params["anyio_backend"]
    kind = "-debug" if options.get("debug") else "-eager" if options else ""
    return (f"{name}{kind}", params["surface"]) in QUICK


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Each event loop."""
    return request.param


@pytest.fixture(params=["website", "inference", "inference, in pieces"])
def surface(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Surface:
    """Each server, and each way in which replies are read: all by one thread, or piece by piece."""
    name, _, is_in_pieces = request.param.partition(", ")
    if is_in_pieces:
        monkeypatch.setattr("oa_client._net.body._is_readable", lambda *_: False)
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


async def test_cancelling_aclose_keeps_nobody(anyio_backend_name: str, surface: Surface) -> None:
    """A program whose aclose() was cancelled ends soon, whatever that was to wait for."""
    program = """
import sys

import anyio

import oa_client._calls.cleanup
from oa_client import AsyncClient

oa_client._calls.cleanup.EXIT_TIMEOUT = 0.1


async def main():
    client = AsyncClient(sys.argv[1], **{sys.argv[2]: sys.argv[3]})
    stream = client.stream("Hi")
    print(await anext(stream))
    with anyio.move_on_after(0.1):
        await client.aclose(1000)


anyio.run(main, backend=sys.argv[4])
"""
    with OpenAssistantScript(surface) as script:
        script.message_state = "in_progress"
        script.events = hello_and_silence
        ((name, value),) = script.credentials.items()
        command = [sys.executable, "-c", program, script.url, name, str(value), anyio_backend_name]
        done = await in_thread(
            partial(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
        )

    assert (done.stdout, done.stderr, done.returncode) == ("Hello\n", "", 0)


async def test_closing_that_is_given_up(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close() that nobody waits for any more leaves the clean-up to the next, also when its own time is up."""

    class GivenUp(threading.Event):
        """Is set between the first look and the next."""

        def is_set(self) -> bool:
            was_set = super().is_set()
            self.set()
            return was_set

    script.message_state = "in_progress"
    script.events = hello_and_silence
    stream = client.stream("Hi")
    await anext(stream)
    await stream.aclose()
    await in_thread(script.wait_until, lambda: script.chats["c1"].hidden)
    with monkeypatch.context() as patch:
        # Its time is up at once, and the clean-up has more.
        patch.setattr(Cleanup, "_has_ended", lambda *_: False)
        await in_thread(client.wrapped._engine.close, 60, GivenUp())
    closing = anyio.Event()
    left: list[tuple[str, ...]] = []

    async def close() -> None:
        closing.set()
        left.append(await client.aclose(60))

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        await closing.wait()
        script.message_state = "complete"

    assert left == [()]
    assert script.deleted_chats == ["c1"]


async def test_timeout_of_aclose_is_checked_first(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A wrong argument is told before anything is closed."""
    stream = client.stream("Hi")
    async with stream:
        with pytest.raises(ConfigurationError, match="timeout"):
            await client.aclose(-1)

        assert str(await stream.finish()) == "Hello world"


async def test_cancelling_in_the_middle_of_a_call_with_many_requests(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is cancelled between two of its requests makes no other."""
    first_is_done, is_cancelled, second_is_over = threading.Event(), threading.Event(), threading.Event()
    original = Chat.delete

    def delete(chat: Chat) -> bool:
        if first_is_done.is_set():
            try:
                return original(chat)
            finally:
                second_is_over.set()
        done = original(chat)
        first_is_done.set()
        assert is_cancelled.wait(20)
        return done

    for _ in range(3):
        await client.ask("Hi", keep=True)
    for number in (1, 2, 3):
        script.change_message(f"m{number}", state="complete")
    monkeypatch.setattr(Chat, "delete", delete)
    await cancel_when(lambda: first_is_done.wait(20), client.delete_all_chats)
    is_cancelled.set()
    assert await in_thread(second_is_over.wait, 20)

    assert len(script.deleted_chats) == 1


async def test_many_calls_that_hang_delay_nobody() -> None:
    """However many calls hang, anyio's forty threads are left to others, and when they are cancelled a call is made."""

    def answer_later(connection: Connection, request: Request) -> None:
        handler = stall if len(server.requests) <= 32 else reply(json_response([]))
        handler(connection, request)

    with ScriptedServer(answer_later) as server:
        async with AsyncClient(server.url, token="t") as client:
            async with anyio.create_task_group() as group:
                for _ in range(45):
                    group.start_soon(client.list_models)
                await in_thread(server.wait_until, lambda: len(server.requests) == 32)
                group.cancel_scope.cancel()

            assert await client.list_models() == []


async def test_replies_that_are_silent_delay_nobody(script: OpenAssistantScript, client: AsyncClient) -> None:
    """While more replies are waited for than calls may be made at a time, a call is answered, and another reply."""
    go_on = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(go_on)
        stream.message()

    script.events = events
    script.on_chats = lambda connection, _: script.send_json(
        connection, {"chats": [chat_json("c1")], "next": None, "prev": None}
    )
    async with (
        AsyncClient(script.url, **script.credentials, serialize=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(client.ask, "Hi")
        await in_thread(script.wait_until, lambda: script.calls.count("events") == 40)
        with anyio.fail_after(60):
            await anext(client.list_chats())
            await anext(client.stream("Hi"))
        go_on.set()


@pytest.mark.parametrize(("what", "most"), [("streams", 64), ("calls", 32)])
async def test_burst_uses_few_threads(
    script: OpenAssistantScript, what: str, most: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many begin at once, 32 of them open at a time and 32 end, or 32 calls are under way."""
    if what == "streams" and request.node.callspec.params["surface"].endswith("in pieces"):
        # A reply that is read piece by piece holds a thread of its own, which may also ask for what is missing.
        most += 32
    original = Transport.send
    at_work: set[int] = set()
    counts: list[int] = []

    def send(transport: Transport, *arguments: Any) -> Any:
        at_work.add(threading.get_ident())
        counts.append(len(at_work))
        try:
            return original(transport, *arguments)
        finally:
            at_work.discard(threading.get_ident())

    async def use(client: AsyncClient) -> None:
        await (client.ask("Hi") if what == "streams" else anext(client.list_chats()))

    script.on_chats = lambda connection, _: script.send_json(
        connection, {"chats": [chat_json("c1")], "next": None, "prev": None}
    )
    monkeypatch.setattr(Transport, "send", send)
    async with (
        AsyncClient(script.url, **script.credentials, serialize=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(150):
            group.start_soon(use, client)

    assert 1 < max(counts) <= most


async def test_no_thread_can_be_started(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream and a call raise if there can be no thread for them, and nothing hangs."""

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    stream = client.stream("Hi")
    with monkeypatch.context() as patch, anyio.fail_after(60):
        patch.setattr(anyio.to_thread, "run_sync", fail)
        with pytest.raises(TransportError, match="can't start new thread"):
            await anext(stream)
        with pytest.raises(TransportError, match="can't start new thread"):
            await client.list_models()
        await stream.aclose()

    assert [text async for text in stream] == []
    assert script.calls == []
    assert str(await client.ask("Hi")) == "Hello world"


async def test_cancelling_who_waits_for_a_stream_that_is_held(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream whose reader is cancelled is closed, though somebody holds it."""
    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    await anext(stream)
    await cancel_when(lambda: spin_until(lambda: stream._is_read), stream.__anext__)
    await in_thread(script.wait_until, lambda: script.deleted_chats == ["c1"])

    assert repr(stream) == "<AsyncStream of message m1: closed>"


async def test_message_of_a_stream_that_was_left(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream that is closed before its end has no message, though that has come."""
    stream = client.stream("Hi")
    await anext(stream)
    await in_thread(spin_until, lambda: stream._feed._needs)
    await stream.aclose()
    with pytest.raises(IncompleteReplyError):
        await stream.finish()

    assert (stream.text, stream.message, stream.diverged) == ("Hello", None, False)


async def test_closing_while_another_task_enters(script: OpenAssistantScript, client: AsyncClient) -> None:
    """A stream that one task closes while another opens it is entered, and empty."""
    released = threading.Event()
    _stall_at("create", released)(script)
    stream = client.stream("Hi")
    seen: list[list[str]] = []

    async def use() -> None:
        async with stream:
            seen.append([text async for text in stream])

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await in_thread(script.wait_until, lambda: "create" in script.calls)
        await anyio.lowlevel.checkpoint()
        stream._stop()
        released.set()

    assert seen == [[]]


@pytest.mark.parametrize("surface", ["website", "inference"], indirect=True)
async def test_aclose_waits_for_the_reader(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When aclose() of a stream returns, nobody reads it any more."""
    may_end = threading.Event()
    original = Feed._end

    def end(feed: Feed) -> None:
        assert may_end.wait(20)
        original(feed)

    script.events = hello_and_silence
    script.message_state = "complete"
    stream = client.stream("Hi")
    await anext(stream)
    monkeypatch.setattr(Feed, "_end", end)
    is_closed = False

    async def close() -> None:
        nonlocal is_closed
        await stream.aclose()
        is_closed = True

    async with anyio.create_task_group() as group:
        group.start_soon(close)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        was_closed = is_closed
        may_end.set()

    assert not was_closed
    assert stream._feed.ended


@pytest.mark.parametrize("surface", ["website", "inference"], indirect=True)
async def test_consumer_that_catches_up_at_the_wrong_moment(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that stops since its consumer is behind goes on, also if that has taken everything meanwhile."""
    original = Feed.settle
    is_full, may_settle = threading.Event(), threading.Event()

    def settle(feed: Feed, pause: Pause | None) -> None:
        if pause is Pause.ROOM:
            is_full.set()
            assert may_settle.wait(20)
        original(feed, pause)

    async def read() -> None:
        tokens.extend([text async for text in stream])

    monkeypatch.setattr(Feed, "settle", settle)
    script.tokens = ["x"] * 1_500
    tokens: list[str] = []
    stream = client.stream("Hi")
    with anyio.fail_after(60):
        async with stream, anyio.create_task_group() as group:
            await in_thread(is_full.wait, 20)
            group.start_soon(read)
            await in_thread(spin_until, lambda: not stream._items and stream._feed._waiters)
            may_settle.set()

    assert len(tokens) == 1_500


async def test_chat_is_not_deleted_by_the_one_who_reads_all(
    script: OpenAssistantScript, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads for all streams never makes a call, also if the consumer was behind at the very end."""
    original = Exchange.delete_chat
    names: list[str] = []

    def delete_chat(exchange: Exchange) -> OAError | None:
        names.append(threading.current_thread().name)
        return original(exchange)

    monkeypatch.setattr("oa_client._async.feed.READ_AHEAD", 4)
    monkeypatch.setattr(Exchange, "delete_chat", delete_chat)
    script.tokens = ["x"] * 3
    script.final_text = "xxx, and more"
    async with client.stream("Hi") as stream:
        await in_thread(spin_until, lambda: stream._feed._needs)
        await stream.finish()

    assert stream.text == "xxx, and more"
    assert len(names) == 1
    assert "oa-client reader" not in names


async def test_iterators_that_are_left_need_no_closing(script: OpenAssistantScript, client: AsyncClient) -> None:
    """Events and pages that are left with `break` warn of nothing, on whatever loop."""
    script.message_state = "complete"
    script.on_chats = lambda connection, _: script.send_json(
        connection, {"chats": [chat_json("c1")], "next": None, "prev": None}
    )
    async for _ in client.stream("Hi").events():
        break
    async for _ in client.list_chats().pages():
        break
    gc.collect()

    assert await client.aclose() == ()


async def test_stream_of_another_event_loop(anyio_backend_name: str, script: OpenAssistantScript) -> None:
    """Who waits for a stream in another event loop than it was opened in is told so."""
    streams: list[AsyncStream] = []

    async def begin() -> None:
        streams.append(made.stream("Hi"))
        await anext(streams[0])

    async def go_on() -> None:
        with anyio.fail_after(20), pytest.raises(RuntimeError, match="opened in another event loop"):
            await anext(streams[0])

    script.events = hello_and_silence
    script.message_state = "complete"
    made = AsyncClient(script.url, **script.credentials)
    for function in (begin, go_on):
        await in_thread(partial(anyio.run, function, backend=anyio_backend_name))

    assert await made.aclose() == ()


async def test_cancelling_a_handshake() -> None:
    """While a server does not answer the TLS hello the loop goes on, and whoever waits is released when cancelled."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        async with AsyncClient(url, token="t", timeout=60) as client:
            for work in (partial(client.ask, "Hi"), client.list_models):
                accepted: list[socket.socket] = []

                def has_hello(accepted: list[socket.socket] = accepted) -> None:
                    accepted.append(listener.accept()[0])
                    assert accepted[0].recv(1)

                await cancel_when(has_hello, work)

                def is_left(sock: socket.socket) -> None:
                    with sock, contextlib.suppress(ConnectionError):
                        while sock.recv(4096):
                            pass

                await in_thread(is_left, accepted[0])


async def test_cancelling_list_models() -> None:
    """A task that waits for the models is released when cancelled, and the thread with it."""
    with ScriptedServer(stall) as server:
        async with AsyncClient(server.url, token="t") as client:
            await cancel_when(lambda: server.wait_until(lambda: server.requests), client.list_models)
            # By the cancelling: aclose() would end it too.
            await in_thread(server.wait_until, lambda: server.open_connections == 0)


async def test_timeouts_of_ours_and_of_the_loop(script: OpenAssistantScript) -> None:
    """A limit of `Timeout` raises inside a scope of the loop that is not over."""
    script.events = hello_and_silence
    script.message_state = "in_progress"
    async with AsyncClient(script.url, **script.credentials, timeout=Timeout(idle=0.1)) as client:
        with anyio.fail_after(60), pytest.raises(TransportTimeout):
            await client.ask("Hi")
        script.message_state = "complete"


async def test_three_hundred_streams_at_once(script: OpenAssistantScript, anyio_backend: Any) -> None:
    """With serialize=False 300 streams are open together, all finish, and an unrelated thread call gets through."""
    everybody = threading.Event()
    # In debug mode, asyncio takes its time.
    count = 100 if "debug" in anyio_backend[1] else 300

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
        await in_thread(spin_until, lambda: stream._feed._needs)
        ahead = len(stream._items)
        script.message_state = "complete"

    assert ahead <= 1024


async def test_closing_a_client_whose_consumer_is_far_behind(script: OpenAssistantScript) -> None:
    """aclose() also ends a thread that waits for room."""
    script.tokens = ["x"] * 3_000
    async with AsyncClient(script.url, **script.credentials) as client:
        stream = client.stream("Hi")
        await anext(stream)
        await in_thread(spin_until, lambda: stream._feed._needs)
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

    def start_and_stop(note: Callable[[Any], object]) -> Any:
        opened = yield from start(note)
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

    monkeypatch.setattr("oa_client._calls.engine._local_target", start)
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

    monkeypatch.setattr("oa_client._calls.engine._local_target", start)

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


@pytest.mark.parametrize("surface", ["website", "inference"], indirect=True)
async def test_feeds_of_a_loop_that_is_gone_end(anyio_backend_name: str, script: OpenAssistantScript) -> None:
    """A thread that has news for a loop that is closed stops its stream."""
    released = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(released)
        with contextlib.suppress(Exception):
            # More than is read ahead.
            for _ in range(3_000):
                stream.token("x")
            stream.message()

    script.events = events
    script.message_state = "complete"
    streams: list[AsyncStream] = []

    async def use() -> None:
        stream = made.stream("Hi")
        streams.append(stream)
        await anext(stream)
        waiters.append(made._loops.here().new_waiter())

    waiters: list[Any] = []
    made = AsyncClient(script.url, **script.credentials)
    await in_thread(partial(anyio.run, use, backend=anyio_backend_name))
    # As if somebody had waited when the loop ended.
    streams[0]._feed._waiters += waiters
    released.set()
    await in_thread(spin_until, lambda: streams[0]._feed.ended)

    assert streams[0]._feed.ended
    await made.aclose()
