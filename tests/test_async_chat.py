"""Conversations of the async client: cancelled, side by side, and in two event loops, on asyncio and on trio."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from oa_client import (
    AsyncChat,
    AsyncClient,
    BusyError,
    Chat,
    Client,
    ConfigurationError,
    GenerationError,
    IncompleteReplyError,
    Message,
    NotFoundError,
    OAError,
)
from tests.scripted import Connection, EventWriter, Handler, OpenAssistantScript, Request, Surface
from tests.test_async import cancel_when, hello_and_silence, in_thread
from tests.test_catalog import Catalog
from tests.test_chat import parents, refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(script: OpenAssistantScript) -> AsyncIterator[AsyncClient]:
    """A client of the script; after it no connection is left."""
    async with AsyncClient(script.url, **script.credentials, max_retries=0) as made:
        yield made
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


@pytest.fixture
async def chat(client: AsyncClient) -> AsyncChat:
    """A chat that was just made."""
    return await client.create_chat()


async def test_turns(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """Each prompt follows the answer before it, however the answer is read."""
    assert "Hello world" == str(await chat.ask("One"))
    assert ["Hello", " world"] == [text async for text in chat.stream("Two")]
    # The server goes on with an answer whose reader has left; the script may not come to its end.
    script.message_state = "complete"
    async with chat.stream("Three") as stream:
        assert "c1" == stream.chat_id
    assert "Hello world" == str(await chat.regenerate().finish())

    assert ["p1", "m1", "p2", "m2", "p3", "m4"] == [message.id for message in await chat.thread()]


async def test_nothing_is_said(script: OpenAssistantScript, client: AsyncClient, chat: AsyncChat) -> None:
    """None is no prompt: it is refused wherever something is said, before anything is sent."""
    nothing: Any = None
    for say in (client.stream, chat.stream, partial(chat.edit, "p1")):
        with pytest.raises(ConfigurationError, match="messages must be a string or a list"):
            say(nothing)

    assert ["create"] == script.calls


@pytest.mark.parametrize("copy_it", [pickle.dumps, copy.deepcopy])
async def test_chat_that_is_to_be_copied(chat: AsyncChat, copy_it: Callable[[object], object]) -> None:
    """A chat cannot leave its client, and the error says how to have another one."""
    with pytest.raises(TypeError, match=r"client\.open_chat\(chat\.id\)"):
        copy_it(chat)


async def test_turn_is_opened_when_it_is_used(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn that is only made says nothing; turns come in the order in which they are opened."""
    first, second, third = chat.stream("One"), chat.stream("Two"), chat.regenerate()
    assert ["create"] == script.calls
    await second.finish()
    await first.finish()
    await third.aclose()

    assert ["Two", "One"] == [str(message) for message in await chat.thread() if message.role == "prompter"]
    assert [text async for text in third] == []


async def test_wrong_arguments_are_told_at_once(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """The plain calls themselves raise what can be known without the server."""
    calls: list[Callable[[], object]] = [
        lambda: chat.stream(""),
        lambda: chat.stream("x", parent=""),
        lambda: chat.stream("x", parent=Message("p1", role="prompter")),
        lambda: chat.regenerate(""),
        lambda: chat.edit("", "x"),
        lambda: chat.edit(Message("m1"), "x"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError):
            call()

    assert ["create"] == script.calls


async def test_errors_come_on_opening(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """What the server says comes from entering, and from the first item; the next turn is at its place."""
    good, script.on_assistant = script.on_assistant, refusal(script, 503)
    with pytest.raises(BusyError):
        async with chat.stream("One"):
            pass
    with pytest.raises(BusyError):
        await anext(chat.stream("One"))
    script.on_assistant = good
    await chat.ask("One")

    assert {"p1": None, "m1": "p1"} == parents(script)


# The two faces.

Uses = list[Callable[[Any], Any]]

USES: Uses = [
    lambda chat: chat.ask("One", system_prompt="s"),
    lambda chat: chat.ask([{"role": "user", "content": "Two"}], parent="m1", model="m"),
    lambda chat: chat.regenerate("m1", sampling={"top_k": 1}).finish(),
    lambda chat: chat.edit("p2", "Three").finish(),
    lambda chat: chat.select("m1"),
    lambda chat: chat.ask("Four"),
    lambda chat: chat.info(),
    lambda chat: chat.messages(),
    lambda chat: chat.thread(),
    lambda chat: chat.branches("m1"),
    lambda chat: chat.rename("Title"),
    lambda chat: chat.hide(),
    lambda chat: chat.show(),
    lambda chat: chat.allow_data_use(),
    lambda chat: chat.allow_data_use(False),
    lambda chat: chat.export(),
    lambda chat: chat.export("markdown"),
    lambda chat: chat.vote("m1", 1),
    lambda chat: chat.evaluate("m1", ["m2"]),
    lambda chat: chat.report("m1", "x", "spam"),
    lambda chat: chat.ask("x", parent="p1"),
    lambda chat: chat.select("m9"),
    lambda chat: chat.branches("m9"),
    lambda chat: chat.edit("p1", "x").finish(),
    lambda chat: chat.delete(),
    lambda chat: chat.info(),
    lambda chat: chat.ask("x"),
]


def summary(value: Any) -> Any:
    """Return what can be compared of a result: times and errors are made anew each time."""
    if isinstance(value, OAError):
        return type(value), str(value).partition("http://")[0]
    if isinstance(value, Message):
        return value.id, value.content
    if isinstance(value, list):
        return [summary(item) for item in value]
    return len(value) if isinstance(value, str) else value


def requests_of(script: OpenAssistantScript) -> list[tuple[str, str, bytes]]:
    """Return what was asked of a server."""
    return [(request.method, request.target, request.body) for request in script.requests]


async def test_both_faces_do_the_same(surface: Surface) -> None:
    """Each method of the two makes the same requests, and gives the same results and errors."""

    def use_blocking() -> tuple[list[Any], list[Any]]:
        results = []
        with Catalog(surface) as script, Client(script.url, **script.credentials, max_retries=0) as client:
            chat = client.create_chat()
            assert isinstance(chat, Chat)
            for use in USES:
                try:
                    results.append(summary(use(chat)))
                except OAError as error:
                    results.append(summary(error))
            return results, requests_of(script)

    results = []
    with Catalog(surface) as script:
        async with AsyncClient(script.url, **script.credentials, max_retries=0) as client:
            chat = await client.create_chat()
            for use in USES:
                try:
                    results.append(summary(await use(chat)))
                except OAError as error:
                    results.append(summary(error))
            made = requests_of(script)

    assert await in_thread(use_blocking) == (results, made)


@pytest.mark.parametrize(
    ("use", "route"),
    [
        pytest.param(lambda chat: chat.info(), "chat", id="info"),
        pytest.param(lambda chat: chat.thread(), "chat", id="thread"),
        pytest.param(lambda chat: chat.rename("x"), "update", id="rename"),
        pytest.param(lambda chat: chat.select("m1"), "update", id="select"),
        pytest.param(lambda chat: chat.export(), "chat", id="export"),
        pytest.param(lambda chat: chat.delete(), "delete", id="delete"),
        pytest.param(lambda chat: chat.ask("x"), "prompter", id="ask, prompt"),
        pytest.param(lambda chat: chat.ask("x"), "assistant", id="ask, answer"),
        pytest.param(lambda chat: chat.ask("x"), "events", id="ask, events"),
    ],
)
async def test_loop_goes_on_while_a_call_hangs(
    script: OpenAssistantScript, chat: AsyncChat, use: Callable[[AsyncChat], Awaitable[object]], route: str
) -> None:
    """The server answers only after another task of the loop has had its turns, and after that all is well."""
    await chat.ask("One")
    released = threading.Event()
    good: Handler = getattr(script, f"on_{route}")

    def hang(connection: Connection, request: Request) -> None:
        connection.wait(released)
        good(connection, request)

    before = script.calls.count(route)

    async def release() -> None:
        await in_thread(script.wait_until, lambda: script.calls.count(route) > before)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        released.set()

    setattr(script, f"on_{route}", hang)
    async with anyio.create_task_group() as group:
        group.start_soon(release)
        await use(chat)

    assert released.is_set()


# Cancelled.


async def cancel_at(
    script: OpenAssistantScript, route: str, work: Callable[[], Awaitable[object]], *, is_taken: bool
) -> None:
    """Cancel something while a call of it hangs; then the server goes on with the call, or does not."""
    released = threading.Event()
    done = threading.Event()
    good: Handler = getattr(script, f"on_{route}")

    def hang(connection: Connection, request: Request) -> None:
        connection.wait(released)
        setattr(script, f"on_{route}", good)
        try:
            if is_taken:
                good(connection, request)
            else:
                connection.reset()
        finally:
            done.set()

    setattr(script, f"on_{route}", hang)
    before = script.calls.count(route)
    await cancel_when(lambda: script.wait_until(lambda: script.calls.count(route) > before), work)
    released.set()
    assert await in_thread(done.wait, 20)


@pytest.mark.parametrize("is_taken", [True, False])
async def test_cancelled_prompt(script: OpenAssistantScript, chat: AsyncChat, is_taken: bool) -> None:
    """A turn that is cancelled while its prompt is posted leaves it to be found, if it came, and said again, if not."""
    await chat.ask("One")
    await cancel_at(script, "prompter", partial(chat.ask, "Two"), is_taken=is_taken)
    await chat.ask("Two")

    prompts = {key: parent for key, parent in parents(script).items() if key[0] == "p"}
    assert {"p1": None, "p2": "m1"} == prompts
    assert "p2" == parents(script)["m2"]


@pytest.mark.parametrize("route", ["assistant", "events"])
async def test_cancelled_answer(script: OpenAssistantScript, chat: AsyncChat, route: str) -> None:
    """A turn that is cancelled when an answer was asked for leaves that to be waited for, and followed."""
    await chat.ask("One")
    await cancel_at(script, route, partial(chat.ask, "Two"), is_taken=route == "assistant")
    script.change_message("m2", state="complete", content="Hello")
    await chat.ask("Three")

    assert {"p2": "m1", "m2": "p2", "p3": "m2", "m3": "p3"}.items() <= parents(script).items()


async def test_cancelled_in_mid_answer(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn that is cancelled while its answer is read is waited for by the next, which follows it."""
    got_one = threading.Event()

    async def read() -> None:
        async for _ in chat.stream("One"):
            got_one.set()

    good, script.events = script.events, hello_and_silence
    await cancel_when(got_one.wait, read)
    script.change_message("m1", state="complete", content="Hello")
    script.events = good
    await chat.ask("Two")

    assert "m1" == parents(script)["p2"]


async def test_cancelled_while_the_answer_before_is_written(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn that is cancelled while it waits for the answer before it has said nothing; the next one follows that."""
    good, script.events = script.events, hello_and_silence
    async with chat.stream("One") as stream:
        await anext(stream)
    script.change_message("m1", state="in_progress")
    await cancel_when(lambda: script.wait_until(lambda: script.calls.count("message") > 1), partial(chat.ask, "Two"))
    assert ["p1", "m1"] == list(parents(script))
    script.change_message("m1", state="complete", content="Hello")
    script.events = good
    await chat.ask("Three")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


async def test_cancelled_while_another_turn_is_opened(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn that is cancelled while it waits for another of its chat has said nothing, and holds up nobody."""
    released = threading.Event()
    good = script.on_prompter

    def hang(connection: Connection, request: Request) -> None:
        connection.wait(released)
        good(connection, request)

    script.on_prompter = hang
    async with anyio.create_task_group() as group:
        group.start_soon(chat.ask, "One")
        await in_thread(script.wait_until, lambda: "prompter" in script.calls)
        with anyio.move_on_after(0.02) as scope:
            await chat.ask("Two")
        released.set()
    await chat.ask("Three")

    assert scope.cancelled_caught
    assert ["One", "Three"] == [str(message) for message in await chat.thread() if message.role == "prompter"]


async def test_cancelled_while_the_server_is_told_of_the_branch(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn that is cancelled when its events are open already gives its connection back, and counts."""
    await chat.ask("One")
    await chat.ask("Two")
    script.events = hello_and_silence
    await cancel_at(script, "update", partial(chat.ask, "Three", parent="m1"), is_taken=True)
    script.change_message("m3", state="complete", content="Hello")
    script.events = script._write_events
    await in_thread(script.wait_until, lambda: script.open_connections <= 1)
    await chat.ask("Four")

    assert {"p3": "m1", "p4": "m3"}.items() <= parents(script).items()


@pytest.mark.parametrize("route", ["chat", "update", "delete"])
async def test_cancelled_method(script: OpenAssistantScript, chat: AsyncChat, route: str) -> None:
    """A method that is cancelled while its call hangs leaves the chat usable."""
    await chat.ask("One")
    use = {"chat": chat.thread, "update": chat.hide, "delete": chat.delete}[route]
    await cancel_at(script, route, use, is_taken=False)
    await chat.ask("Two")

    assert "m1" == parents(script)["p2"]


@pytest.mark.parametrize("is_taken", [True, False])
async def test_cancelled_creation(script: OpenAssistantScript, is_taken: bool) -> None:
    """If making a chat is cancelled, one that the server makes all the same is deleted again."""
    async with AsyncClient(script.url, **script.credentials, max_retries=0) as client:
        await cancel_at(script, "create", client.create_chat, is_taken=is_taken)
        assert () == await client.aclose()

    assert (["c1"] if is_taken else []) == script.deleted_chats == list(script.chats)
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def test_cancelled_between_creation_and_delivery(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat that is made, and does not come to its user since the task is cancelled then, is deleted again."""
    create = Chat._create

    def create_and_cancel(*arguments: Any) -> Chat:
        made = create(*arguments)
        anyio.from_thread.run_sync(scope.cancel)
        return made

    monkeypatch.setattr(Chat, "_create", create_and_cancel)
    async with AsyncClient(script.url, **script.credentials) as client:
        with anyio.CancelScope() as scope:
            await client.create_chat()
        assert () == await client.aclose()

    assert scope.cancelled_caught
    assert ["c1"] == script.deleted_chats


async def test_cancelled_opening(script: OpenAssistantScript, client: AsyncClient, chat: AsyncChat) -> None:
    """Opening a chat that is cancelled leaves nothing, and the chat as it was."""
    await cancel_at(script, "chat", partial(client.open_chat, chat.id), is_taken=True)
    opened = await client.open_chat(chat.id)
    await opened.ask("Hi")

    assert ["c1"] == script.visible_chats


# Side by side.


async def test_turns_of_many_tasks(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """Turns that are begun at once come one after the other."""
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(chat.ask, f"Number {number}")

    assert {"p1": None, "p2": "m1", "p3": "m2", "p4": "m3", "p5": "m4"} == {
        key: parent for key, parent in parents(script).items() if key[0] == "p"
    }


async def test_drafts_side_by_side(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """While an answer is being written three drafts beside it are, and what comes next follows the last of them."""
    all_begun = threading.Event()

    def events(stream: EventWriter) -> None:
        script.change_message(stream.message_id, state="in_progress")
        stream.token("Hello")
        stream.wait(all_begun)
        stream.message(content="Hello")

    good, script.events = script.events, events
    answers: list[str] = []

    async def read(stream: Any) -> None:
        answers.append(str(await stream.finish()))

    async with chat.stream("One") as stream:
        await anext(stream)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read, chat.regenerate())
            await in_thread(script.wait_until, lambda: script.calls.count("events") == 4)
            all_begun.set()
        await stream.finish()
    script.events = good
    last = (await chat.thread())[-1].id
    await chat.ask("Two")

    assert ["Hello"] * 3 == answers
    assert {"p1": None, "m1": "p1", "m2": "p1", "m3": "p1", "m4": "p1", "p2": last, "m5": "p2"} == parents(script)
    assert "m4" == last


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_two_event_loops(script: OpenAssistantScript, anyio_backend: str) -> None:
    """One chat can be used in an event loop of asyncio and in one of trio at the same time, and in a thread."""
    client = AsyncClient(script.url, **script.credentials)
    chat = (await client.create_chat())._chat
    chats = {name: AsyncChat(chat, client._open, client._loops) for name in ("asyncio", "trio")}
    errors: list[BaseException] = []

    def use(name: str) -> None:
        try:
            if name == "thread":
                for number in range(3):
                    chat.ask(f"{name} {number}")
                return

            async def turns() -> None:
                for number in range(3):
                    assert "Hello world" == "".join([text async for text in chats[name].stream(f"{name} {number}")])

            anyio.run(turns, backend=name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(name,)) for name in ("asyncio", "trio", "thread")]
    for thread in threads:
        thread.start()
    for thread in threads:
        await in_thread(thread.join, 60)
    assert () == await client.aclose()

    assert [] == errors
    prompts = {key: parent for key, parent in parents(script).items() if key[0] == "p"}
    assert {"p1": None, **{f"p{number + 1}": f"m{number}" for number in range(1, 9)}} == prompts


# The end.


async def test_closing_with_a_turn_open(script: OpenAssistantScript) -> None:
    """aclose() ends an open turn, and one that waits for it; the chat stays, and every method says what is wrong."""
    script.events = hello_and_silence
    client = AsyncClient(script.url, **script.credentials)
    chat = await client.create_chat()
    stream = chat.stream("One")
    await anext(stream)
    script.change_message("m1", state="in_progress")
    caught: list[type[BaseException]] = []

    async def wait() -> None:
        try:
            await chat.ask("Two")
        except OAError as error:
            caught.append(type(error))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await in_thread(script.wait_until, lambda: "message" in script.calls)
        assert () == await client.aclose()

    assert [text async for text in stream] == []
    with pytest.raises(IncompleteReplyError):
        await stream.finish()
    for use in (chat.info, partial(chat.ask, "x"), chat.delete):
        with pytest.raises(ConfigurationError, match="closed"):
            await use()
    assert ["p1", "m1"] == list(parents(script))
    assert ["c1"] == script.visible_chats
    assert 1 == len(caught)
    assert caught[0] in (ConfigurationError, IncompleteReplyError)
    await in_thread(script.wait_until, lambda: script.open_connections == 0)


async def test_deleted_meanwhile(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """A turn in a chat that another client has deleted is a NotFoundError when it is opened."""
    await chat.ask("One")
    script.chats["c1"].deleted = True
    stream = chat.stream("Two")

    with pytest.raises(NotFoundError, match="no chat c1"):
        await stream.finish()


async def test_failed_turn(script: OpenAssistantScript, chat: AsyncChat) -> None:
    """After an answer that failed the same text asks again on the same prompt."""
    good, script.events = script.events, lambda stream: stream.error("out of memory")
    with pytest.raises(GenerationError):
        await chat.ask("One")
    script.events = good
    await chat.ask("One")

    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)
