"""Asking at the chat page, and watching the answer being written."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User


def test_an_answer_is_watched(visitor: Visitor, puppet: Puppet) -> None:
    """Token by token; a screen reader is told when it is done, and not before; its events are read once."""
    play = puppet.play("Why?")
    visitor.ask("Why?")
    play.say("Be")
    expect(visitor.text).to_have_text("Be")
    play.say("cause", " **it**")
    expect(visitor.text).to_have_text("Because it")

    assert "Because" not in (visitor.status.text_content() or "")
    expect(visitor.button("Send")).to_be_hidden()

    play.finish(" is.")
    expect(visitor.text).to_have_text("Because it is.")
    expect(visitor.text.locator("strong")).to_have_text("it")
    expect(visitor.status).to_have_text("The answer is complete. Because it is.")
    expect(visitor.thread).to_have_text(["YouWhy?", "AssistantBecause it is.GoodBadCopyRegenerate"])
    expect(visitor.question).to_be_focused()
    expect(visitor.question).to_have_value("")
    assert len(visitor.streams) == 1


def test_a_conversation(visitor: Visitor, puppet: Puppet) -> None:
    """The next question follows the answer, in the same chat, which has the first one as its title."""
    puppet.play("One").finish("1")
    puppet.play("Two").finish("2")
    visitor.ask("One")
    expect(visitor.text).to_have_text("1")
    visitor.ask("Two")
    expect(visitor.text).to_have_text("2")

    asked = [message["content"] for message in puppet.play("Two").messages]
    assert asked == ["One", "1", "Two"]
    expect(visitor.chats).to_have_text(["One"])
    expect(visitor.page.get_by_role("heading", level=2)).to_have_text("One")


def test_the_queue(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """While the model is busy, the place in the queue is shown and said."""
    first = puppet.play("first")
    caller.ask("first")
    first.started.wait()
    visitor.ask("second")
    expect(visitor.answer).to_contain_text("In the queue: position 1 of 1.")
    expect(visitor.status).to_have_text("In the queue: position 1 of 1.")
    puppet.play("second").finish("at last")
    first.finish()

    expect(visitor.text).to_have_text("at last")


@pytest.mark.parametrize("how", ["Escape", "the button"])
def test_stop(visitor: Visitor, puppet: Puppet, how: str) -> None:
    """It stops the model; the text so far stays, and the chat goes on from it at once."""
    play = puppet.play("Why?")
    visitor.ask("Why?")
    play.say("Be")
    expect(visitor.text).to_have_text("Be")
    if how == "Escape":
        visitor.page.keyboard.press("Escape")
    else:
        visitor.button("Stop Esc").click()
    expect(visitor.answer).to_contain_text("You stopped this answer.")
    expect(visitor.status).to_have_text("The answer is stopped. Be")
    expect(visitor.question).to_be_focused()
    assert play.cancelled is not None
    assert play.cancelled.is_set()
    play.finish("cause")
    following = puppet.play("And?")
    following.finish("so")
    visitor.ask("And?")
    expect(visitor.text).to_have_text("so")
    visitor.page.reload()

    expect(visitor.thread).to_have_text([re.compile(part) for part in ("Why", "^AssistantBeGood", "And", "so")])
    assert [message["content"] for message in following.messages] == ["Why?", "Be", "And?"]
    assert len(visitor.streams) == 2


def test_stop_in_the_queue(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """The model is never asked; the answer is empty, and can be had by another try."""
    first = puppet.play("first")
    caller.ask("first")
    first.started.wait()
    visitor.ask("second")
    expect(visitor.answer).to_contain_text("In the queue")
    visitor.page.keyboard.press("Escape")
    expect(visitor.answer).to_contain_text("You stopped this answer.")
    assert not puppet.play("second").started.is_set()
    puppet.play("second").finish("so")
    visitor.button("Regenerate").click()
    first.finish()

    expect(visitor.text).to_have_text("so")


def test_stopping_what_is_written_for_somebody_else(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """An answer that the page found under way: what was written before it came is there too."""
    play = puppet.play("Why?")
    chat_id, _ = caller.ask("Why?")
    play.say_and_wait("Be")
    visitor.page.goto(f"{visitor.page.url}#{chat_id}")
    expect(visitor.answer).to_contain_text("The answer is being written.")
    visitor.button("Stop Esc").click()

    expect(visitor.text).to_have_text("Be")
    expect(visitor.button("Send")).not_to_have_attribute("aria-disabled", "true")


def test_stop_does_not_reach_the_server(visitor: Visitor, puppet: Puppet) -> None:
    """The page says so, and goes on to show the answer."""
    play = puppet.play("Why?")
    visitor.expect_failures("net::ERR_CONNECTION_REFUSED")
    visitor.page.route("**/chat/stop?*", lambda route: route.abort("connectionrefused"))
    visitor.ask("Why?")
    play.say("Be")
    expect(visitor.text).to_have_text("Be")
    visitor.page.keyboard.press("Escape")
    expect(visitor.fault).to_contain_text("The server cannot be reached.")
    play.finish("cause")

    expect(visitor.text).to_have_text("Because")


def test_enter_and_shift(visitor: Visitor, puppet: Puppet) -> None:
    """Shift and Enter start a line; the prompt stands as it was typed, and is no Markdown."""
    puppet.play("*a*\n<b>").finish("ok")
    visitor.question.press_sequentially("*a*")
    visitor.question.press("Shift+Enter")
    visitor.question.press_sequentially("<b>")
    visitor.question.press("Enter")

    expect(visitor.text).to_have_text("ok")
    assert visitor.thread.first.locator("p").text_content() == "*a*\n<b>"


def test_nothing_is_no_question(visitor: Visitor) -> None:
    """White space alone makes no chat."""
    visitor.ask(" \n ")

    expect(visitor.chats).to_have_count(0)
    expect(visitor.thread).to_have_count(0)


def test_the_settings_are_sent(visitor: Visitor, puppet: Puppet) -> None:
    """Model, the values of the preset, the instructions; they are shown, and kept over a reload."""
    with visitor.settings() as dialog:
        expect(dialog.get_by_label("Model")).to_have_value("puppet")
        dialog.get_by_label("Model").select_option("OA_SFT_Llama_30B_6")
        expect(dialog).to_contain_text("Not that model")
        dialog.get_by_label("Preset").select_option("k50-Precise")
        expect(dialog.locator("dl div")).to_have_text(
            ["top_k50", "top_p0.95", "temperature0.1", "repetition_penalty1.2", "max_new_tokens1024"]
        )
        dialog.get_by_label("System prompt").fill("Be brief.")
        dialog.get_by_label("About you").fill("a sailor")
        dialog.get_by_label("How to answer").fill("in rhyme")
    visitor.page.reload()
    expect(visitor.page.locator("#choice")).to_have_text("OA_SFT_Llama_30B_6 · k50-Precise · with a system prompt")
    play = puppet.play("Why?")
    play.finish("so")
    visitor.ask("Why?")
    expect(visitor.text).to_have_text("so")

    assert play.messages[0]["content"] == "Be brief.\nAbout the user: a sailor\nHow to answer: in rhyme"
    assert {name: value for name, value in play.sampling.items() if value is not None} == {
        "top_k": 50,
        "top_p": 0.95,
        "temperature": 0.1,
        "repetition_penalty": 1.2,
        "max_new_tokens": 1024,
    }


def test_settings_that_are_cancelled_stay(visitor: Visitor) -> None:
    """Escape leaves the dialog without a change, and the focus goes back to its button."""
    visitor.button("Settings").click()
    visitor.page.get_by_label("Preset").select_option("k50")
    visitor.page.keyboard.press("Escape")

    expect(visitor.page.locator("#choice")).to_have_text("puppet · no preset")
    expect(visitor.button("Settings")).to_be_focused()


def test_a_plugin(visitor: Visitor, puppet: Puppet) -> None:
    """Its steps are shown while it works, and what it was used for stays with the answer."""
    with visitor.settings() as dialog:
        dialog.get_by_label("Plugin").select_option("Calculator")
        expect(dialog).to_contain_text("Works out the arithmetic")
    play = puppet.play("It is known that 6*7 = 42.\n\nWhat is 6*7?")
    visitor.ask("What is 6*7?")
    play.say("It")
    expect(visitor.answer.get_by_role("listitem")).to_have_text(["thinking...", "I should calculate 6*7: 42"])
    play.finish(" is 42.")
    expect(visitor.text).to_have_text("It is 42.")
    visitor.page.get_by_text("Used the plugin Calculator").click()

    expect(visitor.answer).to_contain_text("It said: 42")


def test_a_plugin_that_was_not_needed(visitor: Visitor, puppet: Puppet) -> None:
    """The answer says so."""
    with visitor.settings() as dialog:
        dialog.get_by_label("Plugin").select_option("Calculator")
    puppet.play("Hello").finish("Hi")
    visitor.ask("Hello")

    expect(visitor.text).to_have_text("Hi")
    expect(visitor.answer).to_contain_text("The plugin Calculator was on, and not needed.")


def test_the_answer_is_copied(visitor: Visitor, puppet: Puppet) -> None:
    """As it was written, with its marks."""
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    puppet.play("Why?").finish("**so**")
    visitor.ask("Why?")
    visitor.button("Copy").click()

    expect(visitor.status).to_have_text("Copied.")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == "**so**"


def test_a_vote(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """It is kept by the server, and taken back by the same button."""
    puppet.play("Why?").finish("so")
    visitor.ask("Why?")
    good, bad = visitor.button("Good answer"), visitor.button("Bad answer")
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")
    expect(bad).to_be_focused()
    chat_id = visitor.page.url.partition("#")[2]
    scores = [message["score"] for message in caller.chat(chat_id).json()["messages"]]
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "false")

    assert scores == [0, -1]
    assert [message["score"] for message in caller.chat(chat_id).json()["messages"]] == [0, 0]
