"""Paths, queries and bodies of both surfaces, and what is made of answers and arguments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests

from oa_client import (
    APIError,
    AuthError,
    BusyError,
    ChatInfo,
    ConfigurationError,
    Message,
    ModelInfo,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    RequestError,
)
from oa_client._transcripts.transcript import Transcript
from oa_client._values.question import Question
from oa_client._wire.call import Call
from oa_client._wire.inference import Inference
from oa_client._wire.limits import ID_LIMIT
from oa_client._wire.refusal import advice, error_class, error_detail
from oa_client._wire.surface import DEFAULT_MODEL, DELETABLE_STATES, FINAL_STATES, Surface, check_size
from oa_client._wire.website import WEBSITE_BODY_LIMIT, Website

NO_CHATS: list[Any] = [None, [], {}, {"messages": None}, {"messages": {}}, "x", 5]
NO_MODELS: list[Any] = [None, {}, "x", 5, [1], [None]]
TRANSCRIPTS = Path(__file__).parent / "transcripts"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WEBSITE, INFERENCE = Website(), Inference()
SURFACES: dict[str, Surface] = {"website": WEBSITE, "inference": INFERENCE}
BOTH = [pytest.param(item, id=name) for name, item in SURFACES.items()]
QUESTION = Question("Why?", "model", {"top_k": 50}, [{"url": "http://plugin"}])
QUESTION_JSON = {
    "parent_id": "p1",
    "model_config_name": "model",
    "sampling_parameters": {"top_k": 50},
    "plugins": [{"url": "http://plugin"}],
}
PROMPT_JSON = {"parent_id": None, "content": "Why?"}
IDS = {"chat_id": "c1", "message_id": "m1"}
CALLS = [
    pytest.param(INFERENCE.create_chat(), "POST", "/chats", None, {}, id="inference create"),
    pytest.param(INFERENCE.get_chat("c1"), "GET", "/chats/c1", None, None, id="inference get chat"),
    pytest.param(
        INFERENCE.update_chat("c1", hidden=True), "PUT", "/chats/c1", None, {"hidden": True}, id="inference update"
    ),
    pytest.param(INFERENCE.delete_chat("c1"), "DELETE", "/chats/c1", None, None, id="inference delete"),
    pytest.param(
        INFERENCE.post_prompt("c1", None, "Why?"),
        "POST",
        "/chats/c1/prompter_message",
        None,
        PROMPT_JSON,
        id="inference prompter",
    ),
    pytest.param(
        INFERENCE.post_assistant("c1", "p1", QUESTION),
        "POST",
        "/chats/c1/assistant_message",
        None,
        QUESTION_JSON,
        id="inference assistant",
    ),
    pytest.param(
        INFERENCE.get_message("c1", "m1"), "GET", "/chats/c1/messages/m1", None, None, id="inference get message"
    ),
    pytest.param(
        INFERENCE.open_events("c1", "m1"), "GET", "/chats/c1/messages/m1/events", None, None, id="inference events"
    ),
    pytest.param(INFERENCE.list_models(), "GET", "/configs/model_configs", None, None, id="inference models"),
    pytest.param(WEBSITE.create_chat(), "POST", "/api/chat", None, None, id="website create"),
    pytest.param(WEBSITE.get_chat("c1"), "GET", "/api/chat", {"chat_id": "c1"}, None, id="website get chat"),
    pytest.param(
        WEBSITE.update_chat("c1", title="t"),
        "PUT",
        "/api/chat",
        None,
        {"chat_id": "c1", "title": "t"},
        id="website update",
    ),
    pytest.param(WEBSITE.delete_chat("c1"), "DELETE", "/api/chat", {"chat_id": "c1"}, None, id="website delete"),
    pytest.param(
        WEBSITE.post_prompt("c1", "p0", "Why?"),
        "POST",
        "/api/chat/prompter_message",
        None,
        {"chat_id": "c1", "parent_id": "p0", "content": "Why?"},
        id="website prompter",
    ),
    pytest.param(
        WEBSITE.post_assistant("c1", "p1", QUESTION),
        "POST",
        "/api/chat/assistant_message",
        None,
        {"chat_id": "c1", **QUESTION_JSON},
        id="website assistant",
    ),
    pytest.param(WEBSITE.get_message("c1", "m1"), "GET", "/api/chat/message", IDS, None, id="website get message"),
    pytest.param(WEBSITE.open_events("c1", "m1"), "GET", "/api/chat/events", IDS, None, id="website events"),
    pytest.param(WEBSITE.list_models(), "GET", "/api/chat/models", None, None, id="website models"),
]


@pytest.mark.parametrize(("call", "method", "path", "query", "body"), CALLS)
def test_calls(call: Call[Any], method: str, path: str, query: Any, body: Any) -> None:
    """Each call has the method, path, query and body of the protocol."""
    assert (method, path, query, body) == (call.method, call.path, call.query, call.body)


@pytest.mark.parametrize(("call", "method", "path", "query", "body"), CALLS)
def test_what_may_be_repeated(call: Call[Any], method: str, path: str, query: Any, body: Any) -> None:
    """Only a GET that is no event stream changes nothing."""
    assert (method == "GET" and "events" not in path) is call.is_read


@pytest.mark.parametrize(("call", "method", "path", "query", "body"), CALLS)
def test_body_limits(call: Call[Any], method: str, path: str, query: Any, body: Any) -> None:
    """The website's message posts are bounded by what its server takes, and nothing else is."""
    expected = WEBSITE_BODY_LIMIT if path.startswith("/api") and path.endswith("_message") else None

    assert expected == call.body_limit


def test_body_as_it_is_sent() -> None:
    """A body is sent as JSON in UTF-8, and a call without one sends nothing."""
    body = WEBSITE.post_prompt("c1", None, "\u00e9\U0001f642\n").encode()

    assert '{"chat_id": "c1", "content": "\u00e9\U0001f642\\n", "parent_id": null}'.encode() == body
    assert WEBSITE.create_chat().encode() is None
    assert b"{}" == INFERENCE.create_chat().encode()


def test_body_of_the_limit() -> None:
    """A body of a byte less than the limit is sent; one of the limit is refused, and the error says how long it is."""
    overhead = len(WEBSITE.post_prompt("c1", None, "").encode() or b"")
    longest = WEBSITE.post_prompt("c1", None, "x" * (WEBSITE_BODY_LIMIT - overhead - 1))

    assert WEBSITE_BODY_LIMIT - 1 == len(longest.encode() or b"")
    with pytest.raises(ConfigurationError, match=f"too long: it has {WEBSITE_BODY_LIMIT} bytes"):
        WEBSITE.post_prompt("c1", None, "x" * (WEBSITE_BODY_LIMIT - overhead)).encode()


def test_size_of_a_question() -> None:
    """Only the website bounds a question, whose prompt and instructions are counted in bytes and one by one."""
    half, whole = "\u00e9" * (WEBSITE_BODY_LIMIT // 4), "\u00e9" * (WEBSITE_BODY_LIMIT // 2)
    check_size(WEBSITE, replace(QUESTION, prompt=half, system_prompt=half))
    check_size(INFERENCE, replace(QUESTION, prompt=whole, system_prompt=whole))

    for question in (replace(QUESTION, prompt=whole), replace(QUESTION, user_profile=whole)):
        with pytest.raises(ConfigurationError, match="too long"):
            check_size(WEBSITE, question)


CIRCLE: dict[str, Any] = {"url": "http://plugin"}
CIRCLE["plugin_config"] = CIRCLE


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(replace(QUESTION, plugins=[{"url": "u", "plugin_config": object()}]), id="plugin with an object"),
        pytest.param(replace(QUESTION, plugins=[{"url": "u", "plugin_config": math.nan}]), id="plugin with NaN"),
        pytest.param(replace(QUESTION, plugins=[{"url": "\ud83d"}]), id="plugin with half a pair"),
        pytest.param(replace(QUESTION, plugins=[CIRCLE]), id="plugin in a circle"),
        pytest.param(replace(QUESTION, model="\ud83d"), id="model with half a pair"),
        pytest.param(replace(QUESTION, sampling={"top_k": 10**5000}), id="sampling with a huge number"),
    ],
)
def test_question_that_json_cannot_write(question: Question) -> None:
    """An argument that cannot be sent as JSON is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        check_size(INFERENCE, question)


@pytest.mark.parametrize("surface", BOTH)
def test_instructions(surface: Surface) -> None:
    """The three instructions have the server's names, and an empty one is sent."""
    question = Question("Why?", "model", {}, [], system_prompt="s", user_profile="", response_instructions="r")

    call = surface.post_assistant("c1", "p1", question)

    instructions = {"system_prompt": "s", "user_profile": "", "user_response_instructions": "r"}
    values = {"parent_id": "p1", "model_config_name": "model", "sampling_parameters": {}, "plugins": []}
    assert values | instructions == {name: value for name, value in (call.body or {}).items() if name != "chat_id"}


def test_states() -> None:
    """An answer that is written, given up or late is out of the queue; one that is cancelled may still be in it."""
    assert {"complete", "aborted_by_worker", "timeout"} == DELETABLE_STATES
    assert {"complete", "aborted_by_worker", "cancelled", "timeout"} == FINAL_STATES
    assert DEFAULT_MODEL == "OA_SFT_Llama_30B_6"


def recorded_requests() -> Iterator[Any]:
    """Yield each kind of accepted request in the recordings that a call of ours stands for."""
    seen = set()
    for path in sorted(TRANSCRIPTS.glob("*/*.json")):
        surface = path.parent.name
        for step in json.loads(path.read_text(encoding="utf-8"))["steps"]:
            if step.get("response", {}).get("status") != 200:
                continue
            method, target, _ = step["request"]["line"].split(" ")
            try:
                body = json.loads(step["request"]["body"] or "null")
            except ValueError:
                continue
            kind = (surface, method, ID.sub("*", target), body if body is None else tuple(body))
            if kind in seen:
                continue
            seen.add(kind)
            call = rebuild(SURFACES[surface], method, target, body)
            if call is not None:
                yield pytest.param(call, method, target, body, id=f"{surface}-{path.stem}-{step['n']}")


def rebuild(surface: Surface, method: str, target: str, body: Any) -> Call[Any] | None:
    """Make the call that stands for a recorded request, None if there is none."""
    ids = [*ID.findall(target), *((body["chat_id"],) if isinstance(body, dict) and "chat_id" in body else ())]
    known = {
        "POST /chats/*/prompter_message",
        "POST /api/chat/prompter_message",
        "POST /chats/*/assistant_message",
        "POST /api/chat/assistant_message",
    }
    shape = f"{method} {ID.sub('*', target)}"
    if shape in known and body.keys() - {"chat_id"} == {"parent_id", "content"}:
        return surface.post_prompt(ids[0], body["parent_id"], body["content"])
    if shape in known and {"parent_id", "sampling_parameters", "plugins"} <= body.keys():
        question = Question(
            "",
            body["model_config_name"],
            body["sampling_parameters"],
            body["plugins"],
            system_prompt=body.get("system_prompt"),
            user_profile=body.get("user_profile"),
            response_instructions=body.get("user_response_instructions"),
        )
        unknown = body.keys() - {"chat_id", *question.to_json("p1"), "system_prompt", "user_profile"}
        return None if unknown else surface.post_assistant(ids[0], body["parent_id"], question)
    if method == "PUT" and shape in ("PUT /chats/*", "PUT /api/chat"):
        return surface.update_chat(ids[0], **{name: value for name, value in body.items() if name != "chat_id"})
    if shape in ("POST /chats/*/messages/*/votes", "POST /api/chat/vote"):
        return surface.vote(*message_of(ids, body), body["score"])
    if shape in ("POST /chats/*/messages/*/message_evals", "POST /api/chat/message_eval"):
        return surface.evaluate(*message_of(ids, body), body["inferior_message_ids"])
    if shape == "POST /chats/*/messages/*/reports":
        return surface.report(*message_of(ids, body), body["report_type"], body["reason"])
    if shape in ("POST /configs/plugin_config", "POST /api/chat/plugin_config"):
        return surface.get_plugin(body["url"] if "url" in body else body["plugin"]["url"])
    path, _, query = target.partition("?")
    if method == "GET" and path in ("/chats", "/api/chat") and "chat_id" not in query:
        return rebuild_list(surface, dict(parse_qsl(query)))
    makers = {
        "POST /chats": surface.create_chat if body == {} else None,
        "POST /api/chat": surface.create_chat if body is None else None,
        "GET /chats/*": surface.get_chat,
        "GET /api/chat?chat_id=*": surface.get_chat,
        "DELETE /chats/*": surface.delete_chat,
        "DELETE /api/chat?chat_id=*": surface.delete_chat,
        "GET /chats/*/messages/*": surface.get_message,
        "GET /api/chat/message?chat_id=*&message_id=*": surface.get_message,
        "GET /chats/*/messages/*/events": surface.open_events,
        "GET /api/chat/events?chat_id=*&message_id=*": surface.open_events,
        "GET /configs/model_configs": surface.list_models,
        "GET /api/chat/models": surface.list_models,
        "GET /configs/builtin_plugins": surface.list_plugins,
        "GET /api/chat/plugins": surface.list_plugins,
    }
    maker: Any = makers.get(shape)
    return maker(*ids) if maker is not None else None


def message_of(ids: list[str], body: dict[str, Any]) -> tuple[str, str]:
    """Return the ids of a message and its chat, which are in the path or in the body."""
    return (body["chat_id"], body["message_id"]) if "message_id" in body else (ids[0], ids[1])


def rebuild_list(surface: Surface, query: dict[str, str]) -> Call[Any] | None:
    """Make the call that asks for a page of chats as a query does, None if none of ours does."""
    size = {"limit": "100"} if surface is INFERENCE else {}
    after, before = query.get("after"), query.get("before")
    call = surface.list_chats(after, before, query.get("include_hidden") == "true")
    return call if query == call.query and query.keys() >= size.keys() else None


RECORDED = list(recorded_requests())


@pytest.mark.parametrize(("call", "method", "target", "body"), RECORDED)
def test_calls_against_the_recordings(call: Call[Any], method: str, target: str, body: Any) -> None:
    """A call is the request that the real server answered with 200."""
    request = requests.Request(call.method, f"http://host{call.path}", params=call.query).prepare()

    assert (method, target) == (request.method, request.path_url)
    assert body == call.body


@pytest.mark.parametrize("surface", list(SURFACES))
def test_recordings_hold_every_call(surface: str) -> None:
    """Each call of a surface is compared with at least one recording."""
    compared = {(item.values[0].method, item.values[0].path) for item in RECORDED if item.id.startswith(surface)}

    # On the website a chat is read where chats are listed, and it takes no reports.
    assert {"website": 13, "inference": 15}[surface] == len({(method, ID.sub("*", path)) for method, path in compared})


HOSTILE = [
    pytest.param(value, id=repr(value))
    for value in (
        "a/b",
        "../admin",
        "a?b=c",
        "a#b",
        "%2e%2e",
        "a b",
        "a&chat_id=b",
        "é",
        "a;b",
        "a\\b",
        "a+b",
        ".a.",
        "@",
    )
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids_in_paths(hostile: str) -> None:
    """An id is one segment of the path, whatever is in it, also after requests has had its way."""
    paths = {
        call.path: requests.Request("GET", f"http://host{call.path}").prepare().path_url
        for call in (INFERENCE.get_chat(hostile), INFERENCE.open_events(hostile, hostile))
    }

    for path, sent in paths.items():
        segments = sent.split("/")
        assert segments[2] == segments[-2 if path.endswith("events") else -1]
        assert hostile == unquote(segments[2])
        assert len(segments) in (3, 6)
        assert not urlsplit(sent).query


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids_in_queries(hostile: str) -> None:
    """An id is one value of the query, whatever is in it."""
    call = WEBSITE.open_events(hostile, "m1")

    sent = requests.Request("GET", f"http://host{call.path}", params=call.query).prepare().path_url

    path, _, query = sent.partition("?")
    assert call.path == path
    assert [("chat_id", hostile), ("message_id", "m1")] == parse_qsl(query)


MAKERS = [
    pytest.param(maker, id=f"{name} {kind}")
    for name, item in SURFACES.items()
    for kind, maker in {
        "chat": item.create_chat(),
        "prompt": item.post_prompt("c1", None, "a"),
        "assistant": item.post_assistant("c1", "p1", QUESTION),
    }.items()
]


@pytest.mark.parametrize("call", MAKERS)
def test_good_id(call: Call[str]) -> None:
    """The id of what was made is given back as it came, other fields aside."""
    assert "06b030aa-b04f" == call.parse({"id": "06b030aa-b04f", "title": None})
    assert "x" * ID_LIMIT == call.parse({"id": "x" * ID_LIMIT})


@pytest.mark.parametrize("call", MAKERS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="empty body"),
        pytest.param([], id="list"),
        pytest.param("c1", id="string"),
        pytest.param({}, id="no id"),
        pytest.param({"id": None}, id="null"),
        pytest.param({"id": 5}, id="number"),
        pytest.param({"id": True}, id="boolean"),
        pytest.param({"id": ["c1"]}, id="in a list"),
        pytest.param({"id": ""}, id="empty"),
        pytest.param({"id": "."}, id="dot"),
        pytest.param({"id": ".."}, id="two dots"),
        pytest.param({"id": "a\r\nX: y"}, id="line end"),
        pytest.param({"id": "a\0"}, id="NUL"),
        pytest.param({"id": "\x1b[31m"}, id="terminal escape"),
        pytest.param({"id": "\u202eab"}, id="text direction"),
        pytest.param({"id": "\ud83d"}, id="half a pair"),
        pytest.param({"id": "x" * (ID_LIMIT + 1)}, id="too long"),
    ],
)
def test_ids_that_cannot_be(call: Call[str], data: Any) -> None:
    """An answer without an id that can go into a path is refused."""
    with pytest.raises(ProtocolError, match="id"):
        call.parse(data)


@pytest.mark.parametrize("surface", BOTH)
def test_answers(surface: Surface) -> None:
    """Chats, messages and models are read from their JSON, and what says nothing is ignored."""
    messages = [{"id": "m1", "content": "a"}, {"id": "m0"}]

    chat = surface.get_chat("c1").parse({"id": "c1", "messages": messages})
    assert Transcript(ChatInfo("c1"), (Message("m1", "a"), Message("m0"))) == chat
    assert Message("m1", "a") == surface.get_message("c1", "m1").parse(messages[0])
    assert [ModelInfo("m")] == surface.list_models().parse([{"name": "m"}])
    nothing: list[Any] = [None, "", {}]
    for call in (surface.delete_chat("c1"), surface.update_chat("c1")):
        assert [None, None, None] == list(map(call.parse, nothing))


@pytest.mark.parametrize("surface", BOTH)
@pytest.mark.parametrize(
    "data",
    [pytest.param(value, id=json.dumps(value)) for value in NO_CHATS],
)
def test_malformed_chat(surface: Surface, data: Any) -> None:
    """A chat without a list of messages is refused."""
    with pytest.raises(ProtocolError, match="messages"):
        surface.get_chat("c1").parse(data)


@pytest.mark.parametrize("surface", BOTH)
@pytest.mark.parametrize("data", [pytest.param(value, id=json.dumps(value)) for value in NO_MODELS])
def test_malformed_list_of_models(surface: Surface, data: Any) -> None:
    """What is no list of models is refused."""
    with pytest.raises(ProtocolError, match="model"):
        surface.list_models().parse(data)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (300, APIError),
        (307, APIError),
        (400, RequestError),
        (401, AuthError),
        (403, AuthError),
        (404, NotFoundError),
        (405, APIError),
        (413, RequestError),
        (422, RequestError),
        (429, RateLimitError),
        (500, APIError),
        (502, APIError),
        (503, BusyError),
        (504, APIError),
        (999, APIError),
    ],
)
def test_class_of_a_status(status: int, expected: type[APIError]) -> None:
    """A status has the class that is promised, and any other has their base."""
    assert expected is error_class(status)


@pytest.mark.parametrize(
    ("status", "surface", "words"),
    [
        pytest.param(401, WEBSITE, "cookies=", id="website 401"),
        pytest.param(403, WEBSITE, "cookies=", id="website 403"),
        pytest.param(401, WEBSITE, "`oa-client login URL`", id="website's command"),
        pytest.param(401, INFERENCE, "token=", id="inference 401"),
        pytest.param(401, INFERENCE, "`oa-client login URL`", id="inference server's command"),
        pytest.param(422, INFERENCE, "`oa-client models`", id="422"),
        pytest.param(403, INFERENCE, "token=", id="inference 403"),
        pytest.param(404, WEBSITE, "base_url", id="404"),
        pytest.param(503, INFERENCE, "try again", id="503"),
    ],
)
def test_advice(status: int, surface: Surface, words: str) -> None:
    """The advice names the argument of the surface in use."""
    assert words in advice(status, surface, True)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_advice_without_credentials(status: int) -> None:
    """Who forgot the credentials is told which there are, and where such a call goes."""
    assert "no credentials are given" in advice(status, WEBSITE, False)
    assert "`oa-client login URL`" in advice(status, WEBSITE, False)


@pytest.mark.parametrize("status", [200, 302, 400, 418])
def test_no_advice(status: int) -> None:
    """Where there is nothing to say, nothing is said."""
    assert "" == advice(status, WEBSITE, True)


FIELD_LIST = [{"loc": ["body", "x"], "msg": "m", "type": "t"}]


@pytest.mark.parametrize(
    ("data", "text", "detail"),
    [
        pytest.param({"message": "a"}, "text", "a", id="website"),
        pytest.param({"detail": "a"}, "text", "a", id="inference"),
        pytest.param({"message": FIELD_LIST}, "text", FIELD_LIST, id="website fields"),
        pytest.param({"detail": FIELD_LIST}, "text", FIELD_LIST, id="inference fields"),
        pytest.param({"message": "", "detail": "b"}, "text", "", id="empty message"),
        pytest.param({"message": None, "detail": "b"}, "text", "b", id="message null"),
        pytest.param({"message": {"a": 1}}, "text", "text", id="message object"),
        pytest.param({"detail": 5}, "text", "text", id="detail number"),
        pytest.param({"error": "a"}, "text", "text", id="other key"),
        pytest.param(["a"], "text", "text", id="list"),
        pytest.param("a", '"a"', '"a"', id="string"),
        pytest.param(None, "Internal Server Error", "Internal Server Error", id="plain text"),
        pytest.param(None, "", "", id="nothing"),
    ],
)
def test_error_detail(data: Any, text: str, detail: Any) -> None:
    """The server's explanation is its own value, and where it has no place of its own the whole text."""
    assert detail == error_detail(data, text)


@pytest.mark.parametrize("surface", [WEBSITE, INFERENCE], ids=["website", "inference"])
@pytest.mark.parametrize("bad", ["", ".", "..", "a\nb", "\x00", "\ud800", "x" * 1000])
def test_ids_that_are_none_go_nowhere(surface: Surface, bad: str) -> None:
    """An id out of a list or a chat that cannot be one is refused before it gets into a path, a query or a body."""
    question = Question("", "model", {}, [])
    uses: list[Callable[[], object]] = [
        *(partial(use, bad) for use in (surface.get_chat, surface.update_chat, surface.delete_chat)),
        *(partial(use, *ids) for use in (surface.get_message, surface.open_events) for ids in ((bad, "m"), ("c", bad))),
        lambda: surface.post_prompt(bad, None, "Hi"),
        lambda: surface.post_prompt("c", bad, "Hi"),
        lambda: surface.post_assistant(bad, "p", question),
        lambda: surface.post_assistant("c", bad, question),
        lambda: surface.vote("c", bad, 1),
        lambda: surface.evaluate("c", bad, ["m"]),
        lambda: surface.evaluate("c", "m", [bad]),
    ]
    for use in uses:
        with pytest.raises(ProtocolError, match="id that is empty, too long"):
            use()
