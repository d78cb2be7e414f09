"""The client and the local server read event streams with different libraries, and find the same in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from oa_client._wire.sse import EventReader
from oa_client.local._models.sse import read_events

Read = Callable[[Iterable[bytes]], list[str]]
BOM = b"\xef\xbb\xbf"
SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"


def by_the_client(pieces: Iterable[bytes]) -> list[str]:
    """Return what the client takes for more than a heartbeat."""
    reader = EventReader()
    events = [(event.event, event.data) for piece in pieces for event in reader.feed(piece)]
    return [data for name, data in events if data and name != "ping"]


def by_the_server(pieces: Iterable[bytes]) -> list[str]:
    """Return what the local server reads of an upstream."""
    return list(read_events(pieces))


STREAMS = {
    "LF": (b"data: a\n\ndata: b\n\n", ["a", "b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    "CR": (b"data: a\r\rdata: b\r\r", ["a", "b"]),
    "mixed": (b"data: a\r\ndata: b\n\rdata: c\r\rdata: d\n\r\ndata: e\r\n\n", ["a\nb", "c", "d", "e"]),
    "BOM": (BOM + b"data: a\n\ndata: b\n\n", ["a", "b"]),
    "BOM before CRLF": (BOM + b"\r\ndata: a\r\n\r\n", ["a"]),
    "BOM later": (b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n", ["a", "c"]),
    "spaces": (b"data:a\n\ndata:  b \n\n data: c\n\n", ["a", " b "]),
    "heartbeats": (b": ping\n\ndata:\n\ndata\n\nevent: ping\ndata: {}\n\nevent: ping\n\ndata: a\n\n", ["a"]),
    "other fields": (b"id: 1\nretry: 5\nnew: x\nevent: x\ndata: a\n\nid: 2\n\ndata: b\n\n", ["a", "b"]),
    "lines": (b"data: a\ndata\ndata: b\n: note\n\n", ["a\n\nb"]),
    "separators in data": (
        "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(),
        ["a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"],
    ),
    "characters": ("data: h\u00e9\u20ac\U0001f642\n\n".encode(), ["h\u00e9\u20ac\U0001f642"]),
    "invalid UTF-8": (b"data: \xff a \xe2\x82\n\ndata: b\n\n", ["\ufffd a \ufffd", "b"]),
    "empty": (b"", []),
}


@pytest.mark.parametrize("read", [by_the_client, by_the_server])
@pytest.mark.parametrize(("stream", "texts"), STREAMS.values(), ids=STREAMS)
def test_framing(read: Read, stream: bytes, texts: list[str]) -> None:
    """A stream says the same whole, cut in two anywhere, and byte by byte."""
    cuts = {place: [stream[:place], stream[place:]] for place in range(len(stream) + 1)}
    cuts[-1] = [stream[place : place + 1] for place in range(len(stream))]

    assert dict.fromkeys(cuts, texts) == {place: read(pieces) for place, pieces in cuts.items()}


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_last_event_of_an_upstream(end: bytes) -> None:
    """The last event of an upstream is read although its blank line or line end is left out."""
    assert ["a", "[DONE]"] == by_the_server([b"data: a\n\ndata: [DONE]" + end])
