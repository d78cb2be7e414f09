"""Read requests and word answers as FastAPI does, on which the inference server is built."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oa_client.local._surfaces.fields import InvalidError, invalid
from oa_client.local._surfaces.http import Handler, TooLargeError, compact_json, media_type, read_bytes
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError, store_trouble

#: the real server has no limit; 2 MB pass there
BODY_BYTES = 16 << 20


#: The header in which each answer names the real server's software.
SERVER = (b"server", b"uvicorn")


def worded(handler: Handler) -> Handler:
    """Put a handler's failures in the server's words."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except RefusalError as error:
            return json_response({"detail": error.detail}, error.status)
        except BreakdownError as error:
            if error.empty:
                return Response(status_code=500)
            return Response("Internal Server Error", 500, media_type="text/plain")

    return guarded


async def read_json(request: Request, limit: int = BODY_BYTES) -> Any:
    """
    Return the body: JSON unless the content type says otherwise.

    Raises:
        RefusalError: 422 if it is missing or not JSON, 400 if it cannot be decoded, 413 if it has more than `limit`
            bytes.
    """
    try:
        body = await read_bytes(request, limit)
    except TooLargeError:
        raise RefusalError(413, "Request body is too large") from None
    if not body:
        raise RefusalError(422, [invalid("field required", "value_error.missing", "body")])
    kind = media_type(request)
    if kind not in ("", "application/json") and not (kind.startswith("application/") and kind.endswith("+json")):
        return body
    try:
        return json.loads(body.decode())
    except json.JSONDecodeError as error:
        where = {"msg": error.msg, "doc": error.doc, "pos": error.pos, "lineno": error.lineno, "colno": error.colno}
        raise RefusalError(422, [invalid(str(error), "value_error.jsondecode", "body", error.pos, **where)]) from None
    except (ValueError, RecursionError):  # not UTF-8, an endless number, or nested without end
        raise RefusalError(400, "There was an error parsing the body") from None


def read_query(request: Request, name: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """
    Return a parameter of the query.

    Raises:
        RefusalError: 422 if `read` refuses it, or it is missing and has no default.
    """
    value = request.query_params.get(name, default)
    if value is None:
        raise RefusalError(422, [invalid("field required", "value_error.missing", "query", name)])
    try:
        return read(value)
    except InvalidError as error:
        raise RefusalError(422, [{**one, "loc": ["query", name]} for one in error.errors]) from None


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(compact_json(content), status, media_type="application/json")


def signed(app: ASGIApp) -> ASGIApp:
    """Give an application's answers the headers of the real server's software."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [SERVER, *message["headers"]]}
            await send(message)

        await app(scope, receive, send_signed)

    return serve


async def not_routed(request: Request, error: Exception) -> Response:
    """Return the answer for an unknown path, or a method that it does not take."""
    reason = cast(HTTPException, error)
    response = json_response({"detail": reason.detail}, reason.status_code)
    response.headers.update(reason.headers or {})
    return response


async def gone(request: Request, error: Exception) -> Response:
    """The client left in the middle of its request; nobody sees this."""
    return Response(status_code=400)


async def not_stored(request: Request, error: Exception) -> Response:
    """The answer where the store fails; the real servers give no reason."""
    return json_response({"detail": store_trouble(error)}, 500)


EXCEPTION_HANDLERS = {HTTPException: not_routed, ClientDisconnect: gone, sqlite3.Error: not_stored}
