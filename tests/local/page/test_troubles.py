"""What the chat page does when something goes wrong: it says so in words, and loses nothing."""

from __future__ import annotations

import json
import threading

import pytest
from playwright.sync_api import Route, expect

from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User

DOUBT = 10_000  # milliseconds without a word, after which the page asks for the message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        pytest.param(503, '{"message":"The server is currently busy."}', "The server is busy", id="full queue"),
        pytest.param(500, '{"message":"Something went wrong"}', "too much in a short time", id="rate limit"),
        pytest.param(422, '{"message":"Model x not found"}', "refused: Model x not found.", id="words"),
        pytest.param(
            422,
            '{"message":[{"loc":["body","top_k"],"msg":"no","type":"t"}]}',
            "The server refused: top_k: no.",
            id="fields",
        ),
        pytest.param(413, '{"message":"Maximum number of messages"}', "too long: Maximum", id="long chat"),
        pytest.param(502, "<html>Bad gateway</html>", "refused: <html>Bad gateway</html>.", id="not ours"),
    ],
)
def test_an_answer_is_refused(visitor: Visitor, puppet: Puppet, status: int, body: str, words: str) -> None:
    """The page says why; the question stands, and is answered by another try, without being asked again."""
    puppet.play("Why?").finish("so")
    with visitor.refused("chat/assistant_message", status, body):
        visitor.ask("Why?")
        expect(visitor.fault).to_contain_text(words)
        expect(visitor.page.locator("#hint")).to_contain_text("This question has no answer yet")
    visitor.button("Get an answer").click()

    expect(visitor.text).to_have_text("so")
    expect(visitor.thread).to_have_count(2)
    expect(visitor.fault).to_be_empty()


def test_a_stub_that_a_full_queue_leaves_is_not_shown(visitor: Visitor, puppet: Puppet) -> None:
    """The server keeps the answer that it did not take, pending for ever."""
    first = puppet.play("Why?")
    first.finish("so")

    def refuse(route: Route) -> None:
        route.fetch()
        route.fulfill(status=503, json={"message": "busy"})

    visitor.expect_failures("status of 503")
    with visitor.routed("chat/assistant_message", refuse):
        visitor.ask("Why?")
        expect(visitor.fault).to_contain_text("The server is busy")
    first.finish("so it is")
    visitor.button("Get an answer").click()

    expect(visitor.text).to_have_text("so it is")
    expect(visitor.page.get_by_role("group", name="Versions of this answer")).to_have_count(0)


@pytest.mark.parametrize("path", ["chat/prompter_message", "chat/assistant_message"])
def test_a_call_whose_answer_is_lost_is_not_made_twice(
    visitor: Visitor, puppet: Puppet, caller: User, path: str
) -> None:
    """The server did what it was asked, but the page did not hear of it: it looks before it asks again."""

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    puppet.play("Why?").finish("so")
    visitor.expect_failures("net::ERR_CONNECTION_RESET")
    with visitor.routed(path, lose):
        visitor.ask("Why?")
        expect(visitor.text).to_have_text("so")

    expect(visitor.fault).to_be_empty()
    assert len(caller.chat(visitor.page.url.partition("#")[2]).json()["messages"]) == 2


@pytest.mark.parametrize("path", ["chat", "chat/prompter_message", "chat/assistant_message"])
def test_the_server_is_away(visitor: Visitor, puppet: Puppet, path: str) -> None:
    """The page says so; what was typed is still there, or the question stands."""
    puppet.play("Why?").finish("so")
    visitor.expect_failures("net::ERR_CONNECTION_REFUSED")
    with visitor.routed(path, lambda route: route.abort("connectionrefused")):
        visitor.ask("Why?")
        expect(visitor.fault).to_contain_text("The server cannot be reached.")
    if path == "chat/assistant_message":
        visitor.button("Get an answer").click()
    else:
        expect(visitor.question).to_have_value("Why?")
        visitor.question.press("Enter")

    expect(visitor.text).to_have_text("so")


def test_the_model_fails(visitor: Visitor, puppet: Puppet) -> None:
    """The server's words are shown while the page has them; trying again makes another draft."""
    play = puppet.play("Why?")
    play.say("Be", RuntimeError("out of <memory>"))
    visitor.ask("Why?")
    expect(visitor.answer).to_contain_text("The model failed: out of <memory>.")
    expect(visitor.text).to_have_text("Be")
    expect(visitor.status).to_have_text("The model failed: out of <memory>.")
    visitor.page.reload()
    expect(visitor.answer).to_contain_text("The answer was broken off. The server keeps no reason.")
    play.finish("so")
    visitor.button("Try again").click()

    expect(visitor.text).to_have_text("so")
    expect(visitor.answer).to_contain_text("2 of 2")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param("", id="nothing"),
        pytest.param('data: {"event_type": "token", "text": "Be"}\r\n\r\n', id="the middle"),
        pytest.param('data: {"event_type": "tok', id="the middle of an event"),
        pytest.param(
            ': ping\r\n\r\nevent: ping\r\ndata: 2026-11-22\r\n\r\ndata: {"event_type": "x"}\n\n', id="odd ones"
        ),
    ],
)
def test_events_that_end_too_early(visitor: Visitor, puppet: Puppet, events: str) -> None:
    """The page asks for the message until it is there, and never opens the events again."""
    play = puppet.play("Why?")
    with visitor.routed("chat/events", lambda route: route.fulfill(body=events)):
        visitor.ask("Why?")
        play.started.wait()
        play.finish("Because")
        expect(visitor.text).to_have_text("Because")

    assert len(visitor.streams) == 1


@pytest.mark.parametrize("status", [None, 500])
def test_events_that_cannot_be_had(visitor: Visitor, puppet: Puppet, status: int | None) -> None:
    """A lost connection, or the bare 500 that is the website's for everything: the message is asked for."""

    def refuse(route: Route) -> None:
        if status is None:
            route.abort("connectionreset")
        else:
            route.fulfill(status=status, body="Internal Server Error")

    play = puppet.play("Why?")
    visitor.expect_failures("net::ERR_CONNECTION_RESET", "status of 500")
    with visitor.routed("chat/events", refuse):
        visitor.ask("Why?")
        expect(visitor.answer).to_contain_text("The connection was lost.")
        play.finish("Because")
        expect(visitor.text).to_have_text("Because")

    assert len(visitor.streams) == 1


def test_the_server_dies(visitor: Visitor, puppet: Puppet) -> None:
    """The text that was read stays, with the notice below it, also after another look and another chat."""
    play = puppet.play("Why?")
    visitor.expect_failures("net::ERR_")
    visitor.page.clock.install()
    visitor.ask("Why?")
    play.say("**Be**")
    expect(visitor.text).to_have_text("Be")
    visitor.page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    closing = threading.Thread(target=visitor.server.close)
    closing.start()
    expect(visitor.answer).to_contain_text("The connection was lost.")
    play.finish()
    closing.join()
    for _ in range(2):
        for _ in range(4):
            visitor.page.clock.run_for(5000)
        expect(visitor.fault).to_contain_text("The server cannot be reached.")
        expect(visitor.text.locator("strong")).to_have_text("Be")
        expect(visitor.answer).to_contain_text("This answer is not finished.")
        visitor.button("Look again").click()


def test_looking_is_given_up_and_begun_again(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """Where the message cannot be had for a while, the page says so, and has a button."""
    visitor.page.clock.install()
    visitor.expect_failures("status of 500")
    play = puppet.play("Why?")
    chat_id, _ = caller.ask("Why?")
    with visitor.refused("chat/message", 500, "Internal Server Error"):
        visitor.page.evaluate("(id) => (location.hash = id)", chat_id)
        expect(visitor.answer).to_contain_text("The answer is being written.")
        for _ in range(4):
            with visitor.page.expect_response("**/api/chat/message?*"):
                visitor.page.clock.run_for(5000)
        expect(visitor.fault).to_contain_text("The server failed without a reason.")
    play.finish("Because")
    visitor.button("Look again").click()

    expect(visitor.text).to_have_text("Because")
    expect(visitor.fault).to_be_empty()


def test_asking_before_the_models_are_known(visitor: Visitor, puppet: Puppet) -> None:
    """They are asked for again when they are needed."""
    puppet.play("Why?").finish("Because")
    with visitor.refused("chat/models", 500, "Internal Server Error"):
        visitor.page.reload()
        expect(visitor.fault).to_contain_text("The server failed without a reason.")
    visitor.ask("Why?")

    expect(visitor.text).to_have_text("Because")
    expect(visitor.page.locator("#choice")).to_contain_text("puppet")


def test_a_cancelled_answer(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """Its stream says "pending" for ever: the page asks, and says what has happened."""
    visitor.page.clock.install()
    visitor.page.reload()
    expect(visitor.page.locator("#choice")).to_contain_text("puppet")
    first = puppet.play("first")
    caller.ask("first")
    first.started.wait()
    visitor.ask("second")
    expect(visitor.answer).to_contain_text("In the queue")
    caller.ask("third")
    visitor.page.clock.run_for(2 * DOUBT)

    expect(visitor.answer).to_contain_text("This answer was cancelled.")
    expect(visitor.button("Try again")).to_be_visible()
    assert len(visitor.streams) == 1


def test_an_answer_that_waited_too_long(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """The page says so, and lets it be tried again."""
    puppet.play("Why?").finish("so")
    chat_id, message_id = caller.ask("Why?")
    chat = caller.chat(chat_id).json()
    for message in chat["messages"]:
        if message["id"] == message_id:
            message.update(state="timeout", content=None)
    with visitor.routed("chat", lambda route: route.fulfill(body=json.dumps(chat))):
        visitor.page.evaluate("(id) => (location.hash = id)", chat_id)
        expect(visitor.answer).to_contain_text("This answer waited too long in the queue.")

    expect(visitor.button("Try again")).to_be_visible()


def test_asking_does_not_cancel_an_answer_that_waits(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """The server would do that silently, so the page does not ask, and says why."""
    first = puppet.play("first")
    caller.ask("first")
    first.started.wait()
    puppet.play("second").finish("to second")
    puppet.play("third").finish("to third")
    visitor.ask("second")
    expect(visitor.answer).to_contain_text("In the queue")
    visitor.button("New chat").click()
    visitor.ask("third")
    expect(visitor.fault).to_contain_text("Another answer of yours still waits in the queue")
    first.finish("to first")
    visitor.chats.filter(has_text="second").click()
    expect(visitor.text).to_have_text("to second")
    visitor.button("New chat").click()
    visitor.ask("third")

    expect(visitor.text).to_have_text("to third")


def test_a_session_that_is_over(visitor: Visitor) -> None:
    """The page says how to sign in again."""
    visitor.expect_failures("status of 403")
    visitor.page.context.clear_cookies()
    visitor.ask("Why?")

    expect(visitor.fault).to_contain_text("You are not signed in any more. Press Enter where the server runs")


def test_a_chat_that_is_not_there(visitor: Visitor) -> None:
    """Deleted elsewhere, say: the page says so and can go on with a new one."""
    visitor.expect_failures("status of 404")
    visitor.page.goto(f"{visitor.page.url}#nothing")
    expect(visitor.fault).to_contain_text("This chat is not there.")
    visitor.button("New chat").click()

    expect(visitor.fault).to_be_empty()


def test_a_question_that_is_too_large(visitor: Visitor) -> None:
    """The page does not send what the website would stumble over."""
    visitor.ask("é" * 600_000)

    expect(visitor.fault).to_contain_text("This is too long")
    expect(visitor.chats).to_have_count(0)


def test_the_list_cannot_be_had(visitor: Visitor) -> None:
    """That is said where the list stands; the rest works."""
    with visitor.refused("chat", 500, "Internal Server Error"):
        visitor.page.reload()
        expect(visitor.page.get_by_role("navigation")).to_contain_text("The server failed without a reason.")

    expect(visitor.page.locator("#choice")).to_contain_text("puppet")
