"""Somebody who uses the chat page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Route, expect

from oa_client.local import LocalServer
from tests.local.support import PATIENCE

TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`violated: ${event.effectiveDirective} by ${event.blockedURI}`));
"""

expect.set_options(timeout=PATIENCE * 1000)


class Visitor:
    """
    Somebody at the page, who finds things as people and screen readers do: by role and name.

    Attributes:
        complaints: errors and violations of the policy that the browser has told of.
        streams: the ids of the answers whose events the page has asked for, each time it did.
    """

    def __init__(self, page: Page, server: LocalServer) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        self.streams: list[str] = []
        self._expected: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(TELL_VIOLATIONS)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note_request)

    def sign_in(self) -> None:
        """Open the page by an address that the server prints."""
        self.page.goto(self.server.page_url())
        self.page.wait_for_url("**/chat")
        expect(self.page.locator("#choice")).to_contain_text(self.server.model)

    def expect_failures(self, *words: str) -> None:
        """Calls are about to fail: the browser's own lines about that are no complaints."""
        self._expected += words

    @property
    def question(self) -> Locator:
        """The field for the question."""
        return self.page.get_by_role("textbox", name="Your question", exact=True)

    @property
    def thread(self) -> Locator:
        """All messages shown."""
        return self.page.get_by_role("article")

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.page.get_by_role("article", name="Assistant").last

    @property
    def text(self) -> Locator:
        """The text of the last answer."""
        return self.answer.locator(".text")

    @property
    def fault(self) -> Locator:
        """What went wrong, said at once."""
        return self.page.locator("#fault")

    @property
    def status(self) -> Locator:
        """What a screen reader is told."""
        return self.page.locator("#status")

    @property
    def chats(self) -> Locator:
        """The links of the list."""
        return self.page.get_by_role("navigation", name="Chats").get_by_role("link")

    def ask(self, text: str) -> None:
        """Type a question and send it."""
        self.question.fill(text)
        self.question.press("Enter")

    def button(self, name: str, within: Locator | None = None) -> Locator:
        """A button by its name."""
        return (within or self.page).get_by_role("button", name=name, exact=True)

    @contextmanager
    def settings(self) -> Iterator[Locator]:
        """Open the settings, and save them at the end."""
        self.button("Settings").click()
        dialog = self.page.get_by_role("dialog", name="Settings")
        yield dialog
        self.button("Save", dialog).click()
        expect(dialog).to_be_hidden()

    @contextmanager
    def refused(self, path: str, status: int, body: str = "", content_type: str = "") -> Iterator[None]:
        """Have the calls of a path answered by this instead of by the server."""
        self.expect_failures(f"status of {status}")

        def refuse(route: Route) -> None:
            route.fulfill(status=status, body=body, content_type=content_type or None)

        with self.routed(path, refuse):
            yield

    @contextmanager
    def routed(self, path: str, handler: object) -> Iterator[None]:
        """Have the calls of a path handled by a test."""
        pattern = re.compile(rf"/api/{re.escape(path)}(\?.*)?$")
        self.page.route(pattern, handler)  # type: ignore[arg-type]  # any function of a route
        yield
        self.page.unroute(pattern)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in self._expected):
            self.complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.path == "/api/chat/events":
            self.streams += parse_qs(parts.query)["message_id"]
