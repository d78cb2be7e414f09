"""The chat page for everybody: keyboards, screen readers, small windows, large letters, dark rooms."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.local.page.visitor import Visitor
from tests.local.support import Puppet, User

MARKDOWN = """
# A heading

Some *words*, `code`, and [a link](https://example.org/).

- one
- two

> a quote

| a | b |
|---|---|
| 1 | 2 |

```
averylonglineofcode averylonglineofcode averylonglineofcode averylonglineofcode averylonglineofcode
```
"""


def complaints_of_axe(page: Page) -> list[str]:
    """What axe finds wrong, each with the elements where."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found]


def a_conversation(visitor: Visitor, puppet: Puppet) -> None:
    """Have all kinds of things on the page: drafts, branches, votes, Markdown."""
    play = puppet.play("One")
    play.finish("1")
    visitor.ask("One")
    expect(visitor.text).to_have_text("1")
    play.finish(MARKDOWN)
    visitor.button("Regenerate").click()
    expect(visitor.text).to_contain_text("a quote")
    visitor.button("Good answer").click()
    expect(visitor.button("Good answer")).to_have_attribute("aria-pressed", "true")


def a_question_being_edited(visitor: Visitor, puppet: Puppet) -> None:
    """Two questions, of which the second is open for editing."""
    for prompt in ("One", "Two"):
        puppet.play(prompt).finish(prompt)
        visitor.ask(prompt)
        expect(visitor.text).to_have_text(prompt)
    visitor.button("Edit").click()


def an_answer_being_written(visitor: Visitor, puppet: Puppet) -> None:
    """Half an answer, watched."""
    visitor.ask("One")
    puppet.play("One").say("Be")
    expect(visitor.text).to_have_text("Be")


def a_fault(visitor: Visitor, puppet: Puppet) -> None:
    """A refusal in words."""
    with visitor.refused("chat/assistant_message", 503):
        visitor.ask("One")
        expect(visitor.fault).to_contain_text("busy")


def the_settings(visitor: Visitor, puppet: Puppet) -> None:
    """The dialog, with a preset's values."""
    visitor.button("Settings").click()
    visitor.page.get_by_label("Preset").select_option("k50")


def a_deletion(visitor: Visitor, puppet: Puppet) -> None:
    """The question before it."""
    a_fault(visitor, puppet)
    visitor.button("Delete").click()


def nothing_yet(visitor: Visitor, puppet: Puppet) -> None:
    """The page as it opens."""


SCENES = [
    nothing_yet,
    a_conversation,
    a_question_being_edited,
    an_answer_being_written,
    a_fault,
    the_settings,
    a_deletion,
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.__name__) for scene in SCENES])
def test_axe_finds_nothing(
    visitor: Visitor, puppet: Puppet, scene: Callable[[Visitor, Puppet], None], scheme: str
) -> None:
    """Names, roles, order, contrast: in both colour schemes."""
    visitor.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    scene(visitor, puppet)

    assert complaints_of_axe(visitor.page) == []


def test_axe_finds_nothing_where_one_signs_in(visitor: Visitor) -> None:
    """The page that says how."""
    visitor.expect_failures("status of 403")
    visitor.page.context.clear_cookies()
    visitor.page.goto(f"{visitor.server.url}/chat")

    assert complaints_of_axe(visitor.page) == []


@pytest.mark.parametrize(
    ("width", "height"),
    [pytest.param(320, 640, id="a small phone"), pytest.param(640, 360, id="a laptop at 200 percent")],
)
@pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.__name__) for scene in SCENES])
def test_small_windows(
    visitor: Visitor, puppet: Puppet, scene: Callable[[Visitor, Puppet], None], width: int, height: int
) -> None:
    """Nothing is cut off: the page as a whole scrolls one way only."""
    visitor.page.set_viewport_size({"width": width, "height": height})
    scene(visitor, puppet)
    sizes = visitor.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    controls = visitor.page.get_by_role("button").or_(visitor.page.get_by_role("textbox"))
    boxes = [box for box in (control.bounding_box() for control in controls.all()) if box]

    assert sizes[0] <= sizes[1]
    assert boxes
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


def test_large_letters(visitor: Visitor, puppet: Puppet) -> None:
    """With letters of twice the size everything grows, and still fits."""
    a_conversation(visitor, puppet)
    visitor.page.set_viewport_size({"width": 640, "height": 720})
    visitor.page.evaluate("document.documentElement.style.setProperty('font-size', '200%')")
    sizes = visitor.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")

    assert sizes[0] <= sizes[1]


def test_the_list_on_a_phone(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """It is opened by a button, which says whether it is open, and closes when a chat is picked."""
    puppet.play("One").finish("1")
    caller.ask("One")
    visitor.page.set_viewport_size({"width": 320, "height": 640})
    visitor.page.reload()
    toggle = visitor.button("Chats")
    expect(visitor.page.get_by_role("navigation")).to_be_hidden()
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    visitor.chats.first.click()

    expect(visitor.text).to_have_text("1")
    expect(visitor.page.get_by_role("navigation")).to_be_hidden()
    expect(toggle).to_have_attribute("aria-expanded", "false")


@pytest.mark.parametrize(
    ("width", "height"), [pytest.param(390, 844, id="a phone"), pytest.param(1280, 800, id="a laptop")]
)
def test_the_header_stays_in_view(visitor: Visitor, puppet: Puppet, caller: User, width: int, height: int) -> None:
    """At the end of a long chat too, with the list of chats, which opens where the reader is, and scrolls by itself."""
    for number in range(20):
        caller.update(caller.create(), title=f"Chat {number}")
    visitor.page.set_viewport_size({"width": width, "height": height})
    visitor.page.reload()
    puppet.play("One").finish("line\n\n" * 100)
    visitor.ask("One")
    expect(visitor.button("Regenerate")).to_be_in_viewport()
    assert visitor.page.evaluate("scrollY") > height
    expect(visitor.button("Settings")).to_be_in_viewport()
    if visitor.button("Chats").is_visible():
        visitor.button("Chats").click()
    expect(visitor.button("New chat")).to_be_in_viewport()
    expect(visitor.chats.first).to_be_in_viewport()
    visitor.chats.first.click(trial=True)  # nothing covers it
    visitor.page.get_by_role("checkbox", name="Show hidden chats").check()

    expect(visitor.page.get_by_role("checkbox", name="Show hidden chats")).to_be_in_viewport()
    assert complaints_of_axe(visitor.page) == []


def focused(page: Page) -> str:
    """The name of what has the focus."""
    script = """
    () => {
      const one = document.activeElement;
      return one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent.trim();
    }
    """
    return str(page.evaluate(script))


def walk(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab until what has this name has the focus, and is seen to have it."""
    passed = []
    while (here := focused(page)) != name:
        passed.append(here)
        assert len(passed) < 60, passed
        page.keyboard.press(key)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_with_the_keyboard_alone(visitor: Visitor, puppet: Puppet, caller: User) -> None:
    """Choose, ask, stop, vote, draft, page, edit, rename, open and delete without a mouse."""
    page, keyboard = visitor.page, visitor.page.keyboard
    plays = {prompt: puppet.play(prompt) for prompt in ("One", "Two", "Zwei")}
    assert focused(page) == "Your question"
    walk(page, "Settings", "Shift+Tab")
    keyboard.press("Enter")
    walk(page, "Preset")
    keyboard.press("k")
    walk(page, "Save")
    keyboard.press("Enter")
    expect(page.locator("#choice")).to_have_text("puppet · k50")
    assert focused(page) == "Settings"
    walk(page, "Your question")
    keyboard.type("One")
    keyboard.press("Enter")
    plays["One"].say("1")
    expect(visitor.text).to_have_text("1")
    keyboard.press("Escape")
    expect(visitor.answer).to_contain_text("You stopped this answer.")
    plays["One"].finish()
    expect(visitor.button("Regenerate")).to_be_visible()
    walk(page, "Good answer", "Shift+Tab")
    keyboard.press("Space")
    expect(visitor.button("Good answer")).to_have_attribute("aria-pressed", "true")
    walk(page, "Regenerate")
    keyboard.press("Enter")
    plays["One"].finish("one")
    expect(visitor.text).to_have_text("one")
    walk(page, "Previous answer", "Shift+Tab")
    keyboard.press("Enter")
    expect(visitor.text).to_have_text("1")
    walk(page, "Your question")
    for prompt in ("Two", "Zwei"):
        plays[prompt].finish(f"to {prompt}")
    keyboard.type("Two")
    keyboard.press("Enter")
    expect(visitor.text).to_have_text("to Two")
    walk(page, "Edit", "Shift+Tab")
    keyboard.press("Enter")
    keyboard.press("ControlOrMeta+A")
    keyboard.type("Zwei")
    keyboard.press("Enter")
    expect(visitor.text).to_have_text("to Zwei")
    walk(page, "Rename", "Shift+Tab")
    keyboard.press("Enter")
    keyboard.type("Renamed")
    keyboard.press("Enter")
    expect(visitor.chats).to_have_text(["Renamed"])
    walk(page, "New chat", "Shift+Tab")
    keyboard.press("Enter")
    expect(visitor.thread).to_have_count(0)
    walk(page, "Renamed", "Shift+Tab")
    keyboard.press("Enter")
    expect(visitor.text).to_have_text("to Zwei")
    assert focused(page) == "Renamed"
    walk(page, "Delete")
    keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    walk(page, "Delete")
    keyboard.press("Enter")
    expect(visitor.chats).to_have_count(0)

    assert focused(page) == "Your question"
    assert json.loads(page.evaluate("sessionStorage.getItem('oa-client chat')"))["preset"] == "k50"


def test_the_way_past_the_list(visitor: Visitor, puppet: Puppet) -> None:
    """The first stop of the page leads to the question, and leaves the address as it is."""
    puppet.play("One").finish("1")
    visitor.ask("One")
    expect(visitor.text).to_have_text("1")
    url = visitor.page.url
    walk(visitor.page, "Go to the question field", "Shift+Tab")
    visitor.page.keyboard.press("Enter")

    assert (focused(visitor.page), visitor.page.url) == ("Your question", url)


def test_what_a_screen_reader_finds(visitor: Visitor, puppet: Puppet) -> None:
    """Landmarks, headings and articles with their names."""
    a_conversation(visitor, puppet)

    expect(visitor.page.locator("body")).to_match_aria_snapshot(
        """
        - link "Go to the question field"
        - banner:
          - heading "Open-Assistant on this machine" [level=1]
          - button "Settings"
        - navigation "Chats":
          - button "New chat"
          - list:
            - listitem:
              - link "One"
          - checkbox "Show hidden chats"
        - main:
          - heading "One" [level=2]
          - group "This chat":
            - button "Rename"
            - button "Hide from the list"
            - button "Delete"
          - article "You":
            - heading "You" [level=3]
            - paragraph: One
          - article "Assistant":
            - heading "Assistant" [level=3]
            - heading "A heading" [level=4]
            - group "Versions of this answer":
              - button "Previous answer"
              - text: 2 of 2
              - button "Next answer" [disabled]
            - button "Good answer" [pressed]
            - button "Bad answer"
            - button "Copy"
            - button "Regenerate"
          - textbox "Your question"
          - button "Send"
        """
    )
