"""The surface of the inference server: `/chats…`, with a bearer token."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from oa_client.local._assistant import Assistant
from oa_client.local._events import EventStream, Pace, stream_events
from oa_client.local._fields import InvalidError, invalid, read_body, read_boolean, read_integer
from oa_client.local._http import (
    Handler,
    Methods,
    TooLargeError,
    compact_json,
    header,
    media_type,
    read_bytes,
    same_secret,
)
from oa_client.local._refusals import BreakdownError, RefusalError

BODY_BYTES = 16 << 20  # the real server has no limit; 2 MB pass there
MOST_CHATS = 100
USER_ID = "local"


class Inference:
    """The routes of the inference surface."""

    def __init__(self, assistant: Assistant, token: str, pace: Pace) -> None:
        self._assistant = assistant
        self._token = token
        self._pace = pace

    def app(self) -> ASGIApp:
        """The surface as an application."""
        signed_in = self._signed_in
        chat, message = "/chats/{chat_id}", "/chats/{chat_id}/messages/{message_id}"
        table: dict[str, dict[str, Handler]] = {
            "/auth/check": {"GET": signed_in(self._check)},
            "/configs/model_configs": {"GET": self._models},
            "/chats": {"GET": signed_in(self._list_chats), "POST": signed_in(self._create_chat)},
            chat: {
                "GET": signed_in(self._get_chat),
                "PUT": signed_in(self._update_chat),
                "DELETE": signed_in(self._delete_chat),
            },
            f"{chat}/prompter_message": {"POST": signed_in(self._post_prompt)},
            f"{chat}/assistant_message": {"POST": signed_in(self._post_answer)},
            message: {"GET": signed_in(self._get_message)},
            f"{message}/events": {"GET": signed_in(self._events)},
        }
        # redirect_slashes: 307 to the bare path, which is what the real server does too.
        return Starlette(
            routes=[Route(path, Methods(handlers)) for path, handlers in table.items()],
            exception_handlers={
                HTTPException: _not_routed,
                ClientDisconnect: _gone,
            },
        )

    def _signed_in(self, handler: Handler) -> Handler:
        """Let the bearer of the token through to the handler, and put its failures in the server's words."""

        async def guarded(request: Request) -> Response:
            try:
                self._check_bearer(request)
                return await handler(request)
            except RefusalError as error:
                return _json({"detail": error.detail}, error.status)
            except BreakdownError as error:
                if error.empty:
                    return Response(status_code=500)
                return Response("Internal Server Error", 500, media_type="text/plain")

        return guarded

    def _check_bearer(self, request: Request) -> None:
        scheme, _, token = header(request, b"authorization").partition(b" ")
        if scheme != b"Bearer" or not token:
            raise RefusalError(403, "Not authenticated")
        if not same_secret(token, self._token):
            raise RefusalError(401, "Invalid token")

    async def _check(self, request: Request) -> Response:
        return _json(USER_ID)

    async def _models(self, request: Request) -> Response:
        return _json(self._assistant.models.to_json())

    async def _list_chats(self, request: Request) -> Response:
        query = request.query_params
        page = self._assistant.list_chats(
            limit=_read_query("limit", query.get("limit", "10"), _read_limit),
            after=query.get("after"),
            before=query.get("before"),
            include_hidden=read_flag(query.get("include_hidden", "false")),
        )
        return _json(page)

    async def _create_chat(self, request: Request) -> Response:
        read_body(await _read_json(request), {})
        return _json(self._assistant.create_chat().summary())

    async def _get_chat(self, request: Request) -> Response:
        return _json(self._assistant.chat(request.path_params["chat_id"]).to_json())

    async def _update_chat(self, request: Request) -> Response:
        self._assistant.update_chat(request.path_params["chat_id"], await _read_json(request))
        return _json(None)

    async def _delete_chat(self, request: Request) -> Response:
        self._assistant.delete_chat(request.path_params["chat_id"])
        return Response()

    async def _post_prompt(self, request: Request) -> Response:
        body = await _read_json(request)
        return _json(self._assistant.post_prompt(request.path_params["chat_id"], body).to_json())

    async def _post_answer(self, request: Request) -> Response:
        # NOTE: the chat id in the path is not looked at, as on the real server.
        return _json(self._assistant.post_answer(await _read_json(request)).to_json())

    async def _get_message(self, request: Request) -> Response:
        return _json(self._assistant.message(**request.path_params).to_json())

    async def _events(self, request: Request) -> Response:
        job = self._assistant.job(**request.path_params)
        if job is None:
            return Response(status_code=204)
        return EventStream(
            stream_events(job, self._assistant.workers, self._pace),
            headers={"cache-control": "no-cache"},
            ping=self._pace.ping,
        )


def read_flag(value: str) -> bool:
    """
    The query's `include_hidden`.

    Raises:
        RefusalError: 422 if it is no boolean.
    """
    return bool(_read_query("include_hidden", value, read_boolean))


async def _read_json(request: Request) -> Any:
    """The body as FastAPI reads it: JSON unless the content type says otherwise."""
    try:
        body = await read_bytes(request, BODY_BYTES)
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


def _read_query(name: str, value: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(value)
    except InvalidError as error:
        raise RefusalError(422, [{**one, "loc": ["query", name]} for one in error.errors]) from None


def _read_limit(value: str) -> int:
    limit = read_integer(value)
    if limit < 1:
        raise InvalidError(invalid("ensure this value is greater than 0", "value_error.number.not_gt", limit_value=0))
    if limit > MOST_CHATS:
        raise InvalidError(
            invalid(
                f"ensure this value is less than or equal to {MOST_CHATS}",
                "value_error.number.not_le",
                limit_value=MOST_CHATS,
            )
        )
    return limit


def _json(content: Any, status: int = 200) -> Response:
    return Response(compact_json(content), status, media_type="application/json")


async def _not_routed(request: Request, error: Exception) -> Response:
    reason = cast(HTTPException, error)
    response = _json({"detail": reason.detail}, reason.status_code)
    response.headers.update(reason.headers or {})
    return response


async def _gone(request: Request, error: Exception) -> Response:
    """The client left in the middle of its request; nobody sees this."""
    return Response(status_code=400)
