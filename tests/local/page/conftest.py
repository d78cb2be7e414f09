"""A browser, and a visitor of the chat page in it who notes everything that goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from oa_client.local import LocalServer
from tests.local.page.visitor import Visitor
from tests.local.support import User

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def launch(playwright: Playwright) -> Browser:
    """
    Start the system's Chromium, else the one that Playwright has installed.

    Raises:
        Error: if there is none, or it cannot run here.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return playwright.chromium.launch(executable_path=path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    # Its loop goes on in this thread until the end, so not for longer than a module: others start loops of their own.
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except Error as error:
            # pip installs playwright, but not the browser that it drives.
            pytest.skip(f"no Chromium; `playwright install chromium` brings one: {error}")
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: Browser, server: LocalServer) -> Iterator[Visitor]:
    """Somebody who has signed in; at the end nothing may have gone wrong in the browser that was not expected."""
    with browser.new_context(reduced_motion="reduce") as context:
        visitor = Visitor(context.new_page(), server)
        visitor.sign_in()
        yield visitor
        assert visitor.complaints == []


@pytest.fixture
def caller(server: LocalServer) -> User:
    """The same user, by other means."""
    return User(server, "website")
