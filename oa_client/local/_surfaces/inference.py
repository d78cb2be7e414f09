"""The surface of the inference server: `/chats…`, with a bearer token or on behalf of a trusted client."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from oa_client.local._answers.assistant import Assistant
from oa_client.local._answers.events import EventStream, stream_events
from oa_client.local._answers.limits import RequestLimit
from oa_client.local._settings import Settings
from oa_client.local._surfaces.auth import Auth
from oa_client.local._surfaces.configs import Configs
from oa_client.local._surfaces.fastapi import EXCEPTION_HANDLERS, json_response, read_json, read_query, signed
from oa_client.local._surfaces.fields import InvalidError, invalid, read_body, read_boolean, read_integer
from oa_client.local._surfaces.http import Handler, Methods

MOST_CHATS = 100


class InferenceRoutes:
    """The routes of the inference surface."""

    def __init__(
        self, assistant: Assistant, auth: Auth, configs: Configs, limit: RequestLimit, settings: Settings
    ) -> None:
        self._assistant = assistant
        self._auth = auth
        self._configs = configs
        self._limit = limit
        self._settings = settings

    def app(self) -> ASGIApp:
        """Return the surface as an application."""
        signed_in = self._auth.signed_in
        chat, message = "/chats/{chat_id}", "/chats/{chat_id}/messages/{message_id}"
        table: dict[str, dict[str, Handler]] = {
            **self._auth.routes(),
            **self._configs.routes(),
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
            f"{message}/votes": {"POST": signed_in(self._vote)},
            f"{message}/message_evals": {"POST": signed_in(self._evaluate)},
            f"{message}/reports": {"POST": signed_in(self._report)},
        }
        # redirect_slashes: 307 to the bare path, as on the real server.
        return signed(
            Starlette(
                routes=[Route(path, Methods(handlers)) for path, handlers in table.items()],
                exception_handlers=EXCEPTION_HANDLERS,
            )
        )

    async def _list_chats(self, request: Request, user_id: str) -> Response:
        query = request.query_params
        page = self._assistant.list_chats(
            user_id,
            limit=read_query(request, "limit", _read_limit, "10"),
            after=query.get("after"),
            before=query.get("before"),
            include_hidden=read_query(request, "include_hidden", read_boolean, "false"),
        )
        return json_response(page)

    async def _create_chat(self, request: Request, user_id: str) -> Response:
        read_body(await read_json(request), {})
        return json_response(self._assistant.create_chat(user_id).summary())

    async def _get_chat(self, request: Request, user_id: str) -> Response:
        return json_response(self._assistant.chat_json(user_id, request.path_params["chat_id"]))

    async def _update_chat(self, request: Request, user_id: str) -> Response:
        self._assistant.update_chat(user_id, request.path_params["chat_id"], await read_json(request))
        return json_response(None)

    async def _delete_chat(self, request: Request, user_id: str) -> Response:
        self._assistant.delete_chat(user_id, request.path_params["chat_id"])
        return Response()

    async def _post_prompt(self, request: Request, user_id: str) -> Response:
        body = await read_json(request)
        return json_response(self._assistant.post_prompt(user_id, request.path_params["chat_id"], body).to_json())

    async def _post_answer(self, request: Request, user_id: str) -> Response:
        self._limit.count(user_id)
        # NOTE: as on the real server, the chat id in the path is ignored.
        return json_response(self._assistant.post_answer(user_id, await read_json(request)).to_json())

    async def _get_message(self, request: Request, user_id: str) -> Response:
        return json_response(self._assistant.message(user_id, **request.path_params).to_json())

    # NOTE: the next three ignore the chat id in the path too.
    async def _vote(self, request: Request, user_id: str) -> Response:
        self._assistant.vote(user_id, request.path_params["message_id"], await read_json(request))
        return Response()

    async def _evaluate(self, request: Request, user_id: str) -> Response:
        self._assistant.evaluate(user_id, request.path_params["message_id"], await read_json(request))
        return Response()

    async def _report(self, request: Request, user_id: str) -> Response:
        self._assistant.report(user_id, request.path_params["message_id"], await read_json(request))
        return Response()

    async def _events(self, request: Request, user_id: str) -> Response:
        job = self._assistant.job(user_id, **request.path_params)
        if job is None:
            return Response(status_code=204)
        return EventStream(
            stream_events(job, self._assistant.workers, self._settings.pending_event_interval),
            headers={"cache-control": "no-cache"},
            ping=self._settings.ping_interval,
        )


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
