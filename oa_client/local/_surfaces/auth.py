"""The routes for signing in at the inference server, and for leaving it."""

from __future__ import annotations

import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from oa_client.local._storage.accounts import Account, Accounts
from oa_client.local._surfaces.fastapi import json_response, read_query, worded
from oa_client.local._surfaces.fields import read_text
from oa_client.local._surfaces.http import Handler, UserHandler, header
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError

HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff]")


class Auth:
    """
    Identifies users, and has the routes below `/auth` and `/account`.

    Args:
        root: the server's own address.
        debug_login: whether a name alone is enough to sign in.
    """

    def __init__(self, accounts: Accounts, root: str, debug_login: bool) -> None:
        self._accounts = accounts
        self._root = root
        self._debug_login = debug_login

    def routes(self) -> dict[str, dict[str, Handler]]:
        """The handlers, by path and method."""
        return {
            "/auth/check": {"GET": self.signed_in(self._check)},
            "/auth/providers": {"GET": self._providers},
            "/auth/login/debug": {"GET": worded(self._login_debug)},
            "/auth/callback/debug": {"GET": worded(self._callback_debug)},
            "/auth/refresh": {"GET": worded(self._refresh)},
            "/auth/trusted": {"POST": worded(self._trusted)},
            "/account/": {"DELETE": self.signed_in(self._delete_account)},
        }

    def signed_in(self, handler: UserHandler) -> Handler:
        """
        Let users through to the handler.

        A `TrustedClient` header wins over a bearer. The user need not exist.
        """

        async def checked(request: Request) -> Response:
            if trusted := header(request, b"trustedclient"):
                user_id = self._accounts.trusted_client(trusted).id
            else:
                user_id = self._accounts.bearer(header(request, b"authorization"))
            return await handler(request, user_id)

        return worded(checked)

    async def _check(self, request: Request, user_id: str) -> Response:
        return json_response(user_id)

    async def _providers(self, request: Request) -> Response:
        return json_response(["debug"] if self._debug_login else [])

    async def _login_debug(self, request: Request) -> Response:
        # NOTE: as on the real server, the parameters are not quoted again, and debug login may be off.
        username, state = read_query(request, "username", str), read_query(request, "state", str, "{}")
        location = f"{self._root}/auth/callback/debug?code={username}&state={state}"
        if HEADER_VALUE.fullmatch(location) is None:
            raise BreakdownError(empty=False)
        raise HTTPException(302, headers={"location": location})

    async def _callback_debug(self, request: Request) -> Response:
        code = read_query(request, "code", _read_query_text)
        if not self._debug_login:
            raise RefusalError(403, "Debug auth is not allowed")
        if not code:
            raise RefusalError(400, "Username is required")
        return json_response(self._accounts.token_pair(self._accounts.add(Account(code, "debug", code, code))))

    async def _refresh(self, request: Request) -> Response:
        # NOTE: no token is accepted: the real server stores one hash of it, and looks up another.
        if not header(request, b"refresh"):
            raise BreakdownError(empty=False)
        raise RefusalError(401, "Invalid token")

    async def _trusted(self, request: Request) -> Response:
        if not (trusted := header(request, b"trustedclient")):
            raise RefusalError(401, "Missing token")
        return json_response(self._accounts.add(self._accounts.trusted_client(trusted)).to_json())

    async def _delete_account(self, request: Request, user_id: str) -> Response:
        self._accounts.delete(user_id)
        return Response()


def _read_query_text(value: str) -> Any:
    try:
        return read_text(value)
    except BreakdownError:  # here the server does not catch the database's failure
        raise BreakdownError(empty=False) from None
