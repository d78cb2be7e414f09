"""The website's session: the user of the cookie, and next-auth's description of that user."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from oa_client.local._storage.accounts import SESSION_COOKIE, SESSION_MINUTES, Accounts
from oa_client.local._surfaces.http import header
from oa_client.local._surfaces.nextjs import json_response, text_response


class Sessions:
    """The sessions of all users, which are only in their cookies."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def user_id(self, request: Request) -> str | None:
        """Return the user of the session in the cookie, or in a bearer if the cookie is missing."""
        if not (session := _session(request)):
            scheme, _, bearer = header(request, b"authorization").partition(b" ")
            session = bearer if scheme == b"Bearer" else b""
        return self._accounts.session_user(session)

    async def show(self, request: Request) -> Response:
        """
        Return the user who is signed in, or `{}`, and renew the session.

        The new cookie holds a session of `SESSION_MINUTES` from now; the old one stays valid until its own end. An
        invalid cookie is removed. A bearer does not count here.
        """
        if request.method != "GET":
            return text_response(400, f"Error: This action with HTTP {request.method} is not supported by NextAuth.js")
        session = _session(request)
        user_id = self._accounts.session_user(session)
        if user_id is None or self._accounts.departed(user_id):
            response = json_response({})
            for name in dict(_cookies(request)) if session else ():
                response.headers.append("set-cookie", f"{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax")
            return response
        user = self._accounts.user(user_id)
        expires = datetime.now(timezone.utc) + timedelta(minutes=SESSION_MINUTES)
        response = json_response(
            {
                "user": {
                    "name": user_id if user is None else user.display_name,
                    "email": None,
                    "image": None,
                    "role": "general",
                    "isNew": False,
                    "tosAcceptanceDate": None,  # this server has no terms to accept
                },
                "expires": f"{expires:%Y-%m-%dT%H:%M:%S}.{expires.microsecond // 1000:03}Z",
                "inference": {"isAuthenticated": False},
            }
        )
        value = self._accounts.tokens.make(user_id, "session", SESSION_MINUTES)
        date = format_datetime(expires, usegmt=True)
        # NOTE: "Lax" as on the real website, and not "Strict" as the chat page's own, which never asks for this.
        response.headers.append(
            "set-cookie", f"{SESSION_COOKIE}={value}; Path=/; Expires={date}; HttpOnly; SameSite=Lax"
        )
        return response


def _session(request: Request) -> bytes:
    """
    Return the session in the cookies, or b"".

    A split session is in cookies with `.0`, `.1` after the name, and is joined in the order of the header.
    """
    return unquote("".join(value for _, value in _cookies(request))).encode()


def _cookies(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the cookies that make up the session."""
    for pair in header(request, b"cookie").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name.startswith(SESSION_COOKIE):
            yield name, value
