"""Signing in at the chat page, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from oa_client._command.serve import _file_to_page
from oa_client.local import LocalServer
from tests.local.page.visitor import Visitor


def test_the_address_holds_no_secret_for_long(browser: Browser, server: LocalServer) -> None:
    """It is gone from the address bar and from the way back, and is no good to anybody else."""
    url = server.page_url()
    with browser.new_context() as one, browser.new_context() as other:
        page = one.new_page()
        page.goto("about:blank")
        page.goto(url)
        page.wait_for_url("**/chat")
        expect(page.get_by_role("textbox", name="Your question")).to_be_visible()
        page.go_back()
        late = other.new_page()
        late.goto(url)

        assert page.url == "about:blank"
        expect(late.get_by_role("heading", level=1)).to_have_text("You are not signed in")
        assert other.cookies() == []


def test_a_file_leads_to_the_page(browser: Browser, server: LocalServer) -> None:
    """One that holds the address signs in as the address itself, though browsers count that as another site's link."""
    with browser.new_context() as context, _file_to_page(server) as url:
        page = context.new_page()
        page.goto(url)
        page.wait_for_url("**/chat")

        assert url.startswith("file://")
        expect(page.locator("#choice")).to_contain_text(server.model)


def test_the_session_is_out_of_reach_of_scripts(visitor: Visitor) -> None:
    """The cookie is for requests alone, and for those of the page's own address."""
    (cookie,) = visitor.page.context.cookies()

    assert visitor.page.evaluate("document.cookie") == ""
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["expires"]) == (True, "Strict", "/", -1)


def test_signing_in_again(visitor: Visitor) -> None:
    """Whoever has lost the session comes back by a new address."""
    visitor.expect_failures("status of 403")
    visitor.page.context.clear_cookies()
    visitor.page.goto(f"{visitor.server.url}/chat")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
    visitor.sign_in()

    expect(visitor.question).to_be_focused()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_port(browser: Browser, server: LocalServer, host: str) -> None:
    """It can link to the page, also with a code, but read nothing and have nothing done, with the cookie or without."""
    attack = """
    async (url) => {
      const tried = [`${url}/api/chat`, `${url}/chats`, `${url}/chat`].map((one) =>
        fetch(one, { mode: "no-cors", credentials: "include" }).then(() => "opaque", () => "failed"));
      const created = fetch(`${url}/api/chat`, { method: "POST", mode: "no-cors", credentials: "include" });
      return Promise.all([...tried, created.then(() => "opaque", () => "failed")]);
    }
    """
    with LocalServer("lorem") as elsewhere, browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.goto(f"{elsewhere.url.replace('127.0.0.1', host)}/chat")
        page.evaluate("(url) => document.body.innerHTML = `<a href='${url}'>chat</a>`", server.page_url())
        page.get_by_role("link", name="chat").click()
        page.wait_for_url(f"{server.url}/chat")
        expect(page.get_by_role("textbox", name="Your question")).to_be_visible()
        page.go_back()
        page.evaluate(attack, server.url)
        page.goto(f"{server.url}/chat")

        expect(page.get_by_role("navigation")).to_contain_text("No chats yet")
