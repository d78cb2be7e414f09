"""What the recordings of the real server say, and how it is compared with what the local one says."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oa_client.local import Settings
from tests.local.support import PATIENCE

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
CURSOR = re.compile(r"MDZi[A-Za-z0-9]{44}")

VARYING = {"created_at", "modified_at", "seed", "model_config", "access_token"}
"""The fields that differ from one run to the next, or from one model to the other."""

PLUGIN_WORDS = {
    *("name_for_model", "name_for_human", "description_for_human", "description_for_model"),
    *("logo_url", "contact_email", "legal_info_url"),
}
"""What a plugin says of itself. The real server had others."""

COMPARED_HEADERS = {
    "inference": (
        *("allow", "cache-control", "content-length", "content-type", "location", "server"),
        *("transfer-encoding", "vary", "x-accel-buffering", "x-powered-by"),
    ),
    "website": (
        *("allow", "cache-control", "connection", "content-length", "content-type", "keep-alive", "location"),
        *("refresh", "server", "transfer-encoding", "vary", "x-powered-by"),
    ),
}
"""The headers that are compared; of a length only that it is given, as the ids and names in a body have others."""


def load(name: str) -> dict[str, Any]:
    """One recording, by its surface and name."""
    loaded: dict[str, Any] = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    return loaded


def parsed(content: bytes) -> Any:
    """A body as a value: events as their list, JSON as what it says, a page as its kind, else text."""
    text = content.decode(errors="replace")
    if text.startswith("<!DOCTYPE html>"):
        return "a page"
    if text.startswith(("data: ", ": ping")):
        return [event for event in _events(text) if event["event_type"] != "pending"]
    try:
        return json.loads(text)
    except ValueError:
        return text


def body_of(response: Mapping[str, Any]) -> Any:
    """The recorded body of an answer as a value."""
    return parsed("".join(chunk["data"] for chunk in response["body_chunks"]).encode("latin-1"))


def headers_of(headers: Any, name: str) -> dict[str, str]:
    """The headers that are compared, without the address of the server."""
    compared = COMPARED_HEADERS[name.partition("/")[0]]
    found = {name.lower(): value for name, value in headers if name.lower() in compared}
    if "content-length" in found:
        found["content-length"] = "given"
    if "location" in found:
        found["location"] = urlsplit(found["location"])._replace(scheme="", netloc="").geturl()
    return found


def events_of(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of a recorded stream, pending ones too; none if it is something else."""
    return _events("".join(chunk["data"] for chunk in response["body_chunks"]))


def framed(content: str) -> bool:
    """Whether all events of a stream stand in it as both servers write them: ASCII, CRLF, a space after each colon."""
    blocks = content.split("\r\n\r\n")
    events = [block for block in blocks[:-1] if block.startswith("data: ")]
    return blocks[-1] == "" and all(block == f"data: {json.dumps(json.loads(block[6:]))}" for block in events)


def settings_of(name: str, interval: float = PATIENCE) -> Settings:
    """What the server was set to in a recording, but for the seconds between two pending events."""
    words = load(name)["server_settings"].split()
    told = dict(word.split("=", 1) for word in words if "=" in word)
    if not told:
        return Settings(pending_event_interval=interval)
    rate = int(told["RATE_LIMIT_MESSAGES_USER_TIMES"]), float(told["RATE_LIMIT_MESSAGES_USER_SECONDS"])
    return Settings(
        pending_event_interval=interval,
        message_max_length=int(told["MESSAGE_MAX_LENGTH"]),
        chat_max_messages=int(told["CHAT_MAX_MESSAGES"]),
        rate_limit=rate if "limit_rate" in name else None,  # elsewhere there were several users
        assistant_message_timeout=float(told["ASSISTANT_MESSAGE_TIMEOUT"]),
        message_queue_expire=float(told["MESSAGE_QUEUE_EXPIRE"]),
        allowed_model_config_names=told["ALLOWED_MODEL_CONFIG_NAMES"].split(","),
    )


def comparable(value: Any, ids: Mapping[str, str], name: str = "", *, but: Set[str] = frozenset()) -> Any:
    """A body without what varies, and without some more fields, its ids replaced by those of this run."""
    if name in VARYING | but:
        return type(value).__name__
    if isinstance(value, dict):
        return {
            key: "its own" if key in PLUGIN_WORDS else comparable(item, ids, key, but=but)
            for key, item in value.items()
        }
    if isinstance(value, list):
        items = [comparable(item, ids, but=but) for item in value]
        if items and isinstance(items[0], dict) and "parameter_configs" in items[0]:
            return items[0]["parameter_configs"]
        if items and isinstance(items[0], dict) and "plugin_config" in items[0]:
            return items[:1]
        return sorted(items, key=lambda item: item["id"]) if name == "messages" else items
    if isinstance(value, str):
        if CURSOR.fullmatch(value):
            return comparable(base64.b64decode(value).decode(), ids)
        if name in ("next", "prev"):
            value = decoded(value)
        return ids.get(value, value).strip()
    return value


def decoded(cursor: str) -> str:
    """What a cursor says, or the cursor itself if it is none."""
    try:
        return base64.b64decode(cursor, validate=True).decode()
    except ValueError:
        return cursor


def cursor_of(chat_id: str) -> str:
    """The cursor of a chat."""
    return base64.b64encode(chat_id.encode()).decode()


def listed_chat_ids(steps: Sequence[Mapping[str, Any]]) -> set[str]:
    """The ids of the chats that stand in recorded lists."""
    lists = [body["chats"] for step in steps if isinstance(body := body_of(step["response"]), dict) and "chats" in body]
    return {chat["id"] for chats in lists for chat in chats}


def mentioned(request: Mapping[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    """The ids of the chat and of a message that a request presupposes."""
    target = urlsplit(request["line"].split()[1])
    query = {key: values[0] for key, values in parse_qs(target.query).items()}
    body = parsed((request.get("body") or "").encode())
    fields = body if isinstance(body, dict) else {}
    path = re.match(r"/chats/([^/]+)(?:/messages/([^/]+))?", target.path)
    chat_id = path[1] if path else query.get("chat_id") or fields.get("chat_id")
    message_id = (path[2] if path else None) or query.get("message_id")
    message_id = message_id or fields.get("message_id")
    for id in (message_id, *_inferior(fields), fields.get("parent_id"), fields.get("active_thread_tail_message_id")):
        yield _real(chat_id), _real(id)


def _inferior(fields: Mapping[str, Any]) -> list[Any]:
    ids = fields.get("inferior_message_ids")
    return ids if isinstance(ids, list) else []


def makes_chat(request: Mapping[str, Any]) -> bool:
    """Whether the request makes a chat."""
    return request["line"].split()[:2] in (["POST", "/chats"], ["POST", "/api/chat"])


def _real(id: Any) -> str | None:
    return id if isinstance(id, str) and ID.fullmatch(id) else None


def told_messages(steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the recording tells about messages, by id."""
    about: dict[str, dict[str, Any]] = {}
    for step in steps:
        for message in _messages(body_of(step["response"])):
            if (parent_id := message["parent_id"]) is not None and message["role"] == "assistant":
                about.setdefault(parent_id, {"role": "prompter", "parent_id": None, "chat_id": message["chat_id"]})
            about[message["id"]] = message
    for step in steps:
        body = parsed((step["request"].get("body") or "").encode())
        if "/assistant_message" in step["request"]["line"] and isinstance(body, dict) and "parent_id" in body:
            (chat_id, _), *_ = mentioned(step["request"])
            about.setdefault(body["parent_id"], {"role": "prompter", "parent_id": None, "chat_id": chat_id})
    return about


def _events(content: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in content.split("\r\n") if line.startswith("data: {")]


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "parent_id" in value and "role" in value:
            yield value
        for item in value.values():
            yield from _messages(item)
    elif isinstance(value, list):
        for item in value:
            yield from _messages(item)
