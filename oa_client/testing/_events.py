"""The events of an answer on their way out: passed on, or spoilt."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from starlette.types import Message, Send

from oa_client.local._surfaces.fastapi import SERVER
from oa_client.local._surfaces.nextjs import CLOSING
from oa_client.testing._answer import Answer
from oa_client.testing._faults import Cancelled, Cut, Drop, Pings, Queued, Stall, TimedOut
from oa_client.testing._line import Line
from oa_client.testing._routes import Surface
from oa_client.testing._script import Script

PENDING_PAUSE = 1.0  # seconds between two pending events, as on the real server

_HEADS: dict[Surface, list[tuple[bytes, bytes]]] = {
    "inference": [
        SERVER,
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"connection", b"keep-alive"),
        (b"x-accel-buffering", b"no"),
    ],
    "website": CLOSING,
}


class EventGate:
    """
    What the first reader is sent of what the server below writes.

    The fault comes when that has all been written, so that the server is known to have the answer.
    """

    def __init__(self, script: Script, answer: Answer, send: Send, line: Line) -> None:
        self._script = script
        self._answer = answer
        self._send = send
        self._line = line
        self._passes_all = False
        self._tokens = 0
        self._held_back: list[bytes] = []

    async def send(self, message: Message) -> None:
        """Take what the server below sends."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._passes_all:
            await self._send(message)
        elif body := message.get("body"):
            await self._pass_on(body)

    async def finish(self) -> None:
        """Do what is to be done when the server below has sent all."""
        if self._passes_all:
            return
        if self._held_back or not self._answer.looks_finished:
            await self._strike()
        else:
            await self._end()

    async def keep_waiting(self, surface: Surface) -> None:
        """Have a later reader wait, who hears nothing of what the first one was told, as on the real server."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _HEADS[surface]})
        await self._wait_in_queue(0)

    async def _start(self, message: Message) -> None:
        if message["status"] == 204 and not self._answer.looks_finished:
            # It is finished for the server below alone.
            message = {**message, "status": 200, "headers": _HEADS["inference"]}
        self._passes_all = message["status"] != 200
        if not self._passes_all:
            self._script.open(self._answer)
        await self._send(message)

    async def _pass_on(self, body: bytes) -> None:
        event = _parse(body)
        # A function's reply is known when its first token comes.
        if self._tokens >= self._answer.limit:
            self._held_back.append(body)
            return
        if event.get("event_type") == "token":
            self._tokens += 1
        elif isinstance(message := event.get("message"), dict):
            body = _event(**{**event, "message": self._answer.show(message)})
        await self._chunk(body)

    async def _strike(self) -> None:
        """Let the fault come."""
        self._answer.struck = True
        if self._answer.is_stub:
            await self._wait_in_queue(0)
            return
        match self._answer.fault:
            case Drop(how="end"):
                await self._end()
            case Drop(how="reset"):
                await self._line.hang_up("reset")
            case Drop():
                await self._line.hang_up("close")
            case Cut(inside=inside):
                self._line.write(_cut(inside, b"".join(self._held_back[:1])))
                await self._line.hang_up("close")
            case Stall():
                await self._line.hold()
            case Pings(every=every):
                await self._chunk(_ping())
                while not await self._line.hold(every):
                    await self._chunk(_ping())
            case Queued() | Cancelled():
                await self._wait_in_queue(1)
            case TimedOut():
                message = self._answer.show({**self._answer.message, "state": "timeout"})
                await self._chunk(_event(event_type="error", error="Timeout", message=message))
                await self._end()

    async def _wait_in_queue(self, position: int) -> None:
        pending = _event(event_type="pending", queue_position=position, queue_size=position)
        await self._chunk(pending)
        while not await self._line.hold(PENDING_PAUSE):
            await self._chunk(pending)

    async def _chunk(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


def _event(**fields: Any) -> bytes:
    return f"data: {json.dumps(fields)}\r\n\r\n".encode("ascii")


def _parse(body: bytes) -> dict[str, Any]:
    """The event in a chunk, empty if it is a ping."""
    return dict(json.loads(body[len(b"data: ") :])) if body.startswith(b"data: {") else {}


def _ping() -> bytes:
    return f": ping - {datetime.now(timezone.utc)}\r\n\r\n".encode("ascii")


def _cut(inside: str, event: bytes) -> bytes:
    """The bytes of a chunked body as far as they come, where the next event would be this one."""
    half = event[: len(event) // 2]
    if inside == "chunk":
        return b"%x\r\n%b" % (len(event), half)
    if inside == "character":
        half = 'data: {"event_type": "token", "text": "é'.encode()[:-1]
    return b"%x\r\n%b\r\n" % (len(half), half)
