"""
Every call but the streams makes of every recorded answer of the real servers what that says.

A recorded answer is served, byte for byte, to the public method that causes it, with the arguments of the recorded
request where those are ones that the method takes. What has to come of it is worked out here, from the recorded JSON.
"""

from __future__ import annotations

import gzip
import inspect
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest

from oa_client import (
    APIError,
    AsyncClient,
    AuthError,
    BusyError,
    CancelledReplyError,
    ChatInfo,
    ChatPage,
    Client,
    GenerationError,
    ModelInfo,
    NotFoundError,
    OAError,
    Plugin,
    PluginConfig,
    Preset,
    ProtocolError,
    RateLimitError,
    RequestError,
    Sampling,
    Timeout,
    UnsupportedError,
)
from tests.replay import Exchange, recordings
from tests.scripted import END_OF_HEAD, Connection, OpenAssistantScript, Request, ScriptedChat, message_json
from tests.test_replay import detail_of, message_of

#: Whether the chat is still there when the recorded answer has come.
World = Literal["there", "gone"]

CHAT_ID, PROMPT_ID, ANSWER_ID, OTHER_ID = "chat-0", "prompt-0", "answer-0", "answer-1"
PATIENCE = Timeout(connect=20, read=20, first_token=20)
FINAL_STATES = ("complete", "aborted_by_worker", "cancelled", "timeout")
ERROR_CLASSES: dict[int, type[APIError]] = {
    400: RequestError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    413: RequestError,
    422: RequestError,
    503: BusyError,
}
#: Those of which a failure may mean that their chat is gone.
OF_A_CHAT = ("update", "delete", "prompter", "assistant", "vote", "evaluate", "report")
WEBSITE = {
    ("POST", "/api/chat"): "create",
    ("PUT", "/api/chat"): "update",
    ("DELETE", "/api/chat"): "delete",
    ("POST", "/api/chat/prompter_message"): "prompter",
    ("POST", "/api/chat/assistant_message"): "assistant",
    ("GET", "/api/chat/message"): "message",
    ("POST", "/api/chat/vote"): "vote",
    ("POST", "/api/chat/message_eval"): "evaluate",
    ("GET", "/api/chat/models"): "models",
    ("GET", "/api/chat/plugins"): "plugins",
    ("POST", "/api/chat/plugin_config"): "plugin",
}
INFERENCE = {
    ("POST", "chats"): "create",
    ("GET", "chats"): "list",
    ("GET", "chats/*"): "get",
    ("PUT", "chats/*"): "update",
    ("DELETE", "chats/*"): "delete",
    ("POST", "chats/*/prompter_message"): "prompter",
    ("POST", "chats/*/assistant_message"): "assistant",
    ("GET", "chats/*/messages/*"): "message",
    ("POST", "chats/*/messages/*/votes"): "vote",
    ("POST", "chats/*/messages/*/message_evals"): "evaluate",
    ("POST", "chats/*/messages/*/reports"): "report",
    ("GET", "configs/model_configs"): "models",
    ("GET", "configs/builtin_plugins"): "plugins",
    ("POST", "configs/plugin_config"): "plugin",
}


def endpoint_of(surface: str, method: str, target: str) -> str | None:
    """Return what a request asks for, or None if no call that is tested here sends such."""
    path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
    if surface == "website":
        if (method, path) == ("GET", "/api/chat"):
            return "get" if "chat_id" in query else "list"
        return WEBSITE.get((method, path))
    if path == "/chats/hide_all":
        return None
    parts = path.split("/")[1:]
    # Every second part below the chats is an id.
    shape = [part if index % 2 == 0 else "*" for index, part in enumerate(parts)] if parts[0] == "chats" else parts
    return INFERENCE.get((method, "/".join(shape)))


def reason_for_leaving(exchange: Exchange) -> str | None:
    """Return why an exchange is not replayed here; None if it is."""
    path = urlsplit(exchange.target).path
    if exchange.route == "events":
        return "a stream: test_replay has it"
    if path.startswith(("/auth", "/account", "/admin", "/api/account")):
        # The place for those of accounts and signing in, when there are methods for them.
        return "an account's"
    if exchange.status == 304:
        return "only an answer to If-None-Match, which is never sent"
    if path.rstrip("/") != path:
        return "a redirect from an address that is never used"
    if endpoint_of(exchange.surface, exchange.method, exchange.target) is None:
        return "no request of this client: another method, another route, or hide_all, which does not work"
    return None


@dataclass(frozen=True)
class Case:
    """A recorded answer, and what becomes of its chat."""

    exchange: Exchange
    world: World = "there"

    @property
    def endpoint(self) -> str:
        """What was asked for."""
        endpoint = endpoint_of(self.exchange.surface, self.exchange.method, self.exchange.target)
        assert endpoint is not None
        return endpoint

    @property
    def outcome(self) -> tuple[str, str, int, World]:
        """What it is one of a kind of."""
        return self.exchange.surface, self.endpoint, self.exchange.status, self.world

    @property
    def body(self) -> dict[str, Any]:
        """What was sent with the recorded request; nothing if it was broken."""
        try:
            data = json.loads(self.exchange.request_body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def query(self) -> dict[str, str]:
        """What the recorded request asked for in its address."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.exchange.target).query).items()}

    @property
    def chat_id(self) -> str:
        """The chat: that of the recorded message, as the client takes no message of another for its answer."""
        return str(self.json["chat_id"]) if self.endpoint == "message" and self.exchange.status == 200 else CHAT_ID

    @property
    def is_prompt(self) -> bool:
        """Whether the recorded message is a prompt, which is no answer to anybody."""
        return self.endpoint == "message" and self.exchange.status == 200 and self.json["role"] == "prompter"

    @property
    def is_passing(self) -> bool:
        """Whether it is the state of a message, or trouble with it, that is waited out."""
        if self.endpoint != "message" or self.world == "gone" or self.is_prompt:
            return False
        return self.exchange.status == 500 or self.json["state"] not in FINAL_STATES

    @property
    def json(self) -> Any:
        """What the recorded answer says."""
        body = self.exchange.body
        head = self.exchange.raw.partition(END_OF_HEAD)[0].lower()
        return json.loads(gzip.decompress(body) if b"content-encoding: gzip" in head else body)


EXCHANGES = [exchange for recording in recordings() for exchange in recording.exchanges]
CASES = [Case(exchange) for exchange in EXCHANGES if reason_for_leaving(exchange) is None]
CASES += [
    Case(case.exchange, "gone")
    for case in CASES
    if case.endpoint in (*OF_A_CHAT, "message") and case.exchange.status in (404, 500)
]
ONE_OF_EACH = list({case.outcome: case for case in CASES}.values())


class CallServer(OpenAssistantScript):
    """
    A server that answers one endpoint with recorded bytes, and the others as ever.

    Attributes:
        asked: the requests that got the recorded answer.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case.exchange.surface)
        self.asked: list[Request] = []
        self._case = case
        chat = ScriptedChat(case.chat_id)
        for message_id, parent_id, changes in (
            (PROMPT_ID, None, {"role": "prompter", "state": "manual", "content": "Zero"}),
            (ANSWER_ID, PROMPT_ID, {"state": "complete", "content": "Hello"}),
            (OTHER_ID, PROMPT_ID, {"state": "complete", "content": "Hello"}),
        ):
            chat.messages[message_id] = message_json(message_id, case.chat_id, parent_id, **changes)
        if case.endpoint == "assistant" and case.exchange.status == 200:
            made = case.json
            chat.messages[made["id"]] = made | {"chat_id": CHAT_ID}
        if case.endpoint == "message":
            # So that the message has to be asked for.
            self.on_events = lambda connection, _: self.send_text(connection, "", 200)
            self.message_state = "complete"
            if case.exchange.status == 200:
                self.assistant_ids = iter([case.json["id"]])
        self.chats[case.chat_id] = chat

    def _answer(self, connection: Connection, request: Request) -> None:
        case = self._case
        is_it = endpoint_of(self.surface, request.method, request.target) == case.endpoint
        if not is_it or (self.asked and case.is_passing):
            super()._answer(connection, request)
            return
        with self.update():
            self.asked.append(request)
            self.chats[case.chat_id].deleted = case.world == "gone"
        for piece in case.exchange.reads:
            connection.send(piece)


async def _now(value: Any) -> Any:
    """Wait for what only async methods make one wait for."""
    return await value if inspect.isawaitable(value) else value


async def _first(pages: Any) -> ChatPage | None:
    """Return the first of the pages."""
    if not hasattr(pages, "__anext__"):
        page: ChatPage | None = next(pages, None)
        return page
    async for page in pages:
        return page
    return None


async def _pieces(stream: Any) -> Any:
    """Open a stream, and return the ids that it has then."""
    if hasattr(stream, "__aenter__"):
        async with stream:
            return stream.message_id
    with stream:
        return stream.message_id


async def call(client: Any, case: Case) -> Any:
    """Do what causes the recorded request, as far as that can be done at all, and return what comes of it."""
    body, query = case.body, case.query
    match case.endpoint:
        case "create":
            return (await _now(client.create_chat())).id
        case "list":
            after, before = query.get("after"), query.get("before")
            if after and before:
                before = None
            hidden = query.get("include_hidden") == "true"
            return await _first(client.list_chats(after=after, before=before, include_hidden=hidden).pages())
        case "models":
            return await _now(client.list_models())
        case "plugins":
            return await _now(client.list_plugins())
        case "plugin":
            return await _now(client.get_plugin(body.get("url") or body.get("plugin", {}).get("url") or "http://x"))
    chat = await _now(client.open_chat(case.chat_id))
    match case.endpoint:
        case "get":
            return await _now(chat.info()), await _now(chat.messages())
        case "update":
            if body.get("active_thread_tail_message_id"):
                return await _now(chat.select(ANSWER_ID))
            if "allow_data_use" in body:
                return await _now(chat.allow_data_use(body["allow_data_use"]))
            if isinstance(body.get("title"), str) and len(body["title"]) <= 100:
                return await _now(chat.rename(body["title"]))
            return await _now(chat.show() if body.get("hidden") is False else chat.hide())
        case "delete":
            return await _now(chat.delete())
        case "prompter":
            await _now(chat.ask("Hi"))
            return None
        case "assistant":
            return await _pieces(chat.stream("Hi"))
        case "message":
            return await _now(chat.ask("Hi"))
        case "vote":
            score = body.get("score")
            return await _now(chat.vote(ANSWER_ID, score if type(score) is int and -1 <= score <= 1 else 0))
        case "evaluate":
            return await _now(chat.evaluate(ANSWER_ID, [OTHER_ID]))
        case "report":
            reason, kind = body.get("reason") or "bad", body.get("report_type")
            kinds = ("spam", "offensive", "feedback")
            return await _now(chat.report(ANSWER_ID, reason, kind if kind in kinds else "spam"))
    raise AssertionError(case.endpoint)


# What has to come of it.


def time_of(text: str) -> datetime:
    """Read a recorded time."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def chat_of(data: dict[str, Any]) -> ChatInfo:
    """Return the chat that the client must make of a recorded one."""
    fields = {name: value for name, value in data.items() if name != "messages"}
    times = {name: time_of(data[name]) for name in ("created_at", "modified_at")}
    return ChatInfo(**{**fields, **times})


def plugin_of(data: dict[str, Any]) -> Plugin:
    """Return the plugin that the client must make of a recorded one."""
    return Plugin(data["url"], data["enabled"], data["trusted"], PluginConfig(**data["plugin_config"]))


def model_of(data: dict[str, Any]) -> ModelInfo:
    """Return the model that the client must make of a recorded one."""
    presets = [
        Preset(item["name"], Sampling(**item["sampling_parameters"]), item["description"])
        for item in data["parameter_configs"]
    ]
    return ModelInfo(data["name"], data["description"], tuple(presets))


def tree_order(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return recorded messages with the parents first, and otherwise by time and id."""
    left = sorted(messages, key=lambda item: (time_of(item["created_at"]), item["id"]))
    placed: list[dict[str, Any]] = []
    while left:
        known = {item["id"] for item in placed}
        chosen = next(item for item in left if item["parent_id"] is None or item["parent_id"] in known)
        placed.append(chosen)
        left.remove(chosen)
    return placed


def expected_value(case: Case) -> Any:
    """Return what the method has to return for an answer that is no error."""
    if case.endpoint in ("update", "prompter", "vote", "evaluate", "report"):
        return None
    if case.endpoint == "delete":
        return True
    data = case.json
    match case.endpoint:
        case "create" | "assistant":
            return data["id"]
        case "list":
            return ChatPage(tuple(map(chat_of, data["chats"])), data["next"], data["prev"]) if data["chats"] else None
        case "message":
            return message_of(data)
        case "get":
            return chat_of(data), [message_of(item) for item in tree_order(data["messages"])]
        case "models":
            return [model_of(item) for item in data]
        case "plugins":
            return [plugin_of(item) for item in data]
        case "plugin":
            return plugin_of(data)
    raise AssertionError(case.endpoint)


def expected_class(case: Case) -> type[OAError]:
    """Return the class of the error that has to come of it."""
    status = case.exchange.status
    if case.is_prompt:
        return ProtocolError
    if case.endpoint == "message":
        # What the stream whose message it is makes of it.
        is_aborted = status == 200 and case.json["state"] == "aborted_by_worker"
        return GenerationError if is_aborted else CancelledReplyError
    if case.world == "gone":
        return NotFoundError
    if case.endpoint == "assistant" and status == 500:
        return RateLimitError
    return ERROR_CLASSES.get(status, APIError)


def make_client(kind: type[Client] | type[AsyncClient], server: CallServer) -> Any:
    """Make a client of a server that gives up soon."""
    return kind(server.url, **server.credentials, max_retries=0, timeout=PATIENCE)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what waits for nothing, since it uses the blocking client."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


async def check(client: Any, case: Case, server: CallServer) -> None:
    """Make the call, and compare what comes of it with what has to."""
    exchange = case.exchange
    if case.is_passing:
        assert "Hello world" == str(await call(client, case))
    elif exchange.status < 400 and (case.endpoint != "message" or case.json["state"] == "complete"):
        assert expected_value(case) == await call(client, case)
    else:
        with pytest.raises(OAError) as caught:
            await call(client, case)
        check_error(caught.value, case)
        if isinstance(caught.value, APIError):
            assert urlsplit(server.asked[0].target).path == caught.value.path
    assert server.asked


def check_error(error: OAError, case: Case) -> None:
    """Compare an error with what has to come."""
    assert expected_class(case) is type(error)
    if isinstance(error, CancelledReplyError):
        assert ("deleted" if case.world == "gone" else case.json["state"]) == error.reason
    if isinstance(error, APIError):
        detail = detail_of(case.exchange)
        assert (case.exchange.status, detail) == (error.status, error.detail)
        assert (detail if isinstance(detail, str) else detail[0]["msg"]) in str(error)


def by_id(case: Case) -> str:
    """Name a parameter."""
    return f"{case.exchange.id}-{case.endpoint}-{case.world}"


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_recorded_answer(case: Case) -> None:
    """The method returns what the recorded answer says, or raises the class of its status with its own words."""
    with CallServer(case) as server, make_client(Client, server) as client:
        run(check(client, case, server))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=by_id)
async def test_recorded_answer_for_async_code(case: Case, anyio_backend: str) -> None:
    """The async methods make the same of one answer of each kind."""
    with CallServer(case) as server:
        async with make_client(AsyncClient, server) as client:
            await check(client, case, server)


def sent(case: Case) -> Any:
    """Return what the recorded request says, with the ids of the test in the place of its own."""
    body = dict(case.body)
    names = {"chat_id": CHAT_ID, "message_id": ANSWER_ID, "active_thread_tail_message_id": ANSWER_ID}
    body.update({name: value for name, value in names.items() if name in body})
    if "inferior_message_ids" in body:
        body["inferior_message_ids"] = [OTHER_ID]
    return body


REPEATABLE = [
    case
    for case in CASES
    if case.exchange.status == 200
    and case.endpoint in ("update", "vote", "evaluate", "report", "plugin", "delete", "list", "models", "plugins")
    # What a user cannot ask for: the odd requests of the recordings.
    and not {"foo"} & case.body.keys()
    and case.body.get("title", "") is not None
    and set(case.body) != {"chat_id"}
    and not (case.endpoint == "update" and not case.body)
    and type(case.body.get("score", 0)) is int
    and not {"limit"} & case.query.keys()
    and case.query.get("include_hidden") != "false"
]


@pytest.mark.parametrize("case", REPEATABLE, ids=by_id)
def test_request_is_as_recorded(case: Case) -> None:
    """The method sends what the recorded request says: method, query and body, but for ids and the size of pages."""
    with CallServer(case) as server, make_client(Client, server) as client:
        run(call(client, case))
        request = server.asked[0]

    query = {name: value for name, value in request.query.items() if name != "limit"}
    expected_query = {name: CHAT_ID if name == "chat_id" else value for name, value in case.query.items()}
    assert (case.exchange.method, expected_query) == (request.method, query)
    assert sent(case) == (request.json() if request.body else {})


def test_nothing_is_left_out() -> None:
    """Each recorded exchange is replayed, here or elsewhere, or has a reason not to be: as many as there were."""
    replayed = Counter(str(case.exchange.surface) for case in CASES if case.world == "there")
    left = Counter(reason.partition(":")[0] for item in EXCHANGES if (reason := reason_for_leaving(item)))

    assert {"inference": 276, "website": 278} == replayed
    assert {
        "an account's": 42,
        "a stream": 174,
        "no request of this client": 14,
        "a redirect from an address that is never used": 2,
        "only an answer to If-None-Match, which is never sent": 1,
    } == left


def test_every_kind_of_outcome() -> None:
    """Each status that was recorded of an endpoint is replayed."""
    kinds: dict[str, dict[str, set[int]]] = {"website": {}, "inference": {}}
    for surface, endpoint, status, _ in (case.outcome for case in CASES):
        kinds[surface].setdefault(endpoint, set()).add(status)

    assert {
        "website": {
            "assistant": {200, 400, 403, 404, 422, 500},
            "create": {200, 400, 403, 404, 500},
            "delete": {200, 500},
            "evaluate": {200, 500},
            "get": {200, 404, 500},
            "list": {200, 403, 404, 500},
            "message": {200, 500},
            "models": {200, 403, 404, 500},
            "plugin": {200, 500},
            "plugins": {200, 403, 500},
            "prompter": {200, 400, 403, 404, 413, 422, 500},
            "update": {200, 500},
            "vote": {200, 400, 404, 500},
        },
        "inference": {
            "assistant": {200, 400, 401, 403, 422, 500},
            "create": {200, 404, 422},
            "delete": {200, 404},
            "evaluate": {200, 422, 500},
            "get": {200, 404},
            "list": {200, 400, 401, 403, 422, 500},
            "message": {200, 500},
            "models": {200},
            "plugin": {200, 404, 422, 500},
            "plugins": {200},
            "prompter": {200, 400, 413, 422, 500},
            "report": {200, 422, 500},
            "update": {200, 422, 500},
            "vote": {200, 422, 500},
        },
    } == kinds


def test_report_on_the_website() -> None:
    """The website has no route for reports, and that is said before anything is sent."""
    with OpenAssistantScript("website") as server, Client(server.url, **server.credentials) as client:
        chat = client.create_chat()
        with pytest.raises(UnsupportedError, match="vote"):
            chat.report(ANSWER_ID, "bad")

    assert ["create"] == server.calls
