"""The event stream of an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
from sse_starlette import EventSourceResponse

from oa_client.local._plugins import Step
from oa_client.local._work import ClosedError, Job, Outcome, Token, Workers


@dataclass(frozen=True)
class Pace:
    """How often a stream shows that it is alive, in seconds. The defaults are the real server's."""

    pending: float = 1.0  # between two pending events, until the first packet
    ping: float = 15.0  # between two comments, whatever else flows


class EventStream(EventSourceResponse):
    """A stream of ready-made events, ended by the server that it belongs to and by no other."""

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        # NOTE: sse-starlette ends every stream of the process, for good, once any uvicorn server in
        # it has been told to stop (`AppStatus.should_exit`), and polls for that twice a second.
        await anyio.sleep_forever()


async def stream_events(job: Job, workers: Workers, pace: Pace) -> AsyncIterator[bytes]:
    """
    Yield the events of one reader, ready for the wire.

    Pending events while nothing has come, then the steps of a plugin and tokens, then one `message`
    or `error` event. It ends without the last when the server closes, and goes on for ever when the
    answer was cancelled.
    """
    interval: float | None = pace.pending
    while True:
        try:
            packet = await workers.take(job, interval)
        except ClosedError:
            return
        if packet is None:
            position, size = workers.position(job)
            yield _event("pending", queue_position=position, queue_size=size)
            continue
        interval = None
        if isinstance(packet, Token):
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
            # NOTE: the real server sends one after each step too; there it is an oversight.
            yield _event("token", text="")
        else:
            yield _last_event(packet, job)
            return


def _last_event(outcome: Outcome, job: Job) -> bytes:
    message = job.message.to_json()
    if outcome.error is None:
        return _event("message", message=message)
    return _event("error", error=outcome.error, message=message)


def _event(event_type: str, **fields: Any) -> bytes:
    return f"data: {json.dumps({'event_type': event_type, **fields})}\r\n\r\n".encode("ascii")
