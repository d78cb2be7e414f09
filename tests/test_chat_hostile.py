"""Conversations with servers that do not mean well, or are not what they say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from oa_client import Chat, Client, OAError, ProtocolError, Timeout
from tests.scripted import OpenAssistantScript, Surface, chat_json, message_json, reply, response
from tests.test_chat import parents

SECRET = "s3cr3t-t0k3n"


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script; after it no connection is left."""
    made = Client(script.url, **script.credentials, max_retries=0)
    yield made
    # A chat with an answer in a state that nobody knows is not deleted.
    made.close(timeout=0)
    script.wait_until(lambda: script.open_connections == 0)


def prompt(message_id: Any, parent_id: Any, **changes: Any) -> dict[str, Any]:
    """Make a prompt."""
    return message_json(
        message_id, "c1", parent_id, **{"role": "prompter", "state": "manual", "content": "x"} | changes
    )


def answer(message_id: Any, parent_id: Any, **changes: Any) -> dict[str, Any]:
    """Make an answer."""
    return message_json(message_id, "c1", parent_id, **{"state": "complete", "content": "y"} | changes)


STORIES: dict[str, Any] = {
    "circle of one": [prompt("p1", "p1")],
    "circle of two": [prompt("p1", "m1"), answer("m1", "p1")],
    "circle beside a tree": [prompt("p1", None), answer("m1", "p1"), prompt("p2", "m2"), answer("m2", "p2")],
    "orphans": [answer("m1", "elsewhere"), prompt("p2", "nowhere")],
    "answers alone": [answer("m1", None), answer("m2", "m1")],
    "prompts below prompts": [prompt("p1", None), prompt("p2", "p1"), prompt("p3", "p2")],
    "two firsts": [prompt("p1", None), prompt("p2", None), answer("m1", "p1")],
    "one id twice": [prompt("p1", None), answer("p1", "p1"), answer("m1", "p1"), prompt("m1", "p1")],
    "unknown roles": [message_json("x1", "c1", None, role="system", state="new"), prompt("p1", "x1")],
    "unknown states": [prompt("p1", None), answer("m1", "p1", state="resting")],
    "foreign chat": [prompt("p1", None), answer("m1", "p1") | {"chat_id": "c2"}],
    "odd ids": [prompt("../../auth/check?x=1#", None), answer("a b\n", "../../auth/check?x=1#")],
    "empty id": [prompt("", None), answer("m1", "")],
    "half of a pair": [prompt("\ud800", None), answer("m1", "\ud800", content="\udc00")],
    "long id": [prompt("p" * 10_000, None), answer("m" * 10_000, "p" * 10_000)],
    "no times": [prompt("p1", None, created_at=None), answer("m1", "p1", created_at="tomorrow")],
    "mixed times": [prompt("p1", None, created_at="2026-01-01T00:00:00+09:00"), answer("m1", "p1", created_at=5)],
    "number for an id": [prompt(5, None)],
    "null for an id": [prompt(None, None)],
    "list for a parent": [prompt("p1", ["m1"])],
    "number for a text": [prompt("p1", None, content=5)],
    "list for a state": [prompt("p1", None), answer("m1", "p1", state=["complete"])],
    "null for a role": [prompt("p1", None, role=None)],
    "text for messages": "none",
    "numbers for messages": [1, 2],
    "nested lists": [[[]]],
    "null for messages": None,
}

USES: list[Callable[[Chat], Any]] = [
    lambda chat: chat.messages(),
    lambda chat: chat.thread(),
    lambda chat: chat.info(),
    lambda chat: chat.export(),
    lambda chat: chat.export("markdown"),
    lambda chat: chat.branches("m1"),
    lambda chat: chat.select("m1"),
    lambda chat: chat.ask("Hi"),
    lambda chat: chat.ask("Hi", parent="m1"),
    lambda chat: chat.regenerate().finish(),
    lambda chat: chat.regenerate("m1").finish(),
    lambda chat: chat.edit("p2", "Hi").finish(),
    lambda chat: chat.delete(),
]


@pytest.mark.parametrize("story", STORIES)
def test_odd_trees(script: OpenAssistantScript, client: Client, story: str) -> None:
    """Whatever a server says of its messages, each method ends, with a result or one of our errors."""
    # In ASCII, which half of a pair needs.
    told = response(body=json.dumps(chat_json("c1", messages=STORIES[story])).encode(), headers={"connection": "close"})
    chat = client.create_chat()
    script.on_chat = reply(told)
    for use in USES:
        with suppress(OAError):
            use(chat)

    assert [] == script.errors


@pytest.mark.parametrize(
    "value",
    [None, 5, "x", [], {}, {"id": 5, "messages": []}, {"messages": []}, {"id": "c1", "title": 5, "messages": []}],
)
def test_chats_that_are_none(script: OpenAssistantScript, client: Client, value: Any) -> None:
    """What is no chat is a ProtocolError, for each way of looking at it."""
    chat = client.create_chat()
    script.on_chat = lambda connection, _: script.send_json(connection, value)
    for use in (chat.info, chat.messages, chat.export, chat.delete, lambda: client.open_chat("c1")):
        with pytest.raises(ProtocolError):
            use()


@pytest.mark.parametrize("tail", ["nope", "", "m9", "../..", "x" * 5000])
def test_tail_that_is_no_message(script: OpenAssistantScript, client: Client, tail: str) -> None:
    """What another client stored for the branch in use, and is no message, counts for nothing."""
    chat = client.create_chat()
    chat.ask("One")
    script.chats["c1"].changes["active_thread_tail_message_id"] = tail
    opened = client.open_chat("c1")
    opened.ask("Two")

    assert "m1" == parents(script)["p2"]


@pytest.mark.parametrize(
    "state", [5, None, ["complete"], {"state": "complete"}], ids=["number", "null", "list", "object"]
)
def test_message_that_is_none(script: OpenAssistantScript, client: Client, state: Any) -> None:
    """While an answer is waited for, what is no message is a ProtocolError, and the next turn can be had."""
    good, script.events = script.events, lambda stream: stream.connection.wait_until_left()
    chat = client.create_chat()
    chat.stream("One").close()
    script.change_message("m1", state=state)
    script.events = good
    with pytest.raises(ProtocolError):
        chat.ask("Two")
    script.change_message("m1", state="complete", content="Hello")
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


def test_ids_that_come_again(script: OpenAssistantScript, client: Client) -> None:
    """A server that gives out one id again and again gets turns that end."""
    script.assistant_ids = itertools.repeat("m1")
    script.prompter_ids = itertools.repeat("p1")
    chat = client.create_chat()

    assert ["Hello world"] * 3 == [str(chat.ask(text)) for text in ("One", "Two", "Three")]


@pytest.mark.parametrize("made", ["../../x", "a\nb", "", "x" * 300, "..", "x?y#z"])
@pytest.mark.parametrize("route", ["create", "prompter", "assistant"])
def test_ids_that_cannot_be(script: OpenAssistantScript, made: str, route: str) -> None:
    """An id that would lead elsewhere is encoded or refused: no request leaves the chat's own paths."""
    setattr(script, {"create": "chat_ids"}.get(route, f"{route}_ids"), itertools.repeat(made))
    limits = Timeout(first_token=0.5, idle=0.2)
    client = Client(script.url, **script.credentials, max_retries=0, timeout=limits)
    with suppress(OAError):
        client.create_chat().ask("Hi")
    client.close(timeout=0)

    parts = [request.path.split("/") for request in script.requests]
    assert {"chats"} == {
        path[1] if script.surface == "inference" else path[2].replace("chat", "chats") for path in parts
    }
    assert not any(".." in path for path in parts)
    # The script does not decode ids, and may not know them again.
    script.errors.clear()


@pytest.mark.full
def test_ten_thousand_messages(script: OpenAssistantScript, client: Client) -> None:
    """A chat of ten thousand messages, one below the other, can be looked at, and gone on with."""
    messages = {}
    for number in range(5000):
        parent = f"m{number - 1}x" if number else None
        messages[f"p{number}x"] = prompt(f"p{number}x", parent)
        messages[f"m{number}x"] = answer(f"m{number}x", f"p{number}x")
    client.create_chat()
    script.chats["c1"].messages.update(messages)
    chat = client.open_chat("c1")
    thread = chat.thread()
    chat.ask("Hi")

    assert 10_000 == len(thread)
    assert "m4999x" == parents(script)["p1"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no", id="words"),
        pytest.param(f"you are {SECRET}".encode(), id="text"),
        pytest.param(json.dumps({"detail": f"you are {SECRET}", "message": SECRET}).encode(), id="JSON"),
        pytest.param(json.dumps({"detail": [{"loc": ["token"], "msg": SECRET, "type": SECRET}]}).encode(), id="list"),
        pytest.param(b'{"detail": "\\u0073%b"}' % SECRET[1:].encode(), id="escaped"),
    ],
)
def test_secrets_are_not_shown(surface: Surface, status: int, body: bytes) -> None:
    """A server that repeats the credentials in its errors does not get them into ours."""
    credentials: dict[str, Any] = {"token": SECRET}
    if surface == "website":
        credentials = {"cookies": {"next-auth.session-token": SECRET}}
    with OpenAssistantScript(surface) as script, Client(script.url, **credentials, max_retries=0) as client:
        chat = client.create_chat()
        chat.ask("One")
        close = {"connection": "close"}
        script.on_update = script.on_prompter = reply(
            response(status, body, close | {"set-cookie": f"a={SECRET}", "x-user": SECRET})
        )
        shown: list[str] = [repr(client), repr(chat)]
        for use in (lambda: chat.rename("x"), lambda: chat.ask("x"), lambda: chat.select("m1")):
            with pytest.raises(OAError) as caught:
                use()
            error: BaseException | None = caught.value
            while error is not None:
                shown += [str(error), repr(error), repr(vars(error))]
                request, answered = getattr(error, "request", None), getattr(error, "response", None)
                shown += [repr(item.headers) for item in (request, answered) if item is not None]
                shown += [answered.text] if answered is not None else []
                error = error.__cause__ or error.__context__

    assert [] == [text for text in shown if SECRET in text]
