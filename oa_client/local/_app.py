"""Both surfaces on one address, behind a check of who is asking from where."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from oa_client.local._accounts import Accounts
from oa_client.local._assistant import Assistant
from oa_client.local._auth import Auth
from oa_client.local._events import Pace
from oa_client.local._inference import Inference
from oa_client.local._website import Website


def create_app(assistant: Assistant, accounts: Accounts, *, root: str, debug_login: bool, pace: Pace) -> ASGIApp:
    """The whole server, whose own address is `root`, as one application."""
    website = Website(assistant, accounts, pace).app()
    inference = Inference(assistant, Auth(accounts, root, debug_login), pace).app()
    port = urlsplit(root).port

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if not _is_local(headers, port):
            await PlainTextResponse("Not for you", 403)(scope, receive, send)
            return
        path = scope["path"]
        surface = website if path == "/api" or path.startswith("/api/") else inference
        await surface(scope, receive, send)

    return app


def _is_local(headers: dict[bytes, bytes], port: int | None) -> bool:
    """
    Whether the request was meant for this server, and by something on this machine.

    A web page elsewhere can have its name resolved to this machine (then the Host is foreign) or
    send requests here (then the Origin is).
    """
    if not _is_own(f"http://{headers.get(b'host', b'').decode('latin-1')}", port):
        return False
    origin = headers.get(b"origin")
    return origin is None or _is_own(origin.decode("latin-1"), port)


def _is_own(url: str, port: int | None) -> bool:
    try:
        parts = urlsplit(url)
        if (parts.scheme, parts.port) != ("http", port) or parts.path or parts.username is not None:
            return False
        host = parts.hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
