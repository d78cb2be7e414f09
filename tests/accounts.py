"""A server with accounts, whose answers a test decides, and both clients behind one call."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import anyio

from oa_client import AsyncClient, Client
from tests.scripted import Connection, Handler, OpenAssistantScript, Request, Surface, json_response, reply

Face = Literal["Client", "AsyncClient"]

SESSION = {"user": {"name": "Ada", "role": "general"}, "expires": "2100-01-01T00:00:00.000Z"}


class AccountScript(OpenAssistantScript):
    """
    The chat API, and whatever other routes a test gives it.

    Attributes:
        routes: handlers by method and path, "GET /auth/check"; they come before the chats'.
        good_tokens: those that are not expired; None is all.
        logins: how many debug logins there were.
    """

    def __init__(self, surface: Surface) -> None:
        self.routes: dict[str, Handler] = {}
        self.good_tokens: set[str] | None = None
        self.logins = 0
        if surface == "inference":
            self.routes = {
                "GET /auth/check": self._check,
                "GET /auth/callback/debug": self._log_in,
                "GET /configs/model_configs": reply(json_response([])),
            }
        else:
            self.routes = {"GET /api/auth/session": self.session(SESSION)}
        super().__init__(surface)

    def session(self, value: Mapping[str, Any], *cookies: str) -> Handler:
        """Return a handler that answers with a session, and sets cookies, each as a header has it."""
        lines = [f"set-cookie: {cookie}" for cookie in cookies]
        head, _, body = json_response(value, headers={"connection": "close"}).partition(b"\r\n\r\n")
        return reply(b"\r\n".join([head, *(item.encode() for item in lines)]) + b"\r\n\r\n" + body)

    def sent(self, header: str) -> list[str | None]:
        """Return the values of a header of all requests, in order."""
        return [request.headers[header] for request in self.requests]

    def paths(self) -> list[str]:
        """Return method and path of all requests, in order."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def _answer(self, connection: Connection, request: Request) -> None:
        token = (request.headers["Authorization"] or "").removeprefix("Bearer ")
        is_open = request.path.startswith(("/auth/callback", "/configs"))
        if self.good_tokens is not None and token not in self.good_tokens and not is_open:
            self.send_json(connection, {"detail": "Token expired"}, 401)
            return
        handler = self.routes.get(f"{request.method} {request.path}")
        if handler is None:
            super()._answer(connection, request)
        else:
            handler(connection, request)

    def _check(self, connection: Connection, request: Request) -> None:
        self.send_json(connection, "ada")

    def _log_in(self, connection: Connection, request: Request) -> None:
        with self.update():
            self.logins += 1
            token = f"secret-of-login-{self.logins}"
            if self.good_tokens is not None:
                self.good_tokens = {token}
        self.send_json(connection, token_pair(token))


def token_pair(token: str) -> dict[str, Any]:
    """Return the answer to a login."""
    return {
        "access_token": {"access_token": token, "token_type": "bearer"},
        "refresh_token": {"access_token": "refresh", "token_type": "refresh"},
    }


def call(face: Face, method: str, url: str, *, times: int = 1, **settings: Any) -> Any:
    """Call a method of a client of one of the two kinds, some times, and return its last result."""
    arguments = {"confirm": True} if method == "delete_account" else {}
    if face == "Client":
        with Client(url, **settings) as client:
            return [getattr(client, method)(**arguments) for _ in range(times)][-1]

    async def run() -> Any:
        async with AsyncClient(url, **settings) as client:
            for _ in itertools.repeat(None, times - 1):
                await getattr(client, method)(**arguments)
            return await getattr(client, method)(**arguments)

    return anyio.run(partial(run))
