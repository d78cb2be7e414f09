"""The surface of the website: `/api/chat…`, with a session cookie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from oa_client.local._answers.assistant import Assistant
from oa_client.local._answers.events import EventStream, stream_events
from oa_client.local._answers.limits import RequestLimit
from oa_client.local._answers.plugins import Plugins
from oa_client.local._models.models import Models
from oa_client.local._settings import Settings
from oa_client.local._storage.accounts import Account, Accounts
from oa_client.local._surfaces.fields import InvalidError, read_boolean
from oa_client.local._surfaces.http import Handler, UserHandler
from oa_client.local._surfaces.nextjs import (
    CLOSING,
    EXCEPTION_HANDLERS,
    UnreadableError,
    bare_response,
    json_response,
    lost,
    read_object,
    server_error,
    text_response,
    with_reason,
)
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError
from oa_client.local._surfaces.session import Sessions

PAGE_SIZE = 20
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Failure = Callable[["RefusalError | BreakdownError"], Response]


class WebsiteRoutes:
    """The routes of the website surface."""

    def __init__(
        self,
        assistant: Assistant,
        accounts: Accounts,
        models: Models,
        plugins: Plugins,
        limit: RequestLimit,
        settings: Settings,
    ) -> None:
        self._assistant = assistant
        self._models = models
        self._plugins = plugins
        self._accounts = accounts
        self._sessions = Sessions(accounts)
        self._limit = limit
        self._settings = settings

    def app(self) -> ASGIApp:
        """Return the surface as an application."""
        table: dict[str, Handler] = {
            "/api/chat": self._chat,
            "/api/chat/prompter_message": self._guarded(self._post_prompt, with_reason),
            "/api/chat/assistant_message": self._guarded(self._post_answer, with_reason),
            "/api/chat/events": self._guarded(self._events, server_error),
            "/api/chat/message": self._guarded(self._get_message, server_error),
            "/api/chat/vote": self._guarded(self._vote, server_error),
            "/api/chat/message_eval": self._guarded(self._evaluate, server_error),
            "/api/chat/models": self._guarded(self._list_models, server_error),
            "/api/chat/plugins": self._guarded(self._list_plugins, server_error),
            "/api/chat/plugin_config": self._guarded(self._configure_plugin, server_error),
            "/api/account/delete": self._guarded(self._delete_account, server_error),
            "/api/auth/session": self._sessions.show,
        }
        app = Starlette(
            routes=[Route(path, handler, methods=METHODS) for path, handler in table.items()],
            exception_handlers=EXCEPTION_HANDLERS,
        )
        app.router.redirect_slashes = False
        return app

    def _guarded(self, handler: UserHandler, failure: Failure) -> Handler:
        """Let signed-in users through to the handler, and put its failures in the website's words."""

        async def guarded(request: Request) -> Response:
            if (user_id := self._sessions.user_id(request)) is None:
                return bare_response(403)
            try:
                return await handler(request, user_id)
            except UnreadableError as error:
                return bare_response(error.status, error.text)
            except (RefusalError, BreakdownError) as error:
                return failure(error)

        return guarded

    async def _chat(self, request: Request) -> Response:
        """Answer any method of `/api/chat`, of which GET has two meanings."""
        handler: UserHandler = _no_such_method
        failure: Failure = server_error
        match request.method:
            case "POST":
                handler = self._create_chat
            case "PUT":
                handler = self._update_chat
            case "DELETE":
                handler = self._delete_chat
            case "GET" if request.query_params.get("chat_id"):
                handler, failure = self._get_chat, lost
            case "GET":
                handler = self._list_chats
        return await self._guarded(handler, failure)(request)

    async def _create_chat(self, request: Request, user_id: str) -> Response:
        await read_object(request)
        # The website signs its users in at the inference server when they make their first chat.
        self._accounts.add(Account(user_id, "website", user_id, user_id))
        return json_response(self._assistant.create_chat(user_id).summary())

    async def _list_chats(self, request: Request, user_id: str) -> Response:
        query = request.query_params
        page = self._assistant.list_chats(
            user_id,
            limit=PAGE_SIZE,
            after=query.get("after"),
            before=query.get("before"),
            include_hidden=_read_flag(query.get("include_hidden")),
        )
        return json_response(page)

    async def _get_chat(self, request: Request, user_id: str) -> Response:
        return json_response(self._assistant.chat_json(user_id, request.query_params["chat_id"]))

    async def _update_chat(self, request: Request, user_id: str) -> Response:
        body = await read_object(request)
        self._assistant.update_chat(user_id, _id(body, "chat_id"), body)
        return bare_response(200)

    async def _delete_chat(self, request: Request, user_id: str) -> Response:
        self._assistant.delete_chat(user_id, request.query_params.get("chat_id", ""))
        return bare_response(200)

    async def _post_prompt(self, request: Request, user_id: str) -> Response:
        body = await read_object(request)
        return json_response(self._assistant.post_prompt(user_id, _id(body, "chat_id"), body).to_json())

    async def _post_answer(self, request: Request, user_id: str) -> Response:
        body = await read_object(request)
        self._limit.count(user_id)
        return json_response(self._assistant.post_answer(user_id, body).to_json())

    async def _get_message(self, request: Request, user_id: str) -> Response:
        query = request.query_params
        message = self._assistant.message(user_id, query.get("chat_id", ""), query.get("message_id", ""))
        return json_response(message.to_json())

    async def _vote(self, request: Request, user_id: str) -> Response:
        body = await read_object(request)
        score = body.get("score")
        # JavaScript's equality: 1.0 equals 1, but "1" and true do not.
        if type(score) not in (int, float) or score not in (-1, 0, 1):
            return text_response(400, "Invalid score")
        self._assistant.vote(user_id, _id(body, "message_id"), body)
        return json_response("")

    async def _evaluate(self, request: Request, user_id: str) -> Response:
        body = await read_object(request)
        self._assistant.evaluate(user_id, _id(body, "message_id"), body)
        return json_response("")

    async def _list_models(self, request: Request, user_id: str) -> Response:
        return json_response(self._models.to_json())

    async def _list_plugins(self, request: Request, user_id: str) -> Response:
        return json_response(self._plugins.builtin())

    async def _configure_plugin(self, request: Request, user_id: str) -> Response:
        return json_response(await self._plugins.configured((await read_object(request)).get("plugin")))

    async def _delete_account(self, request: Request, user_id: str) -> Response:
        if request.method != "DELETE":
            return bare_response(400)
        with contextlib.suppress(RefusalError):  # the inference server does not know users who have never made a chat
            self._accounts.delete(user_id)
        self._accounts.depart(user_id)
        return bare_response(200)

    async def _events(self, request: Request, user_id: str) -> Response:
        query = request.query_params
        job = self._assistant.job(user_id, query.get("chat_id", ""), query.get("message_id", ""))
        if job is None:
            return bare_response(200)
        workers = self._assistant.workers
        # NOTE: when its client leaves, the website does not hang up on the inference server, and goes on taking events
        # that the client may come back for.
        stream = EventStream(
            stream_events(job, workers, self._settings.pending_event_interval),
            ping=self._settings.ping_interval,
            ended=partial(workers.read_in_place_of, job),
        )
        # The website passes the events on without the headers that came with them.
        stream.raw_headers = list(CLOSING)
        return stream


def _id(body: dict[str, Any], name: str) -> str:
    """Return a chat's or message's id, which the website puts into a path unchecked."""
    return str(body.get(name)).encode(errors="replace").decode()


def _read_flag(value: str | None) -> bool:
    try:
        return read_boolean(value or "false")
    except InvalidError:
        raise BreakdownError(empty=False) from None


async def _no_such_method(request: Request, user_id: str) -> Response:
    return bare_response(404)
