"""A server with an OpenAI-compatible API, whose answers a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.scripted import Connection, Request, ScriptedServer, chunk, json_response, sse_head

DONE = "[DONE]"
END = b"0\r\n\r\n"


def data(value: Any) -> bytes:
    """An event as these servers send it."""
    return b"data: " + (value if isinstance(value, str) else json.dumps(value)).encode() + b"\n\n"


def token(text: str | None, finish: str | None = None) -> dict[str, Any]:
    """A chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


class Reply:
    """An answer, while it is sent; chunked."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self._begun = False

    def send(self, *values: Any) -> None:
        """Send events: JSON, text as it is, or bytes as they are, each in a chunk of its own."""
        if not self._begun:
            self._begun = True
            self.connection.send(sse_head(headers={"content-type": "text/event-stream"}))
        for value in values:
            self.connection.send(chunk(value if isinstance(value, bytes) else data(value)))

    def end(self) -> None:
        """End the body in good order."""
        self.connection.send(END)


def hello(reply: Reply) -> None:
    """Say hello, as OpenAI's own server does."""
    reply.send({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
    reply.send(token("Hello"), token(" wörld"), token(None, "stop"), {"choices": [], "usage": {}}, DONE)
    reply.end()


class UpstreamDouble(ScriptedServer):
    """
    The server.

    Attributes:
        base: the address of its API.
        answer: sends what `/chat/completions` answers.
        models: the names that `/models` lists, or the whole response.
    """

    def __init__(self, answer: Callable[[Reply], None] = hello, models: list[str] | bytes | None = None) -> None:
        self.answer = answer
        self.models: list[str] | bytes = ["small", "large"] if models is None else models
        super().__init__(self._respond)
        self.base = f"{self.url}/v1"

    @property
    def asked(self) -> list[Any]:
        """The bodies of all questions."""
        return [request.json() for request in self.requests if request.path == "/v1/chat/completions"]

    def _respond(self, connection: Connection, request: Request) -> None:
        match request.method, request.path, self.models:
            case "GET", "/v1/models", bytes(models):
                connection.send(models)
            case "GET", "/v1/models", models:
                listed = [{"id": name, "object": "model"} for name in models]
                connection.send(json_response({"object": "list", "data": listed}))
            case "POST", "/v1/chat/completions", _:
                self.answer(Reply(connection, request))
            case _:
                connection.send(json_response({"error": "no such route"}, 404))
