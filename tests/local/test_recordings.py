"""The local server against recordings of the real one: the same requests must get the same answers."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from oa_client.local import LocalServer
from tests.local.support import PATIENCE, User

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
CURSOR = re.compile(r"MDZi[A-Za-z0-9]{44}")
UNKNOWN = "06b00000-0000-7000-8000-000000000000"

RECORDINGS = (
    "create_chat",
    "get_chat",
    "update_chat",
    "delete_chat",
    "list_chats",
    "prompter_message",
    "assistant_message_ok",
    "assistant_message_errors",
    "stream_normal",
    "stream_error_first",
    "stream_bad_targets",
    "stream_finished_message",
    "stream_http_methods",
    "models_plugins",
)

COMPARED_HEADERS = {
    "inference": ("content-type", "allow", "location", "cache-control", "x-accel-buffering", "transfer-encoding"),
    "website": ("content-type", "connection", "keep-alive", "cache-control", "transfer-encoding"),
}

VARYING = {"created_at", "modified_at", "seed", "model_id"}
"""The fields that differ from one run to the next, or from one model to the other."""

DEVIATIONS = {
    "one user": "there is no second user, so nothing is foreign",
    "head": "HEAD on the website's events answers at once instead of eating the whole stream",
    "plugins": "the routes of plugins are not there",
    "cut": "the recording holds only the beginning of the body",
    "late": "the error was over before the recorder opened the stream, so that it saw nothing",
    "gzip": "nothing is compressed, nor are there ETags",
    "page": "the website's page of 20 was recorded with more chats than the recording names",
}
"""Where the local server differs on purpose or for now."""

SKIPPED = {
    ("", "foreign"): "one user",
    ("", "foreign chat"): "one user",
    ("", "foreign parent"): "one user",
    ("", "first message of 5000 chars: title is whole"): "cut",
    ("", "list"): "cut",
    ("", "2 MB content (no limit by default)"): "cut",
    ("", "body over 1 MB (Next body parser)"): "cut",
    ("website/stream_http_methods", "HEAD"): "head",
    ("website/list_chats", ""): "page",
    ("website/update_chat", "list with hidden: note active_thread_tail_message_id"): "page",
    ("website/stream_error_first", "events"): "late",
    ("website/stream_error_first", "final message by REST"): "late",
    ("website/models_plugins", "with Accept-Encoding: gzip"): "gzip",
}
"""Steps that are not compared, by recording and label ("" being any), with the name of the deviation."""

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
    """Sends the requests of one recording, with the ids of this run in the place of the recorded ones."""

    def __init__(self, user: User, name: str) -> None:
        self.user = user
        self.name = f"{user.surface}/{name}"
        self.ids = {UNKNOWN: UNKNOWN}
        self._all = [step for step in _load(self.name)["steps"] if "response" in step]
        self.steps = [step for step in self._all if self._reason_to_skip(step) is None]
        self._about = dict(_told(self._all))
        if name == "delete_chat":
            for step in self.steps:
                self._presuppose(step)
        if name == "list_chats":
            for chat_id in sorted(_chat_ids(self.steps)):
                self.ids[chat_id] = user.create()

    def send(self, step: Mapping[str, Any]) -> requests.Response:
        """Send one recorded request, after making what it presupposes."""
        self._presuppose(step)
        if step["label"] == "chat with a finished exchange":
            (chat_id,) = ID.findall(step["request"]["line"])
            self._finish(*self._answer(self.ids[chat_id], "SCRIPT normal"))
        request = step["request"]
        method, path, _ = request["line"].split()
        headers = {name: value for name, value in request["headers"] if name in ("Content-Type", "Accept")}
        names = {name for name, _ in request["headers"]}
        if "Authorization" in names:
            headers["Authorization"] = f"Bearer {self.user.server.token}"
        body = self._translated(request.get("body") or "").encode("latin-1")
        return requests.request(
            method,
            self.user.server.url + self._translated(path),
            headers=headers,
            data=body,
            cookies=self.user.server.cookies if "Cookie" in names else None,
            allow_redirects=False,
            timeout=PATIENCE,
        )

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
            told = _body(step["response"])["id"]
            if not any("/events" in one["request"]["line"] and told in one["request"]["line"] for one in self._all):
                self._finish(answer["chat_id"], answer["id"])

    def _reason_to_skip(self, step: Mapping[str, Any]) -> str | None:
        if "plugin" in step["request"]["line"]:
            return "plugins"
        keys = (("", step["label"]), (self.name, step["label"]), (self.name, ""))
        return next((SKIPPED[key] for key in keys if key in SKIPPED), None)

    def _presuppose(self, step: Mapping[str, Any]) -> None:
        for chat_id, message_id in _mentioned(step["request"]):
            self._prepare(chat_id, message_id, step)

    def _prepare(self, chat_id: str | None, message_id: str | None, step: Mapping[str, Any]) -> None:
        if chat_id is not None:
            self.ids[chat_id] = self.ids.get(chat_id) or self.user.create()
        if message_id is None or message_id in self.ids:
            return
        about = self._about.get(message_id, {"role": "assistant", "parent_id": None, "chat_id": chat_id})
        self._prepare(about["chat_id"], None, step)
        chat = self.ids[about["chat_id"]]
        prompt = "SCRIPT slow 6" if self.name.endswith("stream_bad_targets") else "SCRIPT normal"
        if about["role"] == "prompter":
            self.ids[message_id] = self.user.post_prompt(chat, content=prompt).json()["id"]
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
        text = ID.sub(lambda match: self.ids.get(match[0], match[0]), text)
        return CURSOR.sub(lambda match: _cursor(self.ids[_decoded(match[0])]), text)


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("surface", ["inference", "website"])
def test_the_real_server_answered_the_same(surface: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, headers and body are those recorded, but for ids, times and the named deviations."""
    monkeypatch.setattr("oa_client.local._work.HEAD_START", PATIENCE)
    with LocalServer(Actor()) as server:
        replay = Replay(User(server, surface), name)
        for step in replay.steps:
            recorded = step["response"]
            received = replay.send(step)
            told, answer = _body(recorded), _parsed(received.content)
            replay.learn(told, answer)

            assert int(recorded["status_line"].split()[1]) == received.status_code, step["label"]
            assert _headers(recorded["headers"], surface) == _headers(received.headers.items(), surface), step["label"]
            assert _comparable(told, replay.ids) == _comparable(answer, {}), step["label"]
            replay.after(step, answer)


def test_every_deviation_has_a_step() -> None:
    """The table of deviations names no more and no fewer than the steps give as their reason."""
    assert set(DEVIATIONS) == {*SKIPPED.values(), "plugins"}


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    return loaded


def _parsed(content: bytes) -> Any:
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
    return _parsed("".join(chunk["data"] for chunk in response["body_chunks"]).encode("latin-1"))


def _headers(headers: Any, surface: str) -> dict[str, str]:
    found = {name.lower(): value for name, value in headers if name.lower() in COMPARED_HEADERS[surface]}
    if "location" in found:
        found["location"] = urlsplit(found["location"]).path
    return found


def _comparable(value: Any, ids: Mapping[str, str], name: str = "") -> Any:
    """A body without what varies, its ids replaced by those of this run."""
    if isinstance(value, dict):
        return {
            key: type(item).__name__ if key in VARYING else _comparable(item, ids, key) for key, item in value.items()
        }
    if isinstance(value, list):
        items = [_comparable(item, ids) for item in value]
        if items and isinstance(items[0], dict) and "parameter_configs" in items[0]:
            return items[0]["parameter_configs"]
        return sorted(items, key=lambda item: item["id"]) if name == "messages" else items
    if isinstance(value, str):
        if CURSOR.fullmatch(value):
            return _comparable(base64.b64decode(value).decode(), ids)
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
    body = _parsed((request.get("body") or "").encode())
    fields = body if isinstance(body, dict) else {}
    path = re.match(r"/chats/([^/]+)(?:/messages/([^/]+))?", target.path)
    chat_id = path[1] if path else query.get("chat_id") or fields.get("chat_id")
    message_id = (path[2] if path else None) or query.get("message_id")
    for id in (message_id, fields.get("parent_id"), fields.get("active_thread_tail_message_id")):
        yield _real(chat_id), _real(id)


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
