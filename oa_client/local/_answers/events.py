"""The event stream of an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from oa_client.local._answers.job import Job, LastPacket, TokenPacket
from oa_client.local._answers.plugins import Step
from oa_client.local._answers.work import BackendWorkers, ClosedError


class EventStream(EventSourceResponse):
    """
    A stream of ready-made events, which only its own server ends.

    Args:
        events: the events to send.
        ping: seconds between two comments, whatever else is sent.
        headers: headers of the answer, besides those of every event stream.
        ended: called when the stream is over, or its reader has left.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        ping: float,
        headers: Mapping[str, str] | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(events, headers=headers, ping=ping)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it to a reader."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        # NOTE: once any uvicorn server in the process stops (`AppStatus.should_exit`), sse-starlette ends every stream
        # of the process, and it polls for that twice a second.
        await anyio.sleep_forever()


async def stream_events(job: Job, workers: BackendWorkers, pending_interval: float) -> AsyncIterator[bytes]:
    """
    Yield the events for one reader, ready for the wire.

    First come pending events, at the interval of the settings, then plugin steps and tokens, then one `message` or
    `error` event. If the server closes, the last is missing; if the answer was cancelled, the stream never ends.
    """
    begun = False
    while True:
        try:
            # NOTE: in turns to the end, as on the real server: this decides which of two readers is next.
            packet = await workers.take(job, pending_interval)
        except ClosedError:
            return
        if packet is None:
            if not begun:
                position, size = workers.position(job)
                yield _event("pending", queue_position=position, queue_size=size)
            continue
        begun = True
        if isinstance(packet, TokenPacket):
            yield _event("token", text=packet.text)
        elif isinstance(packet, Step):
            yield _event(
                "plugin_intermediate",
                current_plugin_thought=packet.thought,
                current_plugin_action_taken=packet.action,
                current_plugin_action_input=packet.input,
                current_plugin_action_response=packet.response,
                message=None,
            )
            # NOTE: the real server, by an oversight, sends one after each step too.
            yield _event("token", text="")
        else:
            yield _last_event(packet)
            return


def _last_event(end: LastPacket) -> bytes:
    if end.error is None:
        return _event("message", message=end.message)
    return _event("error", error=end.error, message=end.message)


def _event(event_type: str, **fields: Any) -> bytes:
    return f"data: {json.dumps({'event_type': event_type, **fields})}\r\n\r\n".encode("ascii")
