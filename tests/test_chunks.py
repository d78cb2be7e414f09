"""A body comes out of its chunks the same however its bytes are cut up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from oa_client._net.chunks import ChunkError, Dechunker
from oa_client._wire.limits import CHUNK_DIGITS_LIMIT, CHUNK_LINE_LIMIT


class Outcome(NamedTuple):
    """What became of the pieces of a body."""

    payload: bytes
    is_over: bool
    excess: bool


def feed(pieces: Iterable[bytes]) -> Outcome:
    """Take a body out of its chunks as they come, to its end at most, as those who read it do."""
    chunks = Dechunker()
    payload = b""
    for piece in pieces:
        payload += chunks.feed(piece)
        assert len(chunks._held) <= CHUNK_LINE_LIMIT
        if chunks.is_over:
            break
    return Outcome(payload, chunks.is_over, chunks.excess)


def fixed_size(data: bytes, size: int) -> Iterator[bytes]:
    """Yield data in pieces of one size."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


BODIES = {
    "one chunk": (b"5\r\nHello\r\n0\r\n\r\n", b"Hello"),
    "many chunks": (b"5\r\nHello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", b"Hello world"),
    "empty": (b"0\r\n\r\n", b""),
    "many zeros": (b"0005\r\nHello\r\n000\r\n\r\n", b"Hello"),
    "line ends inside": (
        b"4\r\n\r\n\r\n\r\n6\r\n\r\r\n\n\r\n\r\n1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
        b"\r\n\r\n\r\r\n\n\r\n\r\n",
    ),
    "an end inside": (b"5\r\n0\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n0\r\n\r\n"),
    "lower case": (b"1b\r\n" + b"x" * 27 + b"\r\n0\r\n\r\n", b"x" * 27),
    "upper case": (b"1B\r\n" + b"x" * 27 + b"\r\n0\r\n\r\n", b"x" * 27),
    "extensions": (b'2;a\r\nHi\r\n1;b=1;c="x"\r\n!\r\n0;last\r\n\r\n', b"Hi!"),
    "blanks behind a size": (b"2 \r\nHi\r\n1 ; a=b\r\n!\r\n0  \r\n\r\n", b"Hi!"),
    "trailers": (b"2\r\nHi\r\n0\r\nX-Sum: 5\r\n2: 3\r\n\r\n", b"Hi"),
    "an event": (b'1e\r\ndata: {"event_type": "token"}\n\r\n0\r\n\r\n', b'data: {"event_type": "token"}\n'),
}
ALL = [pytest.param(body, payload, id=name) for name, (body, payload) in BODIES.items()]


@pytest.mark.parametrize(("body", "payload"), ALL)
def test_whole_body(body: bytes, payload: bytes) -> None:
    """A body in one piece comes out whole, and nothing is behind it."""
    assert Outcome(payload, True, False) == feed([body])


@pytest.mark.parametrize(("body", "payload"), ALL)
def test_every_cut_in_two(body: bytes, payload: bytes) -> None:
    """A body cut in two anywhere is the same."""
    places = range(len(body) + 1)

    expected = dict.fromkeys(places, Outcome(payload, True, False))
    assert expected == {place: feed([body[:place], body[place:]]) for place in places}


@pytest.mark.parametrize(("body", "payload"), ALL)
def test_every_fixed_size(body: bytes, payload: bytes) -> None:
    """A body in pieces of any one size, one byte at a time among them, is the same."""
    sizes = range(1, len(body) + 1)

    expected = dict.fromkeys(sizes, Outcome(payload, True, False))
    assert expected == {size: feed(fixed_size(body, size)) for size in sizes}


@pytest.mark.parametrize(("body", "payload"), ALL)
def test_incomplete_body_is_not_over(body: bytes, payload: bytes) -> None:
    """Of a body that is cut off anywhere a beginning comes out, and it is not over."""
    starts = [feed([body[:place]]) for place in range(len(body))]

    assert [(True, False, False)] * len(body) == [
        (payload.startswith(start.payload), start.is_over, start.excess) for start in starts
    ]


def test_payload_of_an_incomplete_chunk_comes_at_once() -> None:
    """What has come of a chunk is handed over though the rest is yet to come, and so is its last byte."""
    chunks = Dechunker()

    pieces = [b"b\r\nHel", b"lo", b"", b" world", b"\r", b"\n", b"1\r\n!\r", b"\n0\r\n\r\n"]
    assert [b"Hel", b"lo", b"", b" world", b"", b"", b"!", b""] == [chunks.feed(piece) for piece in pieces]
    assert chunks.is_over


def test_payload_that_looks_like_a_line_end_comes_at_once() -> None:
    """A CR and an LF that belong to the payload are not held back."""
    chunks = Dechunker()

    assert [b"\r", b"\n", b"\r"] == [chunks.feed(piece) for piece in (b"3\r\n\r", b"\n", b"\r\r\n")]


def test_large_chunk() -> None:
    """A chunk may be far larger than what a line may be."""
    payload = bytes(range(256)) * 1024
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload)

    expected = Outcome(payload, True, False)
    assert {1000: expected, 65536: expected} == {size: feed(fixed_size(body, size)) for size in (1000, 65536)}


@pytest.mark.parametrize("behind", [b"\r", b"\r\n", b"0", b"HTTP/1.1 200 OK\r\n", b"x" * (CHUNK_LINE_LIMIT + 1)])
def test_excess(behind: bytes) -> None:
    """What came behind the end is noticed, is no part of the body, and is no mistake."""
    chunks = Dechunker()

    assert b"Hi" == chunks.feed(b"2\r\nHi\r\n0\r\n\r\n" + behind)
    assert (True, True) == (chunks.is_over, chunks.excess)


def test_excess_behind_trailers() -> None:
    """Trailers are not excess; what is behind them is."""
    assert Outcome(b"", True, True) == feed([b"0\r\na: b\r\n", b"\r\nx"])


BROKEN = {
    "no size": b"\r\n",
    "blanks": b"  \r\n",
    "an extension alone": b";a=b\r\n",
    "plus": b"+5\r\nHello\r\n",
    "minus": b"-5\r\nHello\r\n",
    "underscore": b"1_0\r\n",
    "0x": b"0x5\r\nHello\r\n",
    "0X": b"0X5\r\nHello\r\n",
    "0x, with an extension": b"0x5;a\r\nHello\r\n",
    "0x alone": b"0x\r\n",
    "a blank inside": b"1 0\r\n",
    "no number": b"xyz\r\n",
    "not quite hexadecimal": b"1g\r\n",
    "not ASCII": "\u0665\r\nHello\r\n".encode(),
    "superscript": b"\xb2\r\n",
    "a zero byte": b"5\0\r\nHello\r\n",
    "LF alone": b"5\nHello\n0\n\n\r\n",
    "too many digits": b"1" * (CHUNK_DIGITS_LIMIT + 1) + b"\r\n",
    "too many zeros": b"0" * CHUNK_DIGITS_LIMIT + b"5\r\nHello\r\n",
    "too long": b"5\r\nHello!\r\n0\r\n\r\n",
    "too long by a CR": b"5\r\nHello\r\r\n0\r\n\r\n",
    "too long by an LF": b"5\r\nHello\n\r\n0\r\n\r\n",
    "two line ends": b"5\r\nHello\r\n\r\n0\r\n\r\n",
    "later": b"5\r\nHello\r\n5\r\nHello\r\nHello\r\n",
}
ALL_BROKEN = [pytest.param(body, id=name) for name, body in BROKEN.items()]


@pytest.mark.parametrize("body", ALL_BROKEN)
def test_what_is_not_chunked_is_refused(body: bytes) -> None:
    """Every mistake raises, in one piece, byte by byte, and behind a good chunk."""
    for pieces in ([body], fixed_size(body, 1), [b"1\r\n!\r\n" + body], [b"1\r\n!\r\n", body]):
        with pytest.raises(ChunkError):
            feed(pieces)


def test_longest_size() -> None:
    """A size of the most digits that are allowed is read."""
    assert Outcome(b"Hi", False, False) == feed([b"f" * CHUNK_DIGITS_LIMIT + b"\r\nHi"])


@pytest.mark.parametrize("size", [1, 1000, CHUNK_LINE_LIMIT + 1])
@pytest.mark.parametrize("start", [b"", b"2\r\nHi\r\n", b"0\r\n", b"0\r\na: b\r\n"])
def test_line_without_end_is_refused(start: bytes, size: int) -> None:
    """A line that does not end raises once it passes the limit, in pieces of any size, and no more of it is held."""
    with pytest.raises(ChunkError, match=str(CHUNK_LINE_LIMIT)):
        feed([start, *fixed_size(b"1" * (CHUNK_LINE_LIMIT + size), size)])


@pytest.mark.parametrize("start", [b"0;", b"0\r\n"])
def test_longest_line(start: bytes) -> None:
    """An extension or a trailer of nearly the limit's length is passed over, byte by byte too."""
    body = start + b"a" * (CHUNK_LINE_LIMIT - 10) + b"\r\n\r\n"

    assert [Outcome(b"", True, False)] * 2 == [feed([body]), feed(fixed_size(body, 1))]


def test_little_is_held() -> None:
    """However long a body is and however it comes, no more of it is held than a line."""
    chunks = Dechunker()
    event = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    held = set()

    for piece in fixed_size(event * 1000, 777):
        chunks.feed(piece)
        held.add(len(chunks._held))

    assert max(held) <= len(b"3e8\r\n")
