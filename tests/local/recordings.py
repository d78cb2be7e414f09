"""Recordings of the real server: their requests, sent to the local one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import requests

from oa_client.local import LocalServer
from tests.local.support import MODEL, PATIENCE, User, trusted_client
from tests.local.told import (
    CURSOR,
    ID,
    body_of,
    comparable,
    cursor_of,
    decoded,
    events_of,
    framed,
    headers_of,
    listed_chat_ids,
    load,
    makes_chat,
    mentioned,
    parsed,
    told_messages,
)

ROOT = "http://127.0.0.1:8100"  # where the real server was
PLUGIN = re.compile(r"/plugins/\w+/")
MODEL_NAME = re.compile(r'"model_config_name": "(OA_SFT_Pythia_12B_4|_lorem|distilgpt2)"')
UNKNOWN = "06b00000-0000-7000-8000-000000000000"

NAMES = {
    "inference/auth_bearer": "authbearer-373c4a",
    "inference/auth_refresh": "authrefresh-3744fc",
    "inference/auth_trusted_client": "authtrustedclient-373c4c",
    "inference/account_delete": "accountdelete-373c61",
    "inference/create_chat_new_user": "createchatnewuser-37205ffresh",
    "website/create_chat_new_user": "createchatnewuser",
}
"""The users of the recordings that tell the name, or in which it matters that the user is new."""

SENT_HEADERS = (
    *("Content-Type", "Accept", "Authorization", "TrustedClient", "Refresh", "Cookie", "Origin", "If-None-Match"),
    "Access-Control-Request-Method",
)
"""The recorded headers that are sent again."""

LISTING = ("list_chats", "hide_all", "account_delete", "http_misc", "auth_cookie", "update_chat")
"""Recordings whose lists hold chats that were made before."""

K50 = {"top_k": 50, "top_p": 0.95, "temperature": 0.75, "repetition_penalty": 1.2, "max_new_tokens": 1024}
"""What the recorder asked for when it made what a recording presupposes."""


class Clock:
    """The time of a replay, in seconds since 1970: that of the recording, from `START` on."""

    START = 1_800_000_000.0

    def __init__(self) -> None:
        self.now = self.START

    def __call__(self) -> float:
        """The time."""
        return self.now


class Actor:
    """
    A backend that plays the part of the recordings' worker.

    Attributes:
        lines: what it says, by prompt; an error is raised.
    """

    name = "actor"
    description = ""
    slots = 4
    LINES = ("Hello", "!", " I", " am", " a", " scripted", " assistant", ".")

    def __init__(self) -> None:
        self.lines: dict[str, Sequence[str | Exception]] = {}

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Say what was said to the prompt."""
        for line in self.lines.get(messages[-1]["content"], self.LINES):
            if isinstance(line, Exception):
                raise line
            yield line

    def close(self) -> None:
        """Nothing to give back."""


class Replay:
    """
    Sends the requests of one recording, with the ids of this run in the place of the recorded ones.

    Args:
        skipped: steps to leave out, by recording ("" being any) and label.
    """

    def __init__(
        self, server: LocalServer, clock: Clock, actor: Actor, name: str, skipped: Set[tuple[str, str]]
    ) -> None:
        surface, _, short = name.partition("/")
        self._clock = clock
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
        self.steps = [step for step in self._all if not {("", step["label"]), (name, step["label"])} & skipped]
        self._about = told_messages(self._all)
        self._lines = actor.lines
        for step in self._all:
            self._instruct(actor, events_of(step["response"]))
        if short == "delete_chat":
            for step in self.steps:
                self._presuppose(step)
        if short in LISTING:
            made = {
                body["id"] for step in self._all if makes_chat(step["request"]) and (body := body_of(step["response"]))
            }
            named = {chat_id for step in self.steps for chat_id, _ in mentioned(step["request"]) if chat_id}
            listed = listed_chat_ids(self.steps)
            # Ids are in the order of time: a hidden chat that is older than a listed one stands before it.
            older = {chat_id for chat_id in named if chat_id < max(listed, default="")}
            for chat_id in sorted((listed | older) - made - self.ids.keys()):
                self.ids[chat_id] = self.user.create()

    def send(self, step: Mapping[str, Any], stream: bool = False) -> requests.Response:
        """Send one recorded request, after making what it presupposes."""
        self._clock.now = self._clock.START + step["t_start"]
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
                if name in SENT_HEADERS
            },
            data=body,
            allow_redirects=False,
            timeout=PATIENCE,
            stream=stream,
        )

    def compare(self, step: Mapping[str, Any], received: requests.Response, but: Set[str]) -> Any:
        """Check that an answer is the recorded one, without some fields, and return its body."""
        expected, answer = self.told(step), parsed(received.content)
        self.learn(expected, answer)
        self.compare_head(step, received)
        wanted = comparable(expected, self.ids, but=but)
        got = comparable(answer, {}, but=but)
        assert wanted == got, step["label"]
        if isinstance(expected, list) and events_of(step["response"]):
            recorded = "".join(chunk["data"] for chunk in step["response"]["body_chunks"])
            assert framed(recorded)
            assert framed(received.text), step["label"]
        return answer

    def compare_head(self, step: Mapping[str, Any], received: requests.Response) -> None:
        """Check that the status and the headers are the recorded ones."""
        recorded = step["response"]
        headers = headers_of(recorded["headers"], self.name)
        assert int(recorded["status_line"].split()[1]) == received.status_code, step["label"]
        assert headers == headers_of(received.headers.items(), self.name), step["label"]

    def _instruct(self, actor: Actor, events: Sequence[Mapping[str, Any]]) -> None:
        """Let the actor say what it says in a recorded stream."""
        lines: list[str | Exception] = [event["text"] for event in events if event["event_type"] == "token"]
        if not events or not (message := events[-1].get("message")):
            return
        if (error := events[-1].get("error")) is not None:
            lines.append(RuntimeError(error))
        prompt = self._about.get(message["parent_id"], {}).get("content")
        actor.lines[prompt or message["parent_id"]] = lines

    def _header(self, name: str, value: str, label: str) -> str:
        """The recorded value, or what stands for a secret that was taken out of it."""
        if "<" not in value:
            return value
        user = self.other if label.startswith("foreign") else self.user
        if name == "Cookie":
            session = self.server._accounts.tokens.make("local", "session", 0) if "expired" in label else user.session
            half = len(session) // 2
            for part, text in ((".0=", session[:half]), (".1=", session[half:]), ("=", session)):
                value = value.replace(f"{part}<session jwt>", f"{part}{text}")
            return value
        if self.user.surface == "website":
            return f"Bearer {user.session}"
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
            id = body_of(step["response"])["id"]
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
        for chat_id, message_id in mentioned(step["request"]):
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
        prompter = message_id if about["role"] == "prompter" else about["parent_id"]
        prompt = self._about.get(prompter or "", {}).get("content") or (prompter if prompter in self._lines else "")
        prompt = prompt or "SCRIPT normal"
        if about["role"] == "prompter":
            self.ids[message_id] = self.user.post_prompt(chat, content=prompt).json()["id"]
            self._prompts[about["chat_id"]] = message_id
            return
        model = self._model_of(message_id)
        if (parent_id := about["parent_id"]) is None:
            answer = self._answer(chat, prompt, model=model)
        else:
            self._prepare(None, parent_id, step)
            answer = self._answer(chat, prompt, self.ids[parent_id], model=model)
        self.ids[message_id] = answer[1]
        if "/events" not in step["request"]["line"]:
            self._finish(*answer)

    def _model_of(self, message_id: str) -> str:
        """The name of the model here that writes an answer."""
        return MODEL

    def _answer(
        self, chat_id: str, prompt: str, parent_id: str | None = None, *, model: str = MODEL
    ) -> tuple[str, str]:
        parent_id = parent_id or self.user.post_prompt(chat_id, content=prompt).json()["id"]
        answer = self.user.post_answer(chat_id, parent_id=parent_id, model_config_name=model, sampling_parameters=K50)
        return chat_id, answer.json()["id"]

    def _finish(self, chat_id: str, message_id: str) -> None:
        """Read an answer to its end; it is not begun before somebody reads it."""
        with self.user.events(chat_id, message_id) as events:
            for _ in events:
                continue

    def _translated(self, text: str) -> str:
        text = MODEL_NAME.sub(f'"model_config_name": "{MODEL}"', text)
        text = ID.sub(lambda match: self.ids.get(match[0], match[0]), self._located(text))
        return CURSOR.sub(lambda match: cursor_of(self.ids[decoded(match[0])]), text)
