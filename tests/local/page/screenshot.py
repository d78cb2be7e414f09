"""
Make the picture of the chat page that the README shows.

    python -m tests.local.page.screenshot docs/chat-page.png
"""

from __future__ import annotations

import sys

from playwright.sync_api import ViewportSize, expect, sync_playwright

from oa_client.local import MODEL, LocalServer
from tests.local.page.conftest import launch
from tests.local.page.visitor import Visitor
from tests.local.support import User

SIZE: ViewportSize = {"width": 1000, "height": 640}
CHATS = ("Pack for a week at sea", "A name for a small cat", "Explain tides to a child")
QUESTION = "What is the difference between a lake and a river?"


def main(path: str) -> None:
    """Ask some questions, of the embedded model if it is there, and save what is then seen."""
    backend = "embedded" if MODEL.downloaded else "lorem"
    with LocalServer(backend) as server, sync_playwright() as playwright, launch(playwright) as browser:
        caller = User(server, "website")
        for title in CHATS:
            caller.update(caller.create(), title=title)
        with browser.new_context(viewport=SIZE, color_scheme="light") as context:
            visitor = Visitor(context.new_page(), server)
            visitor.sign_in()
            with visitor.settings() as dialog:
                dialog.get_by_label("Preset").select_option("k50-Precise")
                dialog.get_by_label("System prompt").fill("Answer in one short sentence.")
            visitor.ask(QUESTION)
            visitor.button("Regenerate").click()
            expect(visitor.answer).to_contain_text("2 of 2")
            expect(visitor.button("Regenerate")).to_be_visible()
            visitor.button("Good answer").click()
            expect(visitor.button("Good answer")).to_have_attribute("aria-pressed", "true")
            visitor.question.focus()
            visitor.page.evaluate("window.scrollTo(0, 0)")
            visitor.page.screenshot(path=path)


if __name__ == "__main__":
    main(sys.argv[1])
