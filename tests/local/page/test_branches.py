"""Drafts and branches of a chat on the chat page."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User


def active_message(visitor: Visitor, caller: User) -> str | None:
    """The content of the message where the thread ends that the server was told of."""
    chat = caller.chat(visitor.page.url.partition("#")[2]).json()
    found = [one["content"] for one in chat["messages"] if one["id"] == chat["active_thread_tail_message_id"]]
    return found[0] if found else None


def test_drafts(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """A second answer to a question stands beside the first; one is shown, and the server is told which."""
    play = puppet.play("Why?")
    play.finish("first")
    visitor.ask("Why?")
    expect(visitor.text).to_have_text("first")
    play.finish("second")
    visitor.button("Regenerate").click()
    expect(visitor.text).to_have_text("second")
    expect(visitor.answer).to_contain_text("2 of 2")
    with visitor.page.expect_response(lambda response: response.request.method == "PUT"):
        visitor.button("Previous answer").press("Enter")
    expect(visitor.text).to_have_text("first")
    expect(visitor.button("Previous answer")).to_be_focused()
    expect(visitor.button("Previous answer")).to_have_attribute("aria-disabled", "true")

    assert active_message(visitor, caller) == "first"

    visitor.page.reload()
    expect(visitor.text).to_have_text("first")
    expect(visitor.answer).to_contain_text("1 of 2")


def test_a_branch(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """A later question asked in other words makes a branch; both can be gone back to, with what follows them."""
    for prompt in ("One", "Two", "Three", "Zwei"):
        puppet.play(prompt).finish(f"to {prompt}")
    for prompt in ("One", "Two", "Three"):
        visitor.ask(prompt)
        expect(visitor.text).to_have_text(f"to {prompt}")
    second = visitor.page.get_by_role("article", name="You").nth(1)
    visitor.button("Edit", second).click()
    field = visitor.page.get_by_role("textbox", name="Your question, said otherwise")
    expect(field).to_be_focused()
    expect(field).to_have_value("Two")
    field.fill("Zwei")
    field.press("Enter")
    expect(visitor.text).to_have_text("to Zwei")
    expect(visitor.thread).to_have_count(4)
    expect(second).to_contain_text("2 of 2")

    assert [message["content"] for message in puppet.play("Zwei").messages] == ["One", "to One", "Zwei"]

    with visitor.page.expect_response(lambda response: response.request.method == "PUT"):
        visitor.button("Previous question").click()
    expect(visitor.thread).to_have_count(6)
    expect(visitor.text).to_have_text("to Three")
    assert active_message(visitor, caller) == "to Three"


def test_the_first_question_cannot_be_edited(visitor: Visitor, puppet: Puppet) -> None:
    """The server takes no second one."""
    puppet.play("One").finish("1")
    visitor.ask("One")
    expect(visitor.text).to_have_text("1")

    expect(visitor.button("Edit")).to_have_count(0)


def test_an_edit_is_left(visitor: Visitor, puppet: Puppet) -> None:
    """Escape leaves everything as it was, the focus at the button included."""
    for prompt in ("One", "Two"):
        puppet.play(prompt).finish(prompt)
        visitor.ask(prompt)
        expect(visitor.text).to_have_text(prompt)
    visitor.button("Edit").click()
    visitor.page.keyboard.type("something")
    visitor.page.keyboard.press("Escape")

    expect(visitor.button("Edit")).to_be_focused()
    expect(visitor.thread).to_have_count(4)


def test_drafts_while_one_is_still_written(visitor: Visitor, puppet: Puppet) -> None:
    """Paging away from an answer does not stop it, and paging back shows how far it has come."""
    play = puppet.play("Why?")
    play.finish("first")
    visitor.ask("Why?")
    expect(visitor.text).to_have_text("first")
    visitor.button("Regenerate").click()
    play.say("sec")
    expect(visitor.text).to_have_text("sec")
    visitor.button("Previous answer").click()
    expect(visitor.text).to_have_text("first")
    play.say("on")
    visitor.button("Next answer").click()
    expect(visitor.text).to_have_text("secon")
    play.finish("d")

    expect(visitor.text).to_have_text("second")
    assert len(visitor.streams) == 2
