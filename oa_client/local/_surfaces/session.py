"""The website's session: who has the cookie, and what next-auth tells them about themselves."""

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
    """The sessions of everybody, which are in their cookies alone."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def user_id(self, request: Request) -> str | None:
        """The user of the session, which is that of the cookie, or of a bearer if there is no cookie."""
        if not (session := _session(request)):
            scheme, _, bearer = header(request, b"authorization").partition(b" ")
            session = bearer if scheme == b"Bearer" else b""
        return self._accounts.session_user(session)

    async def show(self, request: Request) -> Response:
        """
        Tell who is signed in, `{}` being nobody, and renew the session.

        The new cookie holds a session that lasts `SESSION_MINUTES` from now; the old one stays good
        until its own end. One that is no good is taken away. A bearer is nobody here.
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
                    "tosAcceptanceDate": None,  # there are no terms here that one could accept
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
    The session in the cookies, b"" if there is none.

    One that was split stands in cookies with `.0`, `.1` after the name and is joined in the order of
    the header.
    """
    return unquote("".join(value for _, value in _cookies(request))).encode()


def _cookies(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the cookies that make up the session."""
    for pair in header(request, b"cookie").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name.startswith(SESSION_COOKIE):
            yield name, value
