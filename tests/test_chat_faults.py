"""Where the next prompt of a conversation goes when something has gone wrong before it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from oa_client import (
    APIError,
    BusyError,
    Chat,
    Client,
    GenerationError,
    RequestError,
    Timeout,
    Transcript,
    TransportError,
)
from tests.scripted import Connection, Handler, OpenAssistantScript, Request, in_turn, reply, response
from tests.test_chat import parents, refusal, stub_and_503


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script that does not wait to try again; after it no connection is left."""
    limits = Timeout(first_token=5)
    with Client(script.url, **script.credentials, max_retries=0, timeout=limits) as made:
        yield made
    script.wait_until(lambda: script.open_connections == 0)


@pytest.fixture
def chat(client: Client) -> Chat:
    """A chat that was just made."""
    return client.create_chat()


def lose(connection: Connection, _: Request) -> None:
    """Break the connection without having done anything."""
    connection.reset()


def take_and_lose(handler: Handler) -> Handler:
    """Do what is asked, and break the connection instead of answering."""

    def answer(connection: Connection, request: Request) -> None:
        connection.cut_after(1, reset=True)
        handler(connection, request)

    return answer


def fail_once(script: OpenAssistantScript, route: str, handler: Handler) -> None:
    """Have a route answered by another handler, once."""
    name = f"on_{route}"
    setattr(script, name, in_turn(handler, getattr(script, name)))


def fail_answer_once(script: OpenAssistantScript) -> None:
    """Have the next answer fail."""
    good = script.events

    def fail(stream: Any) -> None:
        script.events = good
        stream.error("out of memory")

    script.events = fail


# Drafts that fail.


@pytest.mark.parametrize("status", [400, 422, 429, 503])
def test_refused_draft(script: OpenAssistantScript, chat: Chat, status: int) -> None:
    """After a draft that the server refused the next prompt follows the answer that was there."""
    chat.ask("One")
    fail_once(script, "assistant", refusal(script, status))
    with pytest.raises(APIError):
        chat.regenerate()
    chat.ask("Two")

    assert "m1" == parents(script)["p2"]


def test_refused_draft_of_an_older_prompt(script: OpenAssistantScript, chat: Chat) -> None:
    """A draft of an older prompt that was refused leaves the branch in use as it was."""
    chat.ask("One")
    chat.ask("Two")
    fail_once(script, "assistant", refusal(script, 422))
    with pytest.raises(RequestError):
        chat.regenerate("m1")
    chat.ask("Three")

    assert "m2" == parents(script)["p3"]
    assert ["p1", "m1", "p2", "m2", "p3", "m3"] == [item.id for item in chat.thread()]


def test_failed_draft(script: OpenAssistantScript, chat: Chat) -> None:
    """After a draft that failed the branch in use, and the next prompt, go on from the one that is complete."""
    chat.ask("One")
    fail_answer_once(script)
    with pytest.raises(GenerationError):
        chat.regenerate().finish()

    assert ["p1", "m1"] == [item.id for item in chat.thread()]
    chat.ask("Two")
    assert "m1" == parents(script)["p2"]


@pytest.mark.parametrize("kind", ["json", "markdown"])
def test_export_after_a_failed_draft(script: OpenAssistantScript, chat: Chat, kind: Any) -> None:
    """After a draft that failed the branch in use of an export goes through the answer that is complete."""
    chat.ask("One")
    fail_answer_once(script)
    with pytest.raises(GenerationError):
        chat.regenerate().finish()
    read = Transcript.parse(chat.export(kind))

    assert ["p1", "m1"] == [item.id for item in read.thread()]
    assert ["One", "Hello world", "Two"] == [item["content"] for item in read.followed_by("Two")]


def test_failed_draft_that_was_selected(script: OpenAssistantScript, chat: Chat) -> None:
    """An answer that failed and was selected is shown, and its prompt can be asked again."""
    chat.ask("One")
    fail_answer_once(script)
    with pytest.raises(GenerationError):
        chat.regenerate().finish()
    chat.select("m2")

    assert ["p1", "m2"] == [item.id for item in chat.thread()]
    chat.ask("One")
    assert "p1" == parents(script)["m3"]


def test_draft_of_another_client_is_waited_for(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """If an answer fails while another draft of its prompt is being written, the next prompt follows that."""
    script.events = lambda stream: stream.connection.wait_until_left()
    chat.stream("One").close()
    script.change_message("m1", state="in_progress")
    other = client.open_chat(chat.id).regenerate()
    script.change_message("m1", state="aborted_by_worker")
    script.change_message("m2", state="in_progress")
    default, looks = script.on_message, 0

    def look(connection: Connection, request: Request) -> None:
        nonlocal looks
        if script.route(request)[2] == "m2" and (looks := looks + 1) == 2:
            script.change_message("m2", state="complete", content="Hello")
        default(connection, request)

    script.on_message = look
    script.events = script._write_events
    chat.ask("Two")
    other.close()

    assert "m2" == parents(script)["p2"]


def test_server_that_contradicts_itself(script: OpenAssistantScript, chat: Chat) -> None:
    """An answer that is failed as a message and coming in its chat is not waited for again and again."""
    script.events = lambda stream: stream.connection.wait_until_left()
    chat.stream("One").close()
    script.message_state = "aborted_by_worker"
    script.events = script._write_events
    chat.ask("One")

    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)


# Prompts that are lost.


@pytest.mark.parametrize("is_taken", [True, False])
def test_lost_prompt_on_a_selected_branch(script: OpenAssistantScript, chat: Chat, is_taken: bool) -> None:
    """A prompt that was lost goes, said again, where it was to go, also if another branch is longer there."""
    first = chat.ask("One")
    chat.ask("Two")
    chat.select(first)
    fail_once(script, "prompter", take_and_lose(script.on_prompter) if is_taken else lose)
    with pytest.raises(TransportError):
        chat.ask("Three")

    expected = ["p1", "m1", "p3"] if is_taken else ["p1", "m1"]
    assert expected == [item.id for item in chat.thread()]
    chat.ask("Three")
    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2", "p3": "m1", "m3": "p3"} == parents(script)


@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize("how", ["parent", "edit"])
def test_lost_prompt_with_a_place(script: OpenAssistantScript, chat: Chat, is_taken: bool, how: str) -> None:
    """A prompt that was lost is not posted twice if the same place is named again."""
    chat.ask("One")
    chat.ask("Two")
    fail_once(script, "prompter", take_and_lose(script.on_prompter) if is_taken else lose)

    def say() -> None:
        (chat.edit("p2", "Three") if how == "edit" else chat.stream("Three", parent="m1")).finish()

    with pytest.raises(TransportError):
        say()
    say()

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2", "p3": "m1", "m3": "p3"} == parents(script)


def test_lost_prompt_with_the_words_of_an_old_one(script: OpenAssistantScript, chat: Chat) -> None:
    """A prompt that was lost is not mistaken for an older one with the same words, which was answered."""
    chat.ask("One")
    chat.ask("Two")
    fail_once(script, "prompter", lose)
    with pytest.raises(TransportError):
        chat.ask("Two", parent="m1")
    chat.ask("Two")

    assert {"p2": "m1", "p3": "m1", "m3": "p3"}.items() <= parents(script).items()


def test_lost_prompt_and_a_draft(script: OpenAssistantScript, chat: Chat) -> None:
    """A prompt that was lost after it was taken is the last one, which `regenerate` has answered."""
    chat.ask("One")
    fail_once(script, "prompter", take_and_lose(script.on_prompter))
    with pytest.raises(TransportError):
        chat.ask("Two")
    chat.regenerate().finish()

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


@pytest.mark.parametrize("is_taken", [True, False])
def test_lost_request_for_an_answer(script: OpenAssistantScript, chat: Chat, is_taken: bool) -> None:
    """If the request for an answer is lost the prompt stands, and what comes next follows its answer, if there is."""
    fail_once(script, "assistant", take_and_lose(script.on_assistant) if is_taken else lose)
    with pytest.raises(TransportError):
        chat.ask("One")
    if is_taken:
        script.change_message("m1", state="complete", content="Hello")
        chat.ask("Two")

        assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)
    else:
        chat.ask("One")

        assert {"p1": None, "m1": "p1"} == parents(script)


def test_chat_that_another_client_began(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """A chat that is not empty any more is looked at anew once the server has said so."""
    client.open_chat(chat.id).ask("One")
    fail_once(script, "prompter", refusal(script, 400, "Trying to add first message to non-empty chat"))
    with pytest.raises(RequestError):
        chat.ask("Two")
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


# What a full queue leaves.


def test_stub_is_not_waited_for_after_a_look(script: OpenAssistantScript, chat: Chat) -> None:
    """What a full queue left below a prompt is not waited for, also when the chat had to be looked at."""
    fail_once(script, "assistant", stub_and_503(script))
    with pytest.raises(BusyError):
        chat.ask("One")
    fail_once(script, "assistant", lose)
    with pytest.raises(TransportError):
        chat.ask("One")

    assert ["p1"] == [item.id for item in chat.thread()]
    chat.ask("One")
    assert "message" not in script.calls


@pytest.mark.parametrize("retries", [0, 1])
def test_deleting_a_chat_with_a_stub(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    """What a full queue left keeps no chat from being deleted, though it was only seen by a repetition."""
    monkeypatch.setattr("oa_client._calls.retry.FIRST_DELAY", 0.001)
    with Client(script.url, **script.credentials, max_retries=retries) as client:
        chat = client.create_chat()
        fail_once(script, "assistant", stub_and_503(script))
        if retries:
            chat.ask("One")
        else:
            with pytest.raises(BusyError):
                chat.ask("One")

        assert chat.delete()


def test_answer_that_is_long_overdue(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """An answer that has not come for a day is not waited for."""
    chat.ask("One")
    script.change_message("m1", state="in_progress", content=None, created_at="2020-01-01T00:00:00")
    opened = client.open_chat(chat.id)
    opened.ask("One")

    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)


# Errors.


def test_error_of_a_server_in_trouble(script: OpenAssistantScript, chat: Chat) -> None:
    """If a call fails and so does the look at its chat, the error is that of the call."""
    chat.ask("One")
    broken = reply(response(500, b"Internal Server Error", headers={"connection": "close"}))
    script.on_update = script.on_chat = script.on_chats = broken
    with pytest.raises(APIError) as caught:
        chat.rename("x")

    assert ("PUT", 500) == (caught.value.method, caught.value.status)


def test_error_of_a_server_that_dies(script: OpenAssistantScript, chat: Chat) -> None:
    """If a call fails and the server is gone then, the error is that of the call."""
    script.on_update = reply(response(500, b"Internal Server Error", headers={"connection": "close"}))
    script.on_chat = script.on_chats = lose
    with pytest.raises(APIError) as caught:
        chat.hide()

    assert ("PUT", 500) == (caught.value.method, caught.value.status)


# Sockets.


def test_forgotten_stream_costs_no_socket(script: OpenAssistantScript, client: Client) -> None:
    """A stream that nobody reads and nobody holds gives its socket back, though its chat is held."""
    script.events = lambda stream: stream.connection.wait_until_left()
    chats = [client.create_chat() for _ in range(3)]
    bodies = []
    for chat in chats:
        stream = chat.stream("Hi")
        bodies.append(stream._reply._body._last_will)
        script.change_message(stream.message_id, state="in_progress")
        del stream
    gc.collect()

    assert [False] * 3 == [finalizer.alive for finalizer in bodies]


def test_stream_that_nobody_got_costs_no_socket(
    script: OpenAssistantScript, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the server is told of the branch in use closes the stream that was already open."""
    first = chat.ask("One")
    chat.select(first)
    script.events = lambda stream: stream.connection.wait_until_left()
    engine = chat._engine

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # Ctrl-C in there.
    monkeypatch.setattr(chat._position, "tell_tail", interrupt)
    with pytest.raises(KeyboardInterrupt):
        chat.stream("Two")
    gc.collect()

    assert [] == [item for item in engine._exchanges if item.interrupt.socket is not None]
