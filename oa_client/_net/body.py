"""
The body of an event stream, as it comes.

urllib3 waits until there is something to hand over, and in the middle of a chunk's size for the rest of that: it
cannot be asked for what is there. So where that can be done, the bytes are taken from the socket and the chunks taken
off here: this costs less for each token, and one thread can read many streams. It needs a private name of urllib3's,
which is looked at before it is used; where it is not as expected, or the body is another (compressed, not chunked, on
somebody else's session, or TLS within TLS), urllib3 reads it.
"""

from __future__ import annotations

import io
import logging
import math
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import requests
import urllib3.exceptions

from oa_client._net.chunks import ChunkError, Dechunker
from oa_client._net.failure import LINE_ERRORS, pass_foreign
from oa_client._net.interrupt import Interrupt
from oa_client._values.errors import OAError
from oa_client._values.foreign import is_foreign, suppress

_log = logging.getLogger("oa_client")

#: bytes asked for at a time; what is there comes at once, however little it is.
PIECE = 65536
#: After the last event: how much (bytes) and how long (seconds) to read for the end, so that the connection is kept.
DRAIN_BYTES = 65536
DRAIN_SECONDS = 0.05


class Body:
    """
    The body of an event stream, read by urllib3.

    Args:
        response: not yet read.
        interrupt: has the socket.
        translate: makes our errors of those of the libraries below.

    Attributes:
        is_over: whether all of it was read.
        is_direct: whether `set_timeout(0)` is allowed.
        before_close: called before the socket is closed, if somebody waits for it.
        translate: as given; for what `read` raises.
        failure: why there is nothing to read; None if there is.
    """

    is_direct = False
    failure: OAError | None = None

    def __init__(
        self, response: requests.Response, interrupt: Interrupt, translate: Callable[[Exception], OAError]
    ) -> None:
        self.is_over = False
        self.before_close: Callable[[], object] | None = None
        self.translate = translate
        self._response = response
        self._interrupt = interrupt
        raw = response.raw
        # The collector might get to the socket of a forgotten cycle first, which warns that it is not closed. Not the
        # response's close(), which gives the connection back: the pool may be locked where the collector comes.
        self._last_will = weakref.finalize(self, raw.close)
        self._last_will.atexit = False
        # Not a generator of our own: it would know this body, and the cycle would keep the socket open when nobody
        # holds it any more.
        self._pieces: Iterator[bytes] = pieces(raw)

    @classmethod
    def of(cls, response: requests.Response, interrupt: Interrupt, translate: Callable[[Exception], OAError]) -> Body:
        """Return the body of a response, direct if that can be done."""
        kind = DirectBody if _is_readable(response, interrupt.socket) else Body
        return kind(response, interrupt, translate)

    def read(self) -> bytes | None:
        """
        Return bytes as they come; perhaps none, also before the end. None is for those that do not wait.

        Raises:
            Exception: what the libraries below do.
        """
        piece = next(self._pieces, None)
        if piece is None:
            self.is_over = True
            return b""
        return piece

    def fileno(self) -> int:
        """Return the descriptor of the socket, to wait for; only of a direct body that is open."""
        return int(self._interrupt.socket.fileno())

    def set_timeout(self, seconds: float) -> None:
        """Bound the next read, in seconds; may be infinite."""
        sock = self._interrupt.socket
        if sock is not None:
            with suppress(OSError):
                sock.settimeout(None if seconds == math.inf else seconds)

    def set_deadline(self, seconds: float) -> None:
        """Bound the next read as a whole: what drips within a line of the framing gives nothing to return."""
        self._interrupt.deadline = time.monotonic() + seconds

    def drain(self) -> None:
        """Read on to the end, but not for long, and close: at its end, the connection is kept for the next call."""
        deadline = time.monotonic() + DRAIN_SECONDS
        self.set_deadline(DRAIN_SECONDS)
        size = 0
        try:
            while not self.is_over and size <= DRAIN_BYTES:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self.set_timeout(left)
                size += len(self.read() or b"")
        except LINE_ERRORS as error:
            pass_foreign(error)
            # The answer is whole; only the connection is lost.
            _log.debug("end of the event stream: %s", type(error).__name__)
        self._tell()
        self._give_back()
        self.close()

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        self._tell()
        self._last_will.detach()
        self._interrupt.detach()
        # As in `_last_will`.
        self._response.raw.close()

    def _give_back(self) -> None:
        """Have the connection kept for the next call, if all of the body was read."""
        # urllib3 has done so at the end of the body.

    def _tell(self) -> None:
        function, self.before_close = self.before_close, None
        if function is not None:
            function()


class LostBody(Body):
    """Stands for a body whose request failed on the line: over before anything could be read."""

    def __init__(self, failure: OAError) -> None:
        self.is_over = True
        self.before_close = None
        self.failure = failure

    def drain(self) -> None:
        """Do nothing: there is no connection to keep."""

    def close(self) -> None:
        """Do nothing: there is no connection."""


class DirectBody(Body):
    """The body of an event stream, read from the socket."""

    is_direct = True

    def __init__(
        self, response: requests.Response, interrupt: Interrupt, translate: Callable[[Exception], OAError]
    ) -> None:
        super().__init__(response, interrupt, translate)
        self._socket: socket.socket = interrupt.socket
        self._chunks = Dechunker()
        self._waits = True
        self._is_dry = False
        self._pending: Callable[[], int] = getattr(self._socket, "pending", int)
        head: Any = response.raw._fp
        self._head = head
        self._early = self._take_early(head.fp)

    def _take_early(self, buffer: io.BufferedReader) -> bytes:
        """Return what has come with the head of the response, without waiting for more."""
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return buffer.read1(PIECE) or b""
        except OSError as error:
            if is_foreign(error):
                raise
            # Nothing yet (TLS says so by an error), or a connection that broke: reading on will tell.
            return b""
        finally:
            self._socket.settimeout(timeout)

    def read(self) -> bytes | None:
        """As the base class, with no wait for the end of a chunk; None if nothing is there and the timeout is 0."""
        if self._early:
            data, self._early = self._early, b""
        else:
            if self._is_dry:
                self._is_dry = False
                return None
            try:
                data = self._socket.recv(PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            # Whoever waits for the socket is told if there is more, and others have their turn before; but of what TLS
            # has decrypted already nobody is told.
            self._is_dry = not self._waits and not self._pending()
            if not data:
                raise urllib3.exceptions.ProtocolError("the connection was closed in mid-answer")
        try:
            piece = self._chunks.feed(data)
        except ChunkError as error:
            raise urllib3.exceptions.ProtocolError(str(error)) from error
        self.is_over = self._chunks.is_over
        return piece

    def set_timeout(self, seconds: float) -> None:
        """As the base class; 0 is not to wait."""
        self._waits, self._is_dry = seconds > 0, False
        super().set_timeout(seconds)

    def _give_back(self) -> None:
        if self.is_over and not self._chunks.excess and not self._interrupt.has_shut(self._socket):
            # As urllib3 does at the end of a body.
            self._head.close()
            self._response.raw.release_conn()


def pieces(raw: Any) -> Iterator[bytes]:
    """
    Return the pieces of a body as they come, at most `PIECE` bytes each.

    urllib3's `stream()` would wait for the whole of a chunk, and take one of the size -1 for all that ever comes.
    """
    return iter(partial(raw.read1, PIECE, decode_content=True), b"")


def _is_readable(response: requests.Response, sock: object) -> bool:
    """Whether a body can be read from the socket: everything that is used must be there, and as it is known to be."""
    raw = response.raw
    buffer = getattr(getattr(raw, "_fp", None), "fp", None)
    return (
        # Not a subclass, which might do more.
        type(sock) in (socket.socket, ssl.SSLSocket)
        and isinstance(buffer, io.BufferedReader)
        and getattr(raw, "chunked", False) is True
        and not raw.headers.get("Content-Encoding")
    )
