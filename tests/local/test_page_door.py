"""Who gets the chat page, and how: the files, the codes that sign in once, and the headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from oa_client.local import LocalServer, LocalServerError
from oa_client.local._storage import codes as codes
from oa_client.local._surfaces.page import FOLDER, TYPES
from tests.local.support import PATIENCE

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ASSETS = sorted(file.name for file in FOLDER.iterdir() if file.suffix != ".html")
SCRIPTS = sorted(FOLDER.glob("*.js"))


def get(url: str, method: str = "GET", cookies: dict[str, str] | None = None, **headers: str) -> requests.Response:
    """Ask as a browser would, but follow nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(
        method, url, cookies=cookies, headers={**HTML, **named}, timeout=PATIENCE, allow_redirects=False
    )


def test_an_address_signs_in_once(server: LocalServer) -> None:
    """The first to open it gets a session that is good for calls; the second gets a page that says what to do."""
    url = server.page_url()
    first, second = get(url), get(url)
    session = first.cookies.get_dict()

    assert first.status_code == 200
    assert first.headers["set-cookie"].partition("; ")[2] == "Path=/; HttpOnly; SameSite=Strict"
    assert first.headers["cache-control"] == "no-store"
    assert 'content="0; url=/chat"' in first.text
    assert get(f"{server.url}/api/chat", cookies=session).status_code == 200
    assert '<form id="composer">' in get(f"{server.url}/chat", cookies=session).text
    assert (second.status_code, "set-cookie" in second.headers) == (403, False)
    assert "oa-client serve" in second.text


@pytest.mark.parametrize("query", ["", "?code=", "?code=wrong", "?other=1"])
def test_without_a_code_nobody_is_signed_in(server: LocalServer, query: str) -> None:
    """A wrong code is as none."""
    server.page_url()
    answer = get(f"{server.url}/chat{query}")

    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "You are not signed in" in answer.text


def test_a_used_address_does_no_harm_to_who_is_signed_in(server: LocalServer) -> None:
    """Reloading it leads on to the page."""
    answer = get(f"{server.url}/chat?code=used", cookies=server.cookies)

    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert 'content="0; url=/chat"' in answer.text


def test_a_preview_does_not_use_the_address_up(server: LocalServer) -> None:
    """HEAD, which programs send that show what is behind a link."""
    url = server.page_url()
    preview = get(url, "HEAD")

    assert (preview.status_code, "set-cookie" in preview.headers) == (403, False)
    assert "set-cookie" in get(url).headers


def test_a_code_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is as a wrong one."""
    monkeypatch.setattr(codes, "CODE_MINUTES", 0)
    made = codes.Codes()

    assert not made.take(made.make())


def test_many_codes_take_no_room() -> None:
    """The oldest gives way to the newest; each that is left is good once."""
    made = codes.Codes()
    all_of_them = [made.make() for _ in range(codes.MOST_CODES + 1)]

    assert len(set(all_of_them)) == len(all_of_them)
    assert [made.take(code) for code in all_of_them] == [False] + [True] * codes.MOST_CODES
    assert not made.take(all_of_them[-1])


def test_no_address_before_the_start() -> None:
    """As the server's own, it is not known then."""
    with pytest.raises(LocalServerError, match="before it is started"):
        LocalServer("lorem").page_url()


@pytest.mark.parametrize("path", ["/", "/chat", "/chat?code=x", *(f"/chat/{name}" for name in ASSETS)])
def test_everything_is_sent_with_the_policy(server: LocalServer, path: str) -> None:
    """No script but the page's own files, nothing from elsewhere, nowhere in a frame."""
    answer = get(server.url + path, cookies=server.cookies)
    policy = dict(directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; "))

    assert answer.status_code == (307 if path == "/" else 200)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/chat", *(f"/chat/{name}" for name in ASSETS)])
def test_a_file_is_sent_once(server: LocalServer, path: str) -> None:
    """The browser asks again each time and is told that nothing has changed."""
    first = get(server.url + path, cookies=server.cookies)
    again = get(server.url + path, cookies=server.cookies, If_None_Match=f'"x", W/{first.headers["etag"]}')
    other = get(server.url + path, cookies=server.cookies, If_None_Match='"x"')

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.content) == (200, first.content)


def test_a_file_has_its_type(server: LocalServer) -> None:
    """Browsers run no module of another."""
    script, style = get(f"{server.url}/chat/main.js"), get(f"{server.url}/chat/style.css")

    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert style.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    ["/chat/", "/chat/index.html", "/chat/nothing.js", "/chat/..%2f_page.py", "/chat/../_page.py", "/chats", "/chatty"],
)
def test_other_paths_stay_as_they_are(server: LocalServer, path: str) -> None:
    """They are those of the inference surface, which knows no page."""
    answer = get(server.url + path, cookies=server.cookies)

    assert answer.status_code in (403, 404)
    assert set(answer.json()) == {"detail"}


def test_only_reading_is_the_page(server: LocalServer) -> None:
    """Other methods find nothing there."""
    assert get(f"{server.url}/chat", "POST", cookies=server.cookies).json() == {"detail": "Not Found"}


def test_the_root_leads_browsers_to_the_page(server: LocalServer) -> None:
    """Whoever does not ask for HTML gets what the inference server says."""
    browser, program = get(server.url), get(server.url, Accept="*/*")

    assert (browser.status_code, browser.headers["location"]) == (307, "/chat")
    assert (program.status_code, program.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_elsewhere_may_link_to_this_one_alone(server: LocalServer, site: str) -> None:
    """Its images and scripts can ask for nothing else, though another port of this machine has the same cookies."""
    calls = [
        get(server.url + path, cookies=server.cookies, Sec_Fetch_Site=site)
        for path in ("/api/chat", "/api/chat/events?chat_id=a&message_id=b", "/chats", "/configs/model_configs")
    ]
    page = get(f"{server.url}/chat", cookies=server.cookies, Sec_Fetch_Site=site)

    assert [call.text for call in calls] == ["Not for you"] * 4
    assert page.status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_and_the_address_bar_may_call(server: LocalServer, site: str) -> None:
    """What they ask for is what the user asks for."""
    assert get(f"{server.url}/api/chat", cookies=server.cookies, Sec_Fetch_Site=site).status_code == 200


def test_every_file_is_served() -> None:
    """A file of a kind without a type could not be had."""
    assert {file.suffix for file in FOLDER.iterdir()} == set(TYPES)


@pytest.mark.parametrize("script", [pytest.param(file, id=file.name) for file in SCRIPTS])
def test_no_script_makes_code_of_text(script: Path) -> None:
    """Nothing that parses HTML or runs a text, and no address of anybody else."""
    text = script.read_text(encoding="utf-8")
    found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|//\w+\.\w+", text)

    assert found == []
