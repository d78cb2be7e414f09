"""Which call of the protocol a request is, on either surface."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qsl

Surface = Literal["inference", "website"]

Route = Literal[
    "create_chat",
    "list_chats",
    "get_chat",
    "update_chat",
    "delete_chat",
    "prompter_message",
    "assistant_message",
    "events",
    "get_message",
    "vote",
    "message_eval",
    "report",
    "models",
    "plugins",
    "plugin_config",
    "session",
    "login",
    "delete_account",
    "other",
]
"""The calls by their nouns; the same on both surfaces. "other" is what is none."""

MASK = "***"
_SECRET_HEADERS = frozenset({"authorization", "cookie", "refresh", "trustedclient", "proxy-authorization"})
_SECRET_QUERY = frozenset({"code", "state"})

_CHAT, _MESSAGE = r"/chats/(?P<chat_id>[^/]+)", r"/chats/(?P<chat_id>[^/]+)/messages/(?P<message_id>[^/]+)"
_INFERENCE: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/chats", "create_chat"),
    ("GET", "/chats", "list_chats"),
    ("GET", _CHAT, "get_chat"),
    ("PUT", _CHAT, "update_chat"),
    ("DELETE", _CHAT, "delete_chat"),
    ("POST", _CHAT + "/prompter_message", "prompter_message"),
    ("POST", _CHAT + "/assistant_message", "assistant_message"),
    ("GET", _MESSAGE + "/events", "events"),
    ("GET", _MESSAGE, "get_message"),
    ("POST", _MESSAGE + "/votes", "vote"),
    ("POST", _MESSAGE + "/message_evals", "message_eval"),
    ("POST", _MESSAGE + "/reports", "report"),
    ("GET", "/configs/model_configs", "models"),
    ("GET", "/configs/builtin_plugins", "plugins"),
    ("POST", "/configs/plugin_config", "plugin_config"),
    ("GET", "/auth/check", "session"),
    (".+", "/auth/.+", "login"),
    ("DELETE", "/account/?", "delete_account"),
)
_WEBSITE: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/api/chat", "create_chat"),
    ("PUT", "/api/chat", "update_chat"),
    ("DELETE", "/api/chat", "delete_chat"),
    (".+", "/api/chat/prompter_message", "prompter_message"),
    (".+", "/api/chat/assistant_message", "assistant_message"),
    (".+", "/api/chat/events", "events"),
    (".+", "/api/chat/message", "get_message"),
    (".+", "/api/chat/vote", "vote"),
    (".+", "/api/chat/message_eval", "message_eval"),
    (".+", "/api/chat/models", "models"),
    (".+", "/api/chat/plugins", "plugins"),
    (".+", "/api/chat/plugin_config", "plugin_config"),
    (".+", "/api/auth/session", "session"),
    (".+", "/api/account/delete", "delete_account"),
)


@dataclass(frozen=True)
class Request:
    """
    A request that the server has seen, without its secrets.

    Attributes:
        method: in upper case.
        path: without the query.
        query: of a repeated name the last.
        headers: by their names in lower case; of credentials only that they were there (`"***"`).
        json: the body; None if it is empty or no JSON.
        route: which call of the protocol it is.
        surface: where.
        chat_id: of the chat that it is about, "" if it names none.
        message_id: of the message, likewise.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    json: Any
    route: Route
    surface: Surface
    chat_id: str = ""
    message_id: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read_request(method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Request:
    """Return a request as it came, with its secrets masked."""
    data = _json(body)
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    surface: Surface = "website" if path == "/api" or path.startswith("/api/") else "inference"
    if surface == "inference":
        route, ids = _find(_INFERENCE, method, path)
    else:
        route, _ = _find(_WEBSITE, method, path)
        if path == "/api/chat" and method == "GET":
            route = "get_chat" if values.get("chat_id") else "list_chats"
        ids = {name: str(value) for name, value in (data.items() if isinstance(data, dict) else ())} | values
    names = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in headers}
    return Request(
        method=method,
        path=path,
        query=MappingProxyType({name: MASK if name in _SECRET_QUERY else text for name, text in values.items()}),
        headers=MappingProxyType({name: MASK if name in _SECRET_HEADERS else text for name, text in names.items()}),
        json=data,
        route=route,
        surface=surface,
        chat_id=ids.get("chat_id", ""),
        message_id=ids.get("message_id", ""),
    )


def _find(table: tuple[tuple[str, str, Route], ...], method: str, path: str) -> tuple[Route, dict[str, str]]:
    for methods, pattern, route in table:
        if re.fullmatch(methods, method) and (found := re.fullmatch(pattern, path)):
            return route, found.groupdict()
    return "other", {}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
