"""What was typed on the chat page and not sent yet: it is lost to nothing, and shows up nowhere else."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.local.page.test_chats import make
from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User


def test_each_chat_has_a_draft(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """A new one too; it is there on coming back and after a reload, until it is sent."""
    make(caller, puppet, "One", "Two")
    visitor.page.reload()
    drafts = {"One": "to <b>one</b>\n", "Two": "to two"}
    visitor.question.fill("to nobody")
    for title, text in drafts.items():
        visitor.chats.filter(has_text=title).click()
        expect(visitor.text).to_have_text(f"to {title}")
        expect(visitor.question).to_have_value("")
        visitor.question.fill(text)
    visitor.page.go_back()
    expect(visitor.question).to_have_value(drafts["One"])
    visitor.page.reload()
    expect(visitor.question).to_have_value(drafts["One"])
    visitor.button("New chat").click()
    expect(visitor.question).to_have_value("to nobody")
    visitor.chats.filter(has_text="Two").click()
    expect(visitor.question).to_have_value(drafts["Two"])
    puppet.play("to two").finish("so")
    visitor.question.press("Enter")
    expect(visitor.text).to_have_text("so")
    visitor.page.reload()

    expect(visitor.text).to_have_text("so")
    expect(visitor.question).to_have_value("")


def test_a_first_question_that_is_not_taken_belongs_to_its_chat(visitor: Visitor) -> None:
    """The chat is made, but the question is refused: the draft is there, and not in the next new chat."""
    with visitor.refused("chat/prompter_message", 503):
        visitor.ask("Why?")
        expect(visitor.fault).to_contain_text("The server is busy")
    visitor.page.reload()
    expect(visitor.chats).to_have_count(1)
    expect(visitor.question).to_have_value("Why?")
    visitor.button("New chat").click()

    expect(visitor.question).to_have_value("")


def test_what_is_typed_while_a_question_is_on_its_way(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """It stays, in another chat too; the question that was sent is a draft no more."""
    make(caller, puppet, "One", "Two")
    visitor.page.reload()
    visitor.chats.filter(has_text="One").click()
    expect(visitor.text).to_have_text("to One")
    held: list[Route] = []
    with visitor.routed("chat/prompter_message", lambda route: held.append(route)):
        with visitor.page.expect_request("**/prompter_message"):
            visitor.ask("And?")
        visitor.chats.filter(has_text="Two").click()
        expect(visitor.text).to_have_text("to Two")
        visitor.question.fill("later")
        with visitor.page.expect_response("**/prompter_message"):
            held[0].continue_()
    expect(visitor.question).to_have_value("later")
    visitor.chats.filter(has_text="One").click()

    expect(visitor.button("Get an answer")).to_be_visible()
    expect(visitor.question).to_have_value("")


def test_a_question_that_is_being_edited(visitor: Visitor, puppet: Puppet) -> None:
    """What was typed is there after another chat and a reload, and gone once it is cancelled."""
    for prompt in ("One", "Two"):
        puppet.play(prompt).finish(f"to {prompt}")
        visitor.ask(prompt)
        expect(visitor.text).to_have_text(f"to {prompt}")
    field = visitor.page.get_by_role("textbox", name="Your question, said otherwise")
    visitor.button("Edit").click()
    field.fill("Zwei")
    visitor.button("New chat").click()
    visitor.chats.first.click()
    visitor.button("Edit").click()
    expect(field).to_have_value("Zwei")
    visitor.page.reload()
    visitor.button("Edit").click()
    expect(field).to_have_value("Zwei")
    visitor.button("Cancel").click()
    visitor.button("Edit").click()

    expect(field).to_have_value("Two")
