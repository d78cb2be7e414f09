"""What stands between the wire and the local server: it sees each request, and spoils what is to be spoilt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oa_client.local._surfaces.refusals import NOT_COMPLETE
from oa_client.testing._events import EventGate
from oa_client.testing._faults import Drop, RateLimit, Refuse
from oa_client.testing._line import Line
from oa_client.testing._refusals import refusal
from oa_client.testing._routes import Request, read_request
from oa_client.testing._script import Failure, Script


@dataclass
class _Response:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def data(self) -> Any:
        """The body as JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    async def send(self, send: Send) -> None:
        """Answer with it."""
        headers = [
            (name, b"%d" % len(self.body) if name == b"content-length" else value) for name, value in self.headers
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Stage:
    """Plays a script."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def play(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, line: Line) -> None:
        """Answer one request."""
        body = await _read(receive)
        request = read_request(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
        if (failure := self._script.see(request)) is not None:
            if failure.carried_out or failure.leaves_stub:
                response = await _run(app, scope, body)
                self._learn(request, response, was_told=False, is_stub=failure.leaves_stub)
            await self._fail(failure, request, send, line)
        elif (answer := self._script.answer(request.message_id)) and request.route == "events":
            gate = EventGate(self._script, answer, send, line)
            if answer.is_being_read:
                await gate.keep_waiting(request.surface)
            else:
                await app(scope, _replay(body, receive), gate.send)
                await gate.finish()
        elif request.route == "prompter_message" and self._is_unfinished(request):
            await _refuse(request, Refuse(400, NOT_COMPLETE), send)
        else:
            response = await _run(app, scope, body)
            self._learn(request, response)
            self._paint(request, response)
            await response.send(send)

    async def _fail(self, failure: Failure, request: Request, send: Send, line: Line) -> None:
        match failure.fault:
            case Refuse() as fault:
                await _refuse(request, fault, send)
            case RateLimit():
                await _refuse(request, Refuse(500), send)
            case Drop(how=how):
                await line.hang_up("reset" if how == "reset" else "close")
            case _:
                await line.hold()

    def _is_unfinished(self, request: Request) -> bool:
        """Whether the parent of a prompt is an answer that the server below takes for complete, but nobody else."""
        parent = self._script.answer(str(request.json.get("parent_id"))) if isinstance(request.json, dict) else None
        return parent is not None and parent.state("complete") != "complete"

    def _learn(self, request: Request, response: _Response, *, was_told: bool = True, is_stub: bool = False) -> None:
        if response.status == 200:
            self._script.learn(request, response.data, was_told=was_told, is_stub=is_stub)

    def _paint(self, request: Request, response: _Response) -> None:
        """Have an answer look as the script says."""
        if response.status != 200 or request.route not in ("get_message", "get_chat"):
            return
        data = response.data
        if request.route == "get_message":
            data = self._script.show(data)
        else:
            data["messages"] = [self._script.show(message) for message in data["messages"]]
        response.body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


async def _refuse(request: Request, fault: Refuse, send: Send) -> None:
    response = refusal(request, fault)
    await _Response(response.status_code, response.raw_headers, bytes(response.body)).send(send)


async def _read(receive: Receive) -> bytes:
    blocks = []
    while True:
        message = await receive()
        blocks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(blocks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


async def _run(app: ASGIApp, scope: Scope, body: bytes) -> _Response:
    """Have the application answer, and keep the answer."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    await app(scope, _replay(body, gone), send)
    start, *blocks = messages
    return _Response(start["status"], list(start["headers"]), b"".join(block.get("body", b"") for block in blocks))
