"""
Turn the bytes of an event stream into events, with sseclient-py.

sseclient-py gets only whole events, with LF line ends, valid UTF-8 and no byte order mark. Otherwise it would deliver
an event that the end of the stream cut off, lose the first event after a byte order mark, join two events that a bare
LF and a CRLF separate, stop at invalid UTF-8, and take quadratic time for a long line in small pieces.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Protocol

import sseclient

from oa_client._values.errors import ProtocolError
from oa_client._wire.limits import EVENT_LIMIT, EVENT_LINES_LIMIT


class EventCutter:
    """
    Split a byte stream, in whatever pieces it comes, after whole events.

    Attributes:
        is_empty: whether it holds no part of an event. False before the first piece, which may begin with a byte order
            mark.
    """

    def __init__(self) -> None:
        # Not a list: many pieces of a few bytes would take far more memory than is counted.
        self._held = bytearray()
        self._tail = b""
        self._at_start = True
        self.is_empty = False

    def feed(self, piece: bytes) -> bytes:
        """
        Take a piece of the stream and return the events that it completes, or b"".

        Raises:
            ProtocolError: if an event is longer than `EVENT_LIMIT` bytes.
        """
        if self._at_start:
            piece = self._tail + piece
            if len(piece) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(piece):
                self._tail = piece
                return b""
            self._at_start, self._tail = False, b""
            piece = piece.removeprefix(codecs.BOM_UTF8)
        self._held += piece
        self.is_empty = False
        # Only new bytes can complete an event.
        seam = self._tail + piece
        self._tail = seam[-2:]
        cut = _behind_last_blank(seam)
        if cut == 0:
            if len(self._held) > EVENT_LIMIT:
                raise ProtocolError(f"an event is longer than {EVENT_LIMIT} bytes")
            return b""
        cut += len(self._held) - len(seam)
        events = _clean(bytes(self._held[:cut]))
        del self._held[:cut]
        self._tail = bytes(self._held[-2:])
        self.is_empty = not self._held
        if _first_lines(events) > EVENT_LINES_LIMIT:
            # Comments may have come for hours.
            events = b"\n".join([line for line in events.split(b"\n") if not line.startswith(b":")])
            if _first_lines(events) > EVENT_LINES_LIMIT:
                raise ProtocolError(f"an event has more than {EVENT_LINES_LIMIT} lines")
        return events


def _behind_last_blank(text: bytes) -> int:
    """
    Return the position after the last blank line, or 0.

    If its CR is half of a CRLF, the LF comes before the next event, where a blank line does nothing.
    """
    place = 0
    # The usual line end first, so that the others are looked for only after it.
    for blank in (b"\n\r\n", b"\n\n", b"\r\r\n", b"\n\r", b"\r\r"):
        found = text.rfind(blank, max(0, place - len(blank) + 1))
        if found >= 0:
            place = found + len(blank)
    return place


def _first_lines(events: bytes) -> int:
    """Return how many lines the first event has; the others came in one piece, whose size limits them."""
    end = events.find(b"\n\n")
    return events.count(b"\n", 0, end) if end > EVENT_LINES_LIMIT else 0


def _clean(events: bytes) -> bytes:
    """Return whole events with LF line ends and valid UTF-8."""
    events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return events if events.isascii() else events.decode("utf-8", "replace").encode()


class ServerSentEvent(Protocol):
    """
    An event of the stream.

    Attributes:
        event: its name; "message" if the stream gives none, as with the data events of Open-Assistant.
        data: its text.
    """

    event: str
    data: str


class EventReader:
    """Read the events of a stream, in whatever pieces it comes; skip comments, and an event that the end cuts off."""

    def __init__(self) -> None:
        self._cutter = EventCutter()
        self._whole: list[bytes] = []
        self._parser = sseclient.SSEClient(self._whole)  # type: ignore[arg-type]  # iterated again for each piece

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """
        Take a piece of the stream and return the events that it completes; read them before the next call.

        Raises:
            ProtocolError: if an event is longer than `EVENT_LIMIT` bytes, or has more than `EVENT_LINES_LIMIT` lines.
        """
        self._whole[:] = [self._cut(piece)]
        events: Iterator[ServerSentEvent] = self._parser.events()
        return events

    def _cut(self, piece: bytes) -> bytes:
        # The usual case: one or more whole events, and nothing before.
        if self._cutter.is_empty and piece.endswith(b"\r\n\r\n"):
            events = piece.replace(b"\r\n", b"\n")
            if events.isascii() and b"\r" not in events:
                return events
        return self._cutter.feed(piece)
