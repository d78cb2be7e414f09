"""Past chats on the chat page: the list, and what is done to a whole chat."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User


def make(caller: User, puppet: Puppet, *prompts: str) -> list[str]:
    """Make a chat for each prompt, with an answer; return their ids."""
    ids = []
    for prompt in prompts:
        puppet.play(prompt).finish(f"to {prompt}")
        chat_id, message_id = caller.ask(prompt)
        caller.wait_for(chat_id, message_id, "complete")
        ids.append(chat_id)
    return ids


def test_the_list_has_pages(visitor: Visitor, caller: User) -> None:
    """Twenty at a time, the newest first; the focus goes on to what came."""
    for number in range(25):
        caller.update(caller.create(), title=f"Chat {number}")
    visitor.page.reload()
    expect(visitor.chats).to_have_text([f"Chat {number}" for number in range(24, 4, -1)])
    visitor.button("Older chats").click()
    expect(visitor.chats).to_have_text([f"Chat {number}" for number in range(24, -1, -1)])

    expect(visitor.button("Older chats")).to_be_hidden()
    expect(visitor.chats.last).to_be_focused()


def test_a_chat_is_opened(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """From the list, by going back, and by its address; the heading has the focus, to read on from."""
    make(caller, puppet, "One", "Two")
    visitor.page.reload()
    visitor.chats.filter(has_text="One").click()
    heading = visitor.page.get_by_role("heading", level=2)
    expect(heading).to_have_text("One")
    expect(heading).to_be_focused()
    expect(visitor.text).to_have_text("to One")
    expect(visitor.chats.filter(has_text="One")).to_have_attribute("aria-current", "page")
    visitor.chats.filter(has_text="Two").click()
    expect(visitor.text).to_have_text("to Two")
    visitor.page.go_back()
    expect(visitor.text).to_have_text("to One")
    visitor.page.reload()
    expect(visitor.text).to_have_text("to One")
    visitor.button("New chat").click()
    expect(visitor.thread).to_have_count(0)
    expect(visitor.question).to_be_focused()
    visitor.page.go_back()

    expect(visitor.text).to_have_text("to One")
    assert visitor.streams == []


def test_a_chat_is_renamed(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """At the server, in the list and above the thread."""
    (chat_id,) = make(caller, puppet, "One")
    visitor.page.goto(f"{visitor.page.url}#{chat_id}")
    visitor.button("Rename").click()
    field = visitor.page.get_by_role("textbox", name="Title, at most 100 characters")
    expect(field).to_have_value("One")
    field.fill("Another <b>title</b>")
    field.press("Enter")

    expect(visitor.page.get_by_role("heading", level=2)).to_have_text("Another <b>title</b>")
    expect(visitor.chats).to_have_text(["Another <b>title</b>"])
    expect(visitor.button("Rename")).to_be_focused()
    assert caller.chat(chat_id).json()["title"] == "Another <b>title</b>"


def test_a_chat_is_hidden_and_shown(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """It leaves the list unless hidden ones are shown, and comes back."""
    (chat_id,) = make(caller, puppet, "One")
    visitor.page.goto(f"{visitor.page.url}#{chat_id}")
    visitor.button("Hide from the list").click()
    expect(visitor.chats).to_have_count(0)
    assert caller.chat(chat_id).json()["hidden"]
    visitor.page.get_by_role("checkbox", name="Show hidden chats").check()
    expect(visitor.chats).to_have_text(["One (hidden)"])
    visitor.button("Show in the list").click()

    expect(visitor.chats).to_have_text(["One"])
    assert not caller.chat(chat_id).json()["hidden"]


def test_a_chat_is_deleted(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """After a question; a new one stands in its place."""
    one, two = make(caller, puppet, "One", "Two")
    visitor.page.reload()
    visitor.chats.filter(has_text="One").click()
    visitor.button("Delete").click()
    dialog = visitor.page.get_by_role("dialog", name="Delete this chat?")
    visitor.button("Cancel", dialog).click()
    expect(visitor.text).to_have_text("to One")
    expect(visitor.button("Delete")).to_be_focused()
    visitor.button("Delete").click()
    visitor.button("Delete", dialog).click()

    expect(visitor.chats).to_have_text(["Two"])
    expect(visitor.thread).to_have_count(0)
    expect(visitor.question).to_be_focused()
    expect(visitor.status).to_have_text("The chat is deleted.")
    assert [caller.chat(chat_id).status_code for chat_id in (one, two)] == [404, 200]


def test_a_chat_with_an_answer_under_way_is_not_deleted(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """That would break off other people's answers too: it can be hidden, and the page says why."""
    play = puppet.play("Why?")
    visitor.ask("Why?")
    play.say("Be")
    expect(visitor.text).to_have_text("Be")
    visitor.button("Delete").click()
    dialog = visitor.page.get_by_role("dialog", name="This chat cannot be deleted yet")
    expect(dialog).to_contain_text("An answer in it is not finished.")
    visitor.button("Hide it", dialog).click()
    expect(visitor.chats).to_have_count(0)
    play.finish("cause")

    expect(visitor.text).to_have_text("Because")
    assert caller.chat(visitor.page.url.partition("#")[2]).json()["hidden"]


def test_an_answer_under_way_is_waited_for(visitor: Visitor, caller: User, puppet: Puppet) -> None:
    """Who opens its chat later sees it when it is finished; its events are somebody else's."""
    play = puppet.play("Why?")
    chat_id, _ = caller.ask("Why?")
    visitor.page.goto(f"{visitor.page.url}#{chat_id}")
    expect(visitor.answer).to_contain_text("The answer is being written.")
    expect(visitor.button("Send")).to_have_attribute("aria-disabled", "true")
    play.finish("so")

    expect(visitor.text).to_have_text("so")
    assert visitor.streams == []


def test_leaving_a_chat_stops_watching(visitor: Visitor, puppet: Puppet) -> None:
    """What is written there does not show up elsewhere; on coming back there is what was read, and then the rest."""
    play = puppet.play("Why?")
    visitor.ask("Why?")
    play.say("Be")
    expect(visitor.text).to_have_text("Be")
    visitor.button("New chat").click()
    expect(visitor.thread).to_have_count(0)
    visitor.chats.first.click()
    expect(visitor.text).to_have_text("Be")
    play.finish("cause")

    expect(visitor.text).to_have_text("Because")
    assert len(visitor.streams) == 1


def test_a_title_of_any_length(visitor: Visitor, caller: User) -> None:
    """A question of many words makes a title of many, whose beginning is shown."""
    chat_id = caller.create()
    caller.post_prompt(chat_id, content="word " * 10_000)
    visitor.page.goto(f"{visitor.server.url}/chat#{chat_id}")
    visitor.page.reload()
    shown = f"{'word ' * 40}…"

    expect(visitor.chats).to_have_text([shown])
    expect(visitor.page.get_by_role("heading", level=2)).to_have_text(shown)
