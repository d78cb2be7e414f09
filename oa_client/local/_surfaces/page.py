"""The chat page: its files, the sign-in of a browser, and the call that only the page makes."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from oa_client.local._answers.assistant import Assistant
from oa_client.local._storage.accounts import LOCAL_USER, SESSION_COOKIE, SESSION_MINUTES, Accounts
from oa_client.local._surfaces.nextjs import json_response
from oa_client.local._surfaces.refusals import BreakdownError
from oa_client.local._surfaces.session import Sessions

FOLDER = Path(__file__).parent.parent / "page"
PATH = "/chat"
STOP = f"{PATH}/stop"
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("connect", "img", "script", "style")),
        *(f"{kind} 'none'" for kind in ("base-uri", "form-action", "frame-ancestors")),
        # A model's words can only become text: browsers that support this refuse to parse any as HTML.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

# NOTE: a page, not a redirect. If the link was on a foreign page (such as a terminal in the browser), browsers ascribe
# a redirect to that page, and withhold a strict cookie. Requests of this page are its own.
ENTER = (
    '<!doctype html><html lang="en"><title>Chat</title><link rel="icon" href="/chat/icon.svg">'
    '<meta http-equiv="refresh" content="0; url=/chat"><p><a href="/chat">Open the chat</a></p></html>'
)


class Page:
    """
    `/chat` and the files below it, for browsers.

    The page itself holds no user's data, and talks to the website surface like any client. It stops answers by a path
    of its own, because neither surface can stop an answer without deleting its chat.
    """

    def __init__(self, accounts: Accounts, assistant: Assistant) -> None:
        self._accounts = accounts
        self._assistant = assistant
        self._sessions = Sessions(accounts)

    def serves(self, scope: Scope) -> bool:
        """Return whether a request is for the page; the page does not change other requests."""
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return False
        if path == "/":
            return "text/html" in Request(scope).headers.get("accept", "")
        return path == PATH or _asset(path) is not None

    async def stop(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to `STOP`: end an answer of the user with the text that it has so far."""
        request = Request(scope, receive)
        response = Response(status_code=403)
        if request.method != "POST":
            response = Response(status_code=405, headers={"allow": "POST"})
        elif (user_id := self._sessions.user_id(request)) is not None:
            try:
                answer = self._assistant.stop_answer(user_id, request.query_params.get("message_id", ""))
                response = json_response(answer.to_json())
            except BreakdownError:
                response = Response(status_code=404)
        await response(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that `serves` has let through."""
        await self._answer(Request(scope, receive))(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path == "/":
            return RedirectResponse(PATH, headers=HEADERS)
        if (name := _asset(path)) is not None:
            return _file(request, name)
        code = request.query_params.get("code")
        # Previews of links send HEAD, and must not use the code up.
        if code is not None and request.method == "GET" and self._accounts.codes.take(code):
            session = self._accounts.tokens.make(LOCAL_USER, "session", SESSION_MINUTES)
            cookie = f"{SESSION_COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict"
            return _enter({"set-cookie": cookie})
        if self._sessions.user_id(request) is None:
            return _file(request, "signin.html", 403)
        # The browser has reloaded or gone back: the used code has done its work.
        return _file(request, "index.html") if code is None else _enter({})


def _enter(headers: dict[str, str]) -> Response:
    """Send the browser on to the page, at an address without the code."""
    headers = {**HEADERS, "cache-control": "no-store", **headers}
    return Response(ENTER, headers=headers, media_type="text/html")


def _file(request: Request, name: str, status: int = 200) -> Response:
    """Return one of the page's files; the browser asks for it again each time, but need not load it again."""
    content, tag = _read(name)
    headers = {**HEADERS, "cache-control": "no-cache", "etag": tag, "vary": "cookie"}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if status == 200 and tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, status, headers, TYPES[Path(name).suffix])


def _asset(path: str) -> str | None:
    """Return the name of the file at a path below the page's, or None."""
    name = path.removeprefix(f"{PATH}/")
    return name if name in _assets() else None


@cache
def _assets() -> frozenset[str]:
    """Return the names of the files that anybody may load by name. Pages come only from `/chat`."""
    return frozenset(file.name for file in FOLDER.iterdir() if file.suffix in TYPES and file.suffix != ".html")


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return a file's content, and the tag that changes with it."""
    content = (FOLDER / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
