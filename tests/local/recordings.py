"""Recordings of the real server: their requests, sent to the local one, and bodies that can be compared."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from oa_client.local import LocalServer
from tests.local.support import PATIENCE, User, trusted_client

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
ROOT = "http://127.0.0.1:8100"  # where the real server was
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
PLUGIN = re.compile(r"/plugins/\w+/")
CURSOR = re.compile(r"MDZi[A-Za-z0-9]{44}")
UNKNOWN = "06b00000-0000-7000-8000-000000000000"

VARYING = {"created_at", "modified_at", "seed", "model_id", "access_token"}
"""The fields that differ from one run to the next, or from one model to the other."""

PLUGIN_WORDS = {
    *("name_for_model", "name_for_human", "description_for_human", "description_for_model"),
    *("logo_url", "contact_email", "legal_info_url"),
}
"""What a plugin says of itself. The real server had others."""

NAMES = {
    "inference/auth_bearer": "authbearer-373c4a",
    "inference/auth_refresh": "authrefresh-3744fc",
    "inference/auth_trusted_client": "authtrustedclient-373c4c",
    "inference/account_delete": "accountdelete-373c61",
    "inference/create_chat_new_user": "createchatnewuser-37205ffresh",
    "website/create_chat_new_user": "createchatnewuser",
}
"""The users of the recordings that tell the name, or in which it matters that the user is new."""

LISTING = ("list_chats", "hide_all", "account_delete")
"""Recordings whose lists hold chats that were made before."""

K50 = {"top_k": 50, "top_p": 0.95, "temperature": 0.75, "repetition_penalty": 1.2, "max_new_tokens": 1024}
"""What the recorder asked for when it made what a recording presupposes."""


class Actor:
    """A backend that plays the script of the recordings' worker."""

    name = "actor"
    description = ""
    slots = 4

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Say what the prompt asks for."""
        match messages[-1]["content"].split():
            case ["SCRIPT", "slow", count, *_]:
                yield from (f"t{index} " for index in range(int(count)))
            case ["SCRIPT", "error_first"]:
                raise RuntimeError(
                    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048 (scripted)"
                )
            case _:
                yield from ("Hello", "!", " I", " am", " a", " scripted", " assistant", ".")

    def close(self) -> None:
        """Nothing to give back."""


class Replay:
    """
    Sends the requests of one recording, with the ids of this run in the place of the recorded ones.

    Args:
        skipped: steps to leave out, by recording and label, "" being any.
    """

    def __init__(self, server: LocalServer, name: str, skipped: Set[tuple[str, str]]) -> None:
        surface, _, short = name.partition("/")
        self.name = name
        user_name = NAMES.get(name)
        self.server = server
        self.user = User(server, surface, user_name, known=short != "create_chat_new_user")
        self.other = User(server, surface, "other")
        self.ids = {UNKNOWN: UNKNOWN}
        self._access = self._refresh = ""
        if user_name is not None:
            self._access = server._accounts.tokens.make(user_name, "access", 1)
            self._refresh = server._accounts.tokens.make(user_name, "refresh", 1)
        self._prompts: dict[str, str] = {}  # the first one of each chat that was made here
        self._all = [step for step in load(name)["steps"] if "response" in step]
        self.steps = [
            step for step in self._all if not {("", step["label"]), (name, step["label"]), (name, "")} & skipped
        ]
        self._about = dict(_told(self._all))
        if short == "delete_chat":
            for step in self.steps:
                self._presuppose(step)
        if short in LISTING:
            made = {body["id"] for step in self._all if _is_chat(step["request"]) and (body := _body(step["response"]))}
            for chat_id in sorted(_chat_ids(self.steps) - made):
                self.ids[chat_id] = self.user.create()

    def send(self, step: Mapping[str, Any]) -> requests.Response:
        """Send one recorded request, after making what it presupposes."""
        self._presuppose(step)
        if step["label"] == "chat with a finished exchange":
            (chat_id,) = ID.findall(step["request"]["line"])
            self._finish(*self._answer(self.ids[chat_id], "SCRIPT normal"))
        request = step["request"]
        method, path, _ = request["line"].split()
        body = self._translated(request.get("body") or "").encode("latin-1")
        return requests.request(
            method,
            self.server.url + self._translated(path),
            headers={
                name: self._header(name, value, step["label"])
                for name, value in request["headers"]
                if name in ("Content-Type", "Accept", "Authorization", "TrustedClient", "Refresh", "Cookie")
            },
            data=body,
            allow_redirects=False,
            timeout=PATIENCE,
        )

    def _header(self, name: str, value: str, label: str) -> str:
        """The recorded value, or what stands for a secret that was taken out of it."""
        if "<" not in value:
            return value
        user = self.other if label.startswith("foreign") else self.user
        if name == "Cookie":
            return f"next-auth.session-token={user.session}"
        if name == "Refresh":
            return self._access if label == "access token as refresh" else value.replace("<token>", self._refresh)
        if name == "TrustedClient":
            return self._trusted_client(label)
        make = self.server._accounts.tokens.make
        match label:
            case "no scheme":
                return user.token
            case "lower-case scheme":
                return f"bearer {user.token}"
            case "two spaces":
                return f"Bearer  {user.token}"
            case "refresh token as access token":
                return f"Bearer {self._refresh}"
            case "token of another secret":
                return f"Bearer {LocalServer('lorem').token}"
            case "token of a user that does not exist: passes check":
                return f"Bearer {make(f'{NAMES[self.name]}ghost', 'access', 1)}"
            case "that user creates a chat" | "unknown user":
                return f"Bearer {make('ghost', 'access', 1)}"
            case _ if "expired" in label:
                return f"Bearer {make('local', 'access', 0)}"
        return f"Bearer {user.token}"

    def _trusted_client(self, label: str) -> str:
        name = NAMES[self.name]
        changes: dict[str, Any] = {"user_id": name, "username": name, "provider_account_id": f"b-{name}"}
        if "wrong key" in label:
            changes["api_key"] = "wrong"
        if label == "missing username":
            changes["username"] = None
        if label == "empty user_id":
            changes["user_id"] = ""
        return trusted_client(self.server, **changes)

    def learn(self, recorded: Any, received: Any) -> None:
        """Note which id of this run stands for which recorded one."""
        if isinstance(recorded, dict) and isinstance(received, dict):
            for key in recorded.keys() & received.keys():
                self.learn(recorded[key], received[key])
        elif isinstance(recorded, list) and isinstance(received, list):
            for pair in zip(recorded, received, strict=False):
                self.learn(*pair)
        elif isinstance(recorded, str) and isinstance(received, str) and ID.fullmatch(recorded):
            self.ids.setdefault(recorded, received)

    def after(self, step: Mapping[str, Any], answer: Any) -> None:
        """Let an answer be written to its end if the recording does not read its events itself."""
        if isinstance(answer, dict) and answer.get("state") == "pending":
            id = _body(step["response"])["id"]
            if not any("/events" in one["request"]["line"] and id in one["request"]["line"] for one in self._all):
                self._finish(answer["chat_id"], answer["id"])

    def told(self, step: Mapping[str, Any]) -> Any:
        """The recorded body as a value."""
        body = "".join(chunk["data"] for chunk in step["response"]["body_chunks"])
        return parsed(self._located(body).encode("latin-1"))

    def _located(self, text: str) -> str:
        """A text with the address and the plugin of this server in the place of the real one's."""
        if not self.name.endswith("models_plugins"):
            return text
        return PLUGIN.sub("/plugins/calculator/", text.replace(ROOT, self.server.url))

    def _presuppose(self, step: Mapping[str, Any]) -> None:
        for chat_id, message_id in _mentioned(step["request"]):
            self._prepare(chat_id, message_id, step)

    def _prepare(self, chat_id: str | None, message_id: str | None, step: Mapping[str, Any]) -> None:
        if chat_id is not None:
            self.ids[chat_id] = self.ids.get(chat_id) or self.user.create()
        if message_id is None or message_id in self.ids:
            return
        unknown = {"role": "assistant", "parent_id": self._prompts.get(chat_id or ""), "chat_id": chat_id}
        about = self._about.get(message_id, unknown)
        self._prepare(about["chat_id"], None, step)
        chat = self.ids[about["chat_id"]]
        prompt = "SCRIPT slow 6" if self.name.endswith("stream_bad_targets") else "SCRIPT normal"
        if about["role"] == "prompter":
            self.ids[message_id] = self.user.post_prompt(chat, content=prompt).json()["id"]
            self._prompts[about["chat_id"]] = message_id
            return
        if (parent_id := about["parent_id"]) is None:
            answer = self._answer(chat, prompt)
        else:
            self._prepare(None, parent_id, step)
            answer = self._answer(chat, prompt, self.ids[parent_id])
        self.ids[message_id] = answer[1]
        if "/events" not in step["request"]["line"]:
            self._finish(*answer)

    def _answer(self, chat_id: str, prompt: str, parent_id: str | None = None) -> tuple[str, str]:
        parent_id = parent_id or self.user.post_prompt(chat_id, content=prompt).json()["id"]
        answer = self.user.post_answer(chat_id, parent_id=parent_id, sampling_parameters=K50)
        return chat_id, answer.json()["id"]

    def _finish(self, chat_id: str, message_id: str) -> None:
        """Read an answer to its end; it is not begun before somebody reads it."""
        with self.user.events(chat_id, message_id) as events:
            for _ in events:
                continue

    def _translated(self, text: str) -> str:
        text = ID.sub(lambda match: self.ids.get(match[0], match[0]), self._located(text))
        return CURSOR.sub(lambda match: _cursor(self.ids[_decoded(match[0])]), text)


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
        events = [json.loads(line[6:]) for line in text.split("\r\n") if line.startswith("data: ")]
        return [event for event in events if event["event_type"] != "pending"]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _body(response: Mapping[str, Any]) -> Any:
    return parsed("".join(chunk["data"] for chunk in response["body_chunks"]).encode("latin-1"))


def comparable(value: Any, ids: Mapping[str, str], name: str = "") -> Any:
    """A body without what varies, its ids replaced by those of this run."""
    if isinstance(value, dict):
        return {key: "its own" if key in PLUGIN_WORDS else comparable(item, ids, key) for key, item in value.items()}
    if name in VARYING:
        return type(value).__name__
    if isinstance(value, list):
        items = [comparable(item, ids) for item in value]
        if items and isinstance(items[0], dict) and "parameter_configs" in items[0]:
            return items[0]["parameter_configs"]
        if items and isinstance(items[0], dict) and "plugin_config" in items[0]:
            return items[:1]
        return sorted(items, key=lambda item: item["id"]) if name == "messages" else items
    if isinstance(value, str):
        if CURSOR.fullmatch(value):
            return comparable(base64.b64decode(value).decode(), ids)
        if name in ("next", "prev"):
            value = _decoded(value)
        return ids.get(value, value).strip()
    return value


def _decoded(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, validate=True).decode()
    except ValueError:
        return cursor


def _cursor(chat_id: str) -> str:
    return base64.b64encode(chat_id.encode()).decode()


def _chat_ids(steps: Sequence[Mapping[str, Any]]) -> set[str]:
    lists = [body["chats"] for step in steps if isinstance(body := _body(step["response"]), dict) and "chats" in body]
    return {chat["id"] for chats in lists for chat in chats}


def _mentioned(request: Mapping[str, Any]) -> Iterator[tuple[str | None, str | None]]:
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


def _is_chat(request: Mapping[str, Any]) -> bool:
    """Whether the request makes a chat."""
    return request["line"].split()[:2] in (["POST", "/chats"], ["POST", "/api/chat"])


def _real(id: Any) -> str | None:
    return id if isinstance(id, str) and ID.fullmatch(id) else None


def _told(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the recorded answers tell about messages, by id."""
    for step in steps:
        for message in _messages(_body(step["response"])):
            if (parent_id := message["parent_id"]) is not None and message["role"] == "assistant":
                yield parent_id, {"role": "prompter", "parent_id": None, "chat_id": message["chat_id"]}
            yield message["id"], {**message, "label": step["label"]}


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "parent_id" in value and "role" in value:
            yield value
        for item in value.values():
            yield from _messages(item)
    elif isinstance(value, list):
        for item in value:
            yield from _messages(item)
