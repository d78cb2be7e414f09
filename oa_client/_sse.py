"""
From the bytes of an event stream to the data of its events, with sseclient-py.

sseclient-py is given whole events only, with LF line ends, valid UTF-8 and no byte order mark. Left alone it delivers
an event that the end of the stream cut off, loses the first after a byte order mark, joins two that a bare LF and a
CRLF part, stops at invalid UTF-8, and takes quadratic time over a long line that comes in small pieces.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Protocol

import sseclient

from ._errors import ProtocolError

#: bytes; the final event of an answer of a million tokens has 5 million.
EVENT_LIMIT = 64 * 1024 * 1024


class EventCutter:
    """Cuts a byte stream, however it is cut up, behind whole events."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_size = 0
        self._at_start = True

    def feed(self, piece: bytes) -> bytes:
        """
        Take a piece of the stream and return the events that it completes, b"" if none.

        Raises:
            ProtocolError: if an event is longer than `EVENT_LIMIT` bytes.
        """
        # The usual case: one whole event, or several, and nothing before.
        if not self._held and not self._at_start and piece.endswith(b"\r\n\r\n"):
            events = piece.replace(b"\r\n", b"\n")
            if events.isascii() and b"\r" not in events:
                return events
        return self._feed_slowly(piece)

    def _feed_slowly(self, piece: bytes) -> bytes:
        self._held.append(piece)
        self._held_size += len(piece)
        if self._at_start:
            start = b"".join(self._held)
            if len(start) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(start):
                return b""
            self._at_start = False
            self._held = [start.removeprefix(codecs.BOM_UTF8)]
        # Only a line end can complete an event: without one the pieces are not looked at again.
        if b"\n" not in piece and b"\r" not in piece and self._held_size <= EVENT_LIMIT:
            return b""
        text = b"".join(self._held)
        cut = _behind_last_blank(text)
        self._held = [text[cut:]] if cut < len(text) else []
        self._held_size = len(text) - cut
        if self._held_size > EVENT_LIMIT:
            raise ProtocolError(f"an event is longer than {EVENT_LIMIT} bytes")
        return _clean(text[:cut])


def _behind_last_blank(text: bytes) -> int:
    """
    Return where the last blank line is over, 0 if there is none.

    If its CR turns out to be half of a CRLF, the LF stands before the next event, where a blank line does nothing.
    """
    blanks = (b"\n\r\n", b"\r\r\n", b"\n\n", b"\n\r", b"\r\r")
    return max(place + len(blank) if (place := text.rfind(blank)) >= 0 else 0 for blank in blanks)


def _clean(events: bytes) -> bytes:
    """Return whole events with LF line ends and in valid UTF-8."""
    events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return events if events.isascii() else events.decode("utf-8", "replace").encode()


class ServerSentEvent(Protocol):
    """
    An event of the stream.

    Attributes:
        event: its name; "message" where the stream gives none, as the data events of Open-Assistant.
        data: its text.
    """

    event: str
    data: str


def read_events(pieces: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Yield each event of a stream, as it is complete; one that the end cuts off is dropped, and so are comments."""
    cutter = EventCutter()
    events: Iterator[ServerSentEvent] = sseclient.SSEClient(filter(None, map(cutter.feed, pieces))).events()
    return events
