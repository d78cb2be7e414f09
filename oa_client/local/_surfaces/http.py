"""HTTP for both surfaces: bodies read up to a limit, headers and JSON answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: bytes read past a limit, so that the client can read the refusal
MOST_DISCARDED = 64 << 20

Handler = Callable[[Request], Awaitable[Response]]
#: A handler that gets the id of the user who asks.
UserHandler = Callable[[Request, str], Awaitable[Response]]


class TooLargeError(Exception):
    """A body is too large for the surface."""


class Methods:
    """One path with a handler for each method. Other methods get a 405, which names only the first one."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        handler = self._handlers.get(request.method)
        if handler is None:
            raise HTTPException(405, headers={"allow": next(iter(self._handlers))})
        response = await handler(request)
        await response(scope, receive, send)


async def read_bytes(request: Request, limit: int) -> bytes:
    """
    Return the request's body.

    Raises:
        TooLargeError: if it has more than `limit` bytes.
    """
    size = 0
    blocks = []
    async for block in request.stream():
        size += len(block)
        if size <= limit:
            blocks.append(block)
        elif size > MOST_DISCARDED:
            break
    if size > limit:
        raise TooLargeError
    return b"".join(blocks)


def compact_json(content: Any) -> bytes:
    """Return JSON as both surfaces send it outside of streams: without spaces, in raw UTF-8."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def media_type(request: Request) -> str:
    """Return the content type without its parameters, or ""."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def own_target(url: str, port: int | None, leads_here: Callable[[str], bool]) -> str | None:
    """Return the path and query of a URL of this server, by any of its names; None if it is not this server's."""
    try:
        parts = urlsplit(url)
        if (parts.scheme, parts.port) != ("http", port) or parts.username is not None:
            return None
        if not leads_here(parts.hostname or ""):
            return None
    except ValueError:
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def header(request: Request, name: bytes) -> bytes:
    """Return a header's bytes as they came, or b""."""
    return next((value for key, value in request.scope["headers"] if key == name), b"")
