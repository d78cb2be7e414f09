"""From the bytes of an event stream to the data of its events, with httpx-sse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import httpx
from httpx_sse import EventSource

HEADERS = {"content-type": "text/event-stream; charset=utf-8-sig"}
"""httpx-sse keeps a byte order mark, and that codec drops it. The charset that the server names does not count."""

END = b"\n\n"
"""Ends an event whose blank line, or line end, the server has left out at the end of the stream."""


def read_events(blocks: Iterable[bytes]) -> Iterator[str]:
    """
    Yield the data of each event, however the stream is cut up.

    Heartbeats are left out: gateways send events that are named ping, or that have no data.

    This does not read with sseclient-py: the client reads with that, and must not be tested with its own mistakes.
    """
    response = httpx.Response(200, headers=HEADERS, content=chain(blocks, [END]))
    for event in EventSource(response).iter_sse():
        if event.data and event.event != "ping":
            yield event.data
