"""Read requests and word answers as Next.js does, on which the website is built."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from oa_client.local._surfaces.fastapi import gone
from oa_client.local._surfaces.http import TooLargeError, compact_json, media_type, read_bytes
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError, store_trouble

BODY_BYTES = 1 << 20
#: up to which a float has every integer
MOST_EXACT = 1 << 53
#: from which on JavaScript writes an exponent
MOST_DIGITS = 10**21

#: The headers of every answer. No connection is kept alive, whatever the first one says.
CLOSING = [(b"keep-alive", b"timeout=5"), (b"connection", b"close")]


#: The header of every body that the real website would compress on request.
VARY = "Accept-Encoding"


class UnreadableError(Exception):
    """A body that fails before the website reaches the route."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


async def read_object(request: Request) -> dict[str, Any]:
    """
    Return the body as the website's route sees it: empty unless it is a JSON object.

    Raises:
        UnreadableError: if it is too large, or has JSON's content type but is not JSON.
    """
    try:
        body = await read_bytes(request, BODY_BYTES)
    except TooLargeError:
        raise UnreadableError(413, "Body exceeded 1mb limit") from None
    if not body or media_type(request) not in ("application/json", "application/ld+json"):
        return {}
    try:
        value = json.loads(body.decode(errors="replace"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnreadableError(400, "Invalid JSON") from None
    return value if isinstance(value, dict) else {}


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which JavaScript's JSON does not have."""
    raise ValueError(name)


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    response = Response(compact_json(_as_in_javascript(content)), status, media_type="application/json; charset=utf-8")
    response.headers["vary"] = VARY
    response.raw_headers += CLOSING
    return response


def _as_in_javascript(value: Any) -> Any:
    """Return a value as it comes out of JavaScript, whose only numbers are floats."""
    if isinstance(value, dict):
        return {key: _as_in_javascript(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_in_javascript(item) for item in value]
    if isinstance(value, int) and abs(value) > MOST_EXACT:
        try:
            return int(Decimal(repr(float(value))))  # the shortest digits of that float, then zeros
        except OverflowError:  # infinite
            return None
    if isinstance(value, float) and value.is_integer() and abs(value) < MOST_DIGITS:
        return int(value)
    return value


def bare_response(status: int, text: str = "") -> Response:
    """Return an answer without content type and length, like most of the website's."""
    response = Response(text, status)
    response.raw_headers = list(CLOSING)
    return response


def text_response(status: int, text: str) -> Response:
    """Return an answer with a text and its length, but without a content type."""
    response = bare_response(status, text)
    response.headers["content-length"] = str(len(response.body))
    return response


def server_error(error: RefusalError | BreakdownError) -> Response:
    """Return the failure of most routes, whatever its reason."""
    return bare_response(500, "Internal Server Error")


def lost(error: RefusalError | BreakdownError) -> Response:
    """Return the failure of the route that gets a chat, whatever its reason."""
    return bare_response(404)


def with_reason(error: RefusalError | BreakdownError) -> Response:
    """Return the failure of the two message routes, which alone give a reason."""
    if isinstance(error, RefusalError):
        return json_response({"message": error.detail}, error.status)
    return json_response({"message": "Something went wrong"}, 500)


async def not_found(request: Request, error: Exception) -> Response:
    """Return the answer for an unknown path: a redirect if it has a slash too many, otherwise a page."""
    if (path := request.scope["path"]).endswith("/"):
        return _redirect(quote(path.rstrip("/")), request.scope["query_string"].decode("latin-1"))
    page = text_response(404, "<!DOCTYPE html><title>404: This page could not be found</title>")
    page.headers["content-type"] = "text/html; charset=utf-8"
    page.headers["vary"] = VARY
    page.headers["x-powered-by"] = "Next.js"
    return page


def _redirect(path: str, query: str) -> Response:
    target = f"{path}?{query}" if query else path
    response = Response(target, 308)
    # NOTE: the only answer without a keep-alive header.
    response.raw_headers = [(b"connection", b"close")]
    response.headers["location"] = target
    response.headers["refresh"] = f"0;url={target}"
    return response


async def not_stored(request: Request, error: Exception) -> Response:
    """The answer where the store fails; the real servers give no reason."""
    return json_response({"message": store_trouble(error)}, 500)


EXCEPTION_HANDLERS = {HTTPException: not_found, ClientDisconnect: gone, sqlite3.Error: not_stored}
