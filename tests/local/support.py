"""A backend that says what a test tells it to, and a user of either surface."""

from __future__ import annotations

import base64
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from oa_client.local import LocalServer
from oa_client.local._answers.work import BackendWorkers
from oa_client.local._storage.accounts import Account

PATIENCE = 30  # seconds after which a test that waits for something has failed
MODEL = "OA_SFT_Llama_30B_6"


class Play:
    """One answer of the puppet: the test says each piece, and sees what the server made of it."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.started = threading.Event()
        self.ended = threading.Event()
        self.messages: Sequence[Mapping[str, str]] = ()
        self.sampling: Mapping[str, Any] = {}
        self.cancelled: threading.Event | None = None

    def say(self, *pieces: Any) -> None:
        """Have pieces of text written, or an error raised."""
        for piece in pieces:
            self.lines.put(piece)

    def say_and_wait(self, *pieces: str) -> None:
        """Have pieces of text written, and wait until the server has them."""
        written = threading.Event()
        self.say(*pieces, written)
        assert written.wait(PATIENCE)

    def finish(self, *pieces: str) -> None:
        """Say the last pieces and end the answer."""
        self.say(*pieces, None)

    def read(self) -> Iterator[Any]:
        """What was said, as it is said."""
        self.started.set()
        try:
            while (line := self.lines.get(timeout=PATIENCE)) is not None:
                if isinstance(line, BaseException):
                    raise line
                if isinstance(line, threading.Event):
                    line.set()
                else:
                    yield line
        finally:
            self.ended.set()


class Puppet:
    """A backend whose answers wait for the test, told apart by the prompt."""

    def __init__(self, slots: int = 1) -> None:
        self.name = "puppet"
        self.description = "It says what it is told"
        self.slots = slots
        self.closed = False
        self._over = False
        self._plays: dict[str, Play] = {}
        self._lock = threading.Lock()

    def play(self, prompt: str) -> Play:
        """The answer to a prompt, which may be yet to come."""
        with self._lock:
            play = self._plays.setdefault(prompt, Play())
            if self._over:
                play.finish()
            return play

    def release(self) -> None:
        """End every answer, now and later, so that no thread is left behind."""
        with self._lock:
            self._over = True
            for play in self._plays.values():
                play.finish()

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Say what the test has said."""
        play = self.play(messages[-1]["content"])
        play.messages, play.sampling, play.cancelled = messages, sampling, cancelled
        yield from play.read()

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


class Events:
    """The events of one reader."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self._lines = response.iter_lines(chunk_size=1)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            if line.startswith(b"data: "):
                yield json.loads(line[len(b"data: ") :])

    def next(self) -> dict[str, Any]:
        """The next event."""
        return next(iter(self))

    def close(self) -> None:
        """Leave."""
        self.response.close()


class User:
    """A user of a server on one of its two surfaces; the server's own one unless another is named."""

    def __init__(self, server: LocalServer, surface: str, name: str | None = None, *, known: bool = True) -> None:
        self.server = server
        self.surface = surface
        self.token, (self.session,) = server.token, server.cookies.values()
        if name is not None:
            self.token = server._accounts.tokens.make(name, "access", None)
            self.session = server._accounts.tokens.make(name, "session", None)
            if known:
                server._accounts.add(Account(name, "debug", name, name))

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send one request with the credentials of the surface."""
        if self.surface == "website":
            arguments.setdefault("cookies", {"next-auth.session-token": self.session})
        else:
            arguments.setdefault("headers", {})
            arguments["headers"] = {"Authorization": f"Bearer {self.token}", **arguments["headers"]}
        return requests.request(method, self.server.url + path, timeout=PATIENCE, **arguments)

    def create(self) -> str:
        """Make a chat."""
        response = self.send("POST", "/api/chat" if self.surface == "website" else "/chats", json={})
        return str(response.json()["id"])

    def delete(self, chat_id: str) -> requests.Response:
        """Delete a chat."""
        if self.surface == "website":
            return self.send("DELETE", f"/api/chat?chat_id={chat_id}")
        return self.send("DELETE", f"/chats/{chat_id}")

    def update(self, chat_id: str, **changes: Any) -> requests.Response:
        """Change a chat."""
        if self.surface == "website":
            return self.send("PUT", "/api/chat", json={"chat_id": chat_id, **changes})
        return self.send("PUT", f"/chats/{chat_id}", json=changes)

    def chat(self, chat_id: str) -> requests.Response:
        """Get a chat."""
        return self.send("GET", f"/api/chat?chat_id={chat_id}" if self.surface == "website" else f"/chats/{chat_id}")

    def post_prompt(self, chat_id: str, **fields: Any) -> requests.Response:
        """Say something."""
        if self.surface == "website":
            return self.send("POST", "/api/chat/prompter_message", json={"chat_id": chat_id, **fields})
        return self.send("POST", f"/chats/{chat_id}/prompter_message", json=fields)

    def post_answer(self, chat_id: str, **fields: Any) -> requests.Response:
        """Ask for an answer."""
        fields = {"model_config_name": MODEL, **fields}
        if self.surface == "website":
            return self.send("POST", "/api/chat/assistant_message", json={"chat_id": chat_id, **fields})
        return self.send("POST", f"/chats/{chat_id}/assistant_message", json=fields)

    def message(self, chat_id: str, message_id: str) -> requests.Response:
        """Get a message."""
        if self.surface == "website":
            return self.send("GET", f"/api/chat/message?chat_id={chat_id}&message_id={message_id}")
        return self.send("GET", f"/chats/{chat_id}/messages/{message_id}")

    def events_path(self, chat_id: str, message_id: str) -> str:
        """Where the events of an answer are."""
        if self.surface == "website":
            return f"/api/chat/events?chat_id={chat_id}&message_id={message_id}"
        return f"/chats/{chat_id}/messages/{message_id}/events"

    def events(self, chat_id: str, message_id: str) -> Events:
        """Start to read an answer."""
        return Events(self.send("GET", self.events_path(chat_id, message_id), stream=True))

    def ask(
        self, prompt: str, parent_id: str | None = None, chat_id: str | None = None, model: str = MODEL
    ) -> tuple[str, str]:
        """Say something, in a new chat unless one is given, and ask for an answer: its chat's id and its own."""
        chat_id = chat_id or self.create()
        asked = self.post_prompt(chat_id, parent_id=parent_id, content=prompt).json()
        answer = self.post_answer(chat_id, parent_id=asked["id"], model_config_name=model).json()
        return chat_id, answer["id"]

    def wait_for(self, chat_id: str, message_id: str, state: str) -> dict[str, Any]:
        """Ask for a message until it is in a state."""
        while True:
            message: dict[str, Any] = self.message(chat_id, message_id).json()
            if message["state"] == state:
                return message

    def settle(self) -> None:
        """
        Give the server's loop time to notice what has happened to its other connections.

        The end of a connection closed before is there before these requests are, and each of them
        takes several turns of the loop.
        """
        for _ in range(3):
            self.send("GET", "/api/chat/models" if self.surface == "website" else "/configs/model_configs")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be noticed by the server's loop."""
        for _ in range(1000):
            if condition():
                break
            self.settle()
        assert condition()
        self.settle()

    def until_nobody_reads(self) -> None:
        """Wait until the inference server has noticed that all readers have left."""
        workers = workers_of(self.server)
        self.until(lambda: not workers._readers)

    def until_haunted(self, message_id: str, times: int) -> None:
        """Wait until the website has noticed that so many readers of an answer have left."""
        jobs = workers_of(self.server)._jobs
        self.until(lambda: message_id not in jobs or jobs[message_id].over or len(jobs[message_id].ghosts) >= times)


def workers_of(server: LocalServer) -> BackendWorkers:
    """What goes on within a server."""
    assert server._serving is not None
    return server._serving._workers


def trusted_client(server: LocalServer, **changes: Any) -> str:
    """The header of a client that acts for "jane", or for whom it is told. What is None is left out."""
    fields = {
        "api_key": server.trusted_key,
        "client": "website",
        "user_id": "jane",
        "provider_account_id": "account of jane",
        "username": "Jane",
        **changes,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    return base64.b64encode(json.dumps(told).encode()).decode()


def exchange(server: LocalServer, data: bytes, half_close: bool = False) -> bytes:
    """Send bytes to the server and return all that comes back."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(65536):
            answer += block
        return answer
