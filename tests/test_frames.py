"""How far it is from a user's call to the request that it makes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests

import oa_client
from oa_client import AsyncClient, Chat, Client, NotFoundError
from tests.scripted import EventWriter, Surface
from tests.test_catalog import Catalog

PACKAGE = str(Path(oa_client.__file__).parent)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each request that is sent, how many frames of the package are below it, in the thread that sends it."""
    counts: list[int] = []
    send = requests.Session.send

    def count_and_send(*arguments: Any, **options: Any) -> requests.Response:
        frame, count = sys._getframe(1), 0
        while frame is not None:
            count += frame.f_code.co_filename.startswith(PACKAGE)
            frame = frame.f_back  # type: ignore[assignment]  # None at the end
        counts.append(count)
        return send(*arguments, **options)

    monkeypatch.setattr(requests.Session, "send", count_and_send)
    return counts


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client, chat: chat.rename("Trees"), id="rename"),
        pytest.param(lambda client, chat: client.list_models(), id="list_models"),
    ],
)
def test_plain_call(surface: Surface, frames: list[int], call: Callable[[Client, Chat], Any]) -> None:
    """A plain call takes six frames at most."""
    with Catalog(surface) as script, Client(script.url, **script.credentials) as client:
        chat = client.create_chat()
        frames.clear()
        call(client, chat)

    assert frames
    assert max(frames) <= 6


@pytest.fixture
def script(surface: Surface) -> Iterator[Catalog]:
    """A server of each surface with models and plugins."""
    with Catalog(surface) as server:
        yield server


@pytest.fixture
def client(script: Catalog) -> Iterator[Client]:
    """A client whose model the server has."""
    with Client(script.url, **script.credentials, model="m") as made:
        yield made


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client, chat: list(client.stream("Hi")), id="stream"),
        pytest.param(lambda client, chat: client.stream("Hi").finish(), id="finish"),
        pytest.param(lambda client, chat: client.ask("Hi", sampling="k50", plugins=["Calculator"]), id="ask"),
        pytest.param(lambda client, chat: list(chat.stream("And?")), id="chat.stream"),
        pytest.param(lambda client, chat: chat.ask("And?", sampling="k50", plugins=["Calculator"]), id="chat.ask"),
        pytest.param(lambda client, chat: list(chat.stream("And?", parent="m1")), id="parent"),
        pytest.param(lambda client, chat: list(chat.regenerate()), id="draft"),
        pytest.param(lambda client, chat: list(chat.regenerate("p2")), id="draft of another prompt"),
        pytest.param(lambda client, chat: list(chat.edit("p2", "And?")), id="edit"),
        pytest.param(lambda client, chat: client.open_chat(chat.id).ask("And?"), id="chat that was opened"),
    ],
)
def test_request_of_a_reply(
    script: Catalog, client: Client, frames: list[int], call: Callable[[Client, Chat], Any]
) -> None:
    """Each request that is made for a reply takes nine frames at most."""
    chat = client.create_chat()
    for text in ("One", "Two"):
        chat.ask(text)
    frames.clear()
    call(client, chat)

    assert frames
    assert max(frames) <= 9


def cut(stream: EventWriter) -> None:
    """Break the connection after a token."""
    stream.token("Hello")
    stream.connection.reset()


def test_request_after_a_break(script: Catalog, client: Client, frames: list[int]) -> None:
    """Nine frames are enough for looking at an answer whose stream broke, for the next turn, and for its prompt."""
    chat = client.create_chat()
    default, script.events = script.events, cut
    script.message_state = "complete"
    client.ask("Hi")
    chat.ask("One")
    stream = chat.stream("Two")
    stream.close()
    script.events = default
    chat.ask("Three")

    assert script.calls.count("message") >= 3
    assert max(frames) <= 9


def test_request_of_one_who_waits(
    script: Catalog, client: Client, frames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine frames are enough to look at a message that is pending, one's own and one that is waited for."""
    monkeypatch.setattr("oa_client._calls.reply.PENDING_LOOK", 0.0)
    default = script.events

    def wait_for_look(stream: EventWriter) -> None:
        stream.pending()
        script.wait_until(lambda: "message" in script.calls)
        default(stream)

    script.events = wait_for_look
    client.ask("One")
    script.events = lambda stream: stream.connection.wait_until_left() if stream.message_id == "m2" else default(stream)
    with client.stream("Two"):
        script.message_state = "in_progress"
        client.ask("Three")
    script.message_state = "complete"

    assert script.calls.count("message") >= 2
    assert max(frames) <= 9


def test_request_for_a_chat_that_is_gone(client: Client, frames: list[int]) -> None:
    """Nine frames are enough to see whether a chat that cannot be used was deleted."""
    chat = client.create_chat()
    first = chat.ask("One")
    client.open_chat(chat.id).delete()
    for parent in (None, first):
        with pytest.raises(NotFoundError):
            chat.ask("Two", parent=parent)

    assert max(frames) <= 9


def test_request_of_async_code(script: Catalog, frames: list[int]) -> None:
    """Nine frames in the thread that makes the call are enough for async code."""

    async def main() -> None:
        async with AsyncClient(script.url, **script.credentials, model="m") as client:
            await client.ask("Hi")
            chat = await client.create_chat()
            for text in ("One", "Two"):
                await chat.ask(text, sampling="k50", plugins=["Calculator"])
            await chat.regenerate("p2").finish()

    anyio.run(main)

    assert frames
    assert max(frames) <= 9
