"""An event stream says the same however its bytes are cut up."""

from __future__ import annotations

import itertools
import random
import re
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oa_client import ProtocolError
from oa_client._wire import sse as _sse
from oa_client._wire.limits import EVENT_LIMIT
from oa_client._wire.sse import EventCutter, EventReader

Events = list[tuple[str, str]]
BOM = b"\xef\xbb\xbf"


def parse(pieces: Iterable[bytes]) -> Events:
    """Return name and data of each event."""
    reader = EventReader()
    return [(event.event, event.data) for piece in pieces for event in reader.feed(piece)]


def by_the_standard(stream: bytes) -> Events:
    """Read a whole stream as section 9.2.6 of the HTML standard says, by the simplest means."""
    lines = re.split("\r\n|\n|\r", stream.decode("utf-8", "replace").removeprefix("\ufeff"))[:-1]
    events: Events = []
    name, data = "", ""
    for line in lines:
        field, _, value = line.partition(":")
        if not line:
            if data:
                events.append((name or "message", data.removesuffix("\n")))
            name, data = "", ""
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data += value.removeprefix(" ") + "\n"
    return events


def fixed_size(stream: bytes, size: int) -> Iterator[bytes]:
    """Yield a stream in pieces of one size."""
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


MIXED = (
    'data: {"text": "h\u00e9\u20ac\U0001f642"}\n\ndata:b\ndata: c\n\n: note\n\nevent: ping\ndata: now\n\ndata: d\n\n'
)
STREAMS = {
    "CRLF": MIXED.replace("\n", "\r\n").encode(),
    "LF": MIXED.encode(),
    "CR": MIXED.replace("\n", "\r").encode(),
    "mixed": b"data: a\r\ndata: b\n\rdata: c\r\rdata: d\n\r\ndata: e\r\n\ndata: f\r\n\rdata: g\n\n",
    "LF then CRLF": b"data: a\n\r\ndata: b\n\r\n",
    "CR then CRLF": b"data: a\r\r\ndata: b\r\r\n",
    "BOM": BOM + b"data: a\n\ndata: b\n\n",
    "BOM, then CRLF": BOM + b"\r\ndata: a\r\n\r\n",
    "BOM twice": BOM + BOM + b"data: a\n\ndata: b\n\n",
    "BOM later": b"data: a\n\n" + BOM + b"data: b\n\n",
    "half a BOM": b"\xef\xbbdata: a\n\ndata: b\n\n",
    "half a BOM alone": b"\xef\xbb",
    "comments": b": one\r\n\r\n:\r\n: two\r\ndata: a\r\n: three\r\n\r\n: ping - 2026-11-22\r\n\r\n",
    "pings": b"event: ping\r\ndata: 2026-11-22 15:32:42\r\n\r\ndata: a\r\n\r\nevent: ping\r\n\r\ndata: b\r\n\r\n",
    "fields": b"id: 1\nretry: 5\nnew: x\ndata: a\nevent\n\nevent: x\nevent: y\nid\ndata\ndata\n\n",
    "unknown fields": b"data : c\n\nDATA: d\n\n data: e\n\ndata: f\n\n",
    "spaces": b"data:a\n\ndata:  b \n\n data: c\n\ndata:\n\n   \n\ndata: : d\n\n",
    "blank lines": b"\n\r\n\r\r\ndata: a\n\n\n\n\r\n\r\ndata: b\r\n\r\n\r\n",
    "separators in data": "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1eh\0i\n\ndata: j\n\n".encode(),
    "separators alone": "\u2028\n\x1c\n\x0b\ndata: a\n\u3000\n\n".encode(),
    "invalid UTF-8": b"data: \xff\xfe a \xe2\x82\n\ndata: \xed\xa0\xbd\ndata: \xc3\r\n\r\ndata: \xf0\x9f\x99\n\n",
    "cut off": b"data: a\n\ndata: b\n",
    "cut off in a line": b"data: a\n\ndata: b",
    "cut off in a CRLF": b"data: a\r\n\r\ndata: b\r\n\r",
    "cut off in a character": b"data: a\n\ndata: \xe2\x82",
    "empty": b"",
}
ALL = [pytest.param(stream, id=name) for name, stream in STREAMS.items()]


@pytest.mark.parametrize("stream", ALL)
def test_whole_stream(stream: bytes) -> None:
    """A stream in one piece has the events that the standard gives it."""
    assert by_the_standard(stream) == parse([stream])


@pytest.mark.parametrize("stream", ALL)
def test_every_split_in_two(stream: bytes) -> None:
    """A stream cut in two anywhere has the same events."""
    places = range(len(stream))

    expected = dict.fromkeys(places, by_the_standard(stream))
    assert expected == {place: parse([stream[:place], stream[place:]]) for place in places}


@pytest.mark.parametrize("stream", ALL)
def test_every_fixed_size(stream: bytes) -> None:
    """A stream in pieces of any one size has the same events."""
    sizes = range(1, len(stream) + 1)

    expected = dict.fromkeys(sizes, by_the_standard(stream))
    assert expected == {size: parse(fixed_size(stream, size)) for size in sizes}


@pytest.mark.parametrize("stream", ALL)
def test_every_beginning(stream: bytes) -> None:
    """However far a stream has come byte by byte, the events so far are there."""
    beginnings = [stream[:end] for end in range(1, len(stream) + 1)]

    expected = {start: by_the_standard(start) for start in beginnings}
    assert expected == {start: parse(fixed_size(start, 1)) for start in beginnings}


@pytest.mark.parametrize("stream", ALL)
def test_pieces_that_end_an_event(stream: bytes) -> None:
    """Pieces that end with a blank line, as the real servers send them, have the same events as their whole."""
    pieces = [b"data: first\r\n\r\n", stream + b"\r\n\r\n", stream + b"\r\n\r\n"]

    assert by_the_standard(b"".join(pieces)) == parse(pieces)


FRAGMENTS = [
    *(b"data: ", b"data:", b"data", b"event: ping", b"event:x", b"id: 1", b"retry: 1", b": note", b":", b" ", b"x"),
    *(b"\n", b"\n", b"\r", b"\r", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n\n"),
    *(BOM, b"\xef", b"\xbb", b"\xff", b"\xe2\x80\xa8", b"\xc3\xa9", b"\xc3", b"\0", b"\x0b", b"\x1c", b"\xc2\x85"),
]


@pytest.mark.parametrize("seed", range(40))
def test_random_streams(seed: int) -> None:
    """Streams put together at random have the events of the standard, cut at random or not."""
    chance = random.Random(seed)  # noqa: S311 - made-up data

    for _ in range(50):
        stream = b"".join(chance.choices(FRAGMENTS, k=chance.randrange(30)))
        places = sorted(chance.choices(range(len(stream) + 1), k=5))
        pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]

        expected = by_the_standard(stream)
        assert (stream, expected) == (stream, parse([stream]))
        assert (pieces, expected) == (pieces, parse(pieces))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(
            b"data: three\ndata: lines of\ndata: one event\n\n", ["three\nlines of\none event"], id="several data lines"
        ),
        pytest.param(
            b": a comment\n\ndata: the first\nid: 1\n\ndata:the second\nid\n\ndata:  the third",
            ["the first", "the second"],
            id="comment, ids, and a third that is cut off",
        ),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", ["", "\n"], id="data without a value"),
        pytest.param(b"data:same\n\ndata: same\n\n", ["same", "same"], id="one space belongs to the colon"),
    ],
)
def test_examples_of_the_standard(stream: bytes, events: list[str]) -> None:
    """What the standard shows as examples comes out as it says there."""
    assert [("message", data) for data in events] == parse([stream])


def test_event_of_the_real_server() -> None:
    """A token and a ping as the real servers send them have their names and data."""
    stream = b'data: {"event_type": "token", "text": "\\u2028\\ud83d"}\r\n\r\nevent: ping\r\ndata: 2026-11-22\r\n\r\n'

    assert [("message", r'{"event_type": "token", "text": "\u2028\ud83d"}'), ("ping", "2026-11-22")] == parse([stream])


def test_invalid_utf8_is_replaced() -> None:
    """A byte that is no UTF-8 becomes the replacement character, and the stream goes on."""
    assert [("message", "a\ufffdb"), ("message", "c")] == parse([b"data: a\xffb\n\ndata: c\n\n"])


def test_empty_pieces() -> None:
    """Pieces without a byte change nothing."""
    assert [("message", "a"), ("message", "b")] == parse([b"", b"da", b"", b"ta: a\n", b"", b"\n", b"", b"data: b\n\n"])


class Work:
    """Adds up the bytes that a cutter looks at, call by call, while it is active."""

    def __init__(self) -> None:
        self.total = 0

    def __enter__(self) -> Work:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename == _sse.__file__:
            self.total += sum(len(value) for value in frame.f_locals.values() if isinstance(value, (bytes, bytearray)))


def test_long_line_in_small_pieces() -> None:
    """A long line that comes byte by byte is looked at a few times at most, not once for each piece."""
    cutter = EventCutter()
    line = b"data: " + b"x" * 20_000 + b"\n\n"

    with Work() as work:
        events = b"".join([cutter.feed(piece) for piece in fixed_size(line, 1)])

    assert line == events
    assert 0 < work.total < 10 * len(line)


def test_many_lines_in_small_pieces() -> None:
    """Many lines of one event that come one by one are not looked at again for each."""
    cutter = EventCutter()
    event = b": keep-alive\n" * 2_000 + b"\n"

    with Work() as work:
        for piece in fixed_size(event, 13):
            cutter.feed(piece)

    assert 0 < work.total < 10 * len(event)


def test_small_pieces_take_no_more_memory_than_large_ones() -> None:
    """What is held of an event is held once, however small the pieces are that it came in."""
    cutter, size = EventCutter(), 200_000
    tracemalloc.start()
    try:
        for piece in fixed_size(b"x" * size, 2):
            cutter.feed(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 2 * size


@pytest.mark.parametrize("last", [pytest.param(b"x", id="in a line"), pytest.param(b"\n", id="at a line end")])
def test_size_limit(last: bytes) -> None:
    """An event of the limit's size is waited for, and one that is longer is refused."""
    cutter = EventCutter()
    piece = b"x" * (1024 * 1024)
    fed = [cutter.feed(piece) for _ in range(EVENT_LIMIT // len(piece))]

    assert {b""} == set(fed)
    with pytest.raises(ProtocolError, match=str(EVENT_LIMIT)):
        cutter.feed(last)


PARTS = (
    *(b"\n", b"\r", b"\r\n", b":", b" ", b"data", b"data: ", b"event: ping", b"id: 1", b"retry: 9", b"\x00"),
    *(b"{}", b"x" * 200, "\u2028\x85\x0b".encode(), "\U0001f600".encode(), b"\xff", b"\xf0\x9f", BOM),
)


@given(
    fragments=st.lists(st.sampled_from(PARTS) | st.binary(max_size=5), max_size=60),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=30),
)
@settings(max_examples=500, deadline=None, database=None, derandomize=True)
def test_any_bytes_in_any_pieces(fragments: list[bytes], cuts: list[int]) -> None:
    """Whatever bytes come, and however they are cut up, the events are those that the standard says."""
    stream = b"".join(fragments)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    assert by_the_standard(stream) == parse(pieces)
