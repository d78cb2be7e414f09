"""
Read the body of an event stream as it comes.

urllib3 blocks until it has something to return, and in the middle of a chunk's size until it has the rest. So where
possible, this module reads the socket and decodes the chunks itself: that costs less for each token, and one thread can
read many streams. It uses a private name of urllib3, and checks it first. If the name is not as expected, or the body
is of another kind (compressed, not chunked, on the user's own session, or TLS within TLS), urllib3 reads it.
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
from oa_client._wire.limits import DRAIN_BYTES, DRAIN_SECONDS

_log = logging.getLogger("oa_client")

#: bytes asked for at a time; a read returns at once with fewer.
PIECE = 65536


class Body:
    """
    The body of an event stream, read by urllib3.

    Args:
        response: not yet read.
        interrupt: holds the socket.
        translate: turns errors of the libraries below into ours.

    Attributes:
        is_over: whether the whole body was read.
        is_direct: whether `set_timeout(0)` is allowed.
        before_close: called before the socket is closed, if somebody waits on it.
        translate: as given; for errors of `read`.
        failure: why there is nothing to read, or None.
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
        # In a forgotten cycle, the collector might reach the socket first, which then warns that it is not closed. This
        # does not call the response's close(), which returns the connection: when the collector runs, the pool may be
        # locked.
        self._last_will = weakref.finalize(self, raw.close)
        self._last_will.atexit = False
        # A generator of our own would refer to this body, and the cycle would keep the socket open when nobody holds
        # the body any more.
        self._pieces: Iterator[bytes] = pieces(raw)

    @classmethod
    def of(cls, response: requests.Response, interrupt: Interrupt, translate: Callable[[Exception], OAError]) -> Body:
        """Return the body of a response, read directly if possible."""
        kind = DirectBody if _is_readable(response, interrupt.socket) else Body
        return kind(response, interrupt, translate)

    def read(self) -> bytes | None:
        """
        Return bytes as they come, or b"", also before the end; None if the body does not wait and has nothing.

        Raises:
            Exception: from the libraries below.
        """
        piece = next(self._pieces, None)
        if piece is None:
            self.is_over = True
            return b""
        return piece

    def fileno(self) -> int:
        """Return the descriptor of the socket, to wait on; only for an open, direct body."""
        return int(self._interrupt.socket.fileno())

    def set_timeout(self, seconds: float) -> None:
        """Limit each wait of the next read, in seconds; may be infinite."""
        sock = self._interrupt.socket
        if sock is not None:
            with suppress(OSError):
                sock.settimeout(None if seconds == math.inf else seconds)

    def set_deadline(self, seconds: float) -> None:
        """Limit the next read as a whole: bytes that trickle in within a line between chunks give nothing to return."""
        self._interrupt.deadline = time.monotonic() + seconds

    def drain(self) -> None:
        """Read on to the end, but not for long, and close; at the end, keep the connection for the next call."""
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
            # The answer is complete; only the connection is lost.
            _log.debug("end of the event stream: %s", type(error).__name__)
        self._tell()
        self._give_back()
        self.close()

    def close(self) -> None:
        """Close the connection, unless it was returned to the pool."""
        self._tell()
        self._last_will.detach()
        self._interrupt.detach()
        # As in `_last_will`.
        self._response.raw.close()

    def _give_back(self) -> None:
        """Keep the connection for the next call, if the whole body was read."""
        # urllib3 did this at the end of the body.

    def _tell(self) -> None:
        function, self.before_close = self.before_close, None
        if function is not None:
            function()


class LostBody(Body):
    """The body of a request whose connection failed: over before anything could be read."""

    def __init__(self, failure: OAError) -> None:
        self.is_over = True
        self.before_close = None
        self.failure = failure

    def drain(self) -> None:
        """Do nothing: no connection to keep exists."""

    def close(self) -> None:
        """Do nothing: no connection exists."""


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
        """Return the bytes that came with the head of the response, without waiting for more."""
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return buffer.read1(PIECE) or b""
        except OSError as error:
            if is_foreign(error):
                raise
            # Nothing has come yet (TLS says so by an error), or the connection broke: the next read will show which.
            return b""
        finally:
            self._socket.settimeout(timeout)

    def read(self) -> bytes | None:
        """Read without waiting for the end of a chunk; None if nothing has come and the timeout is 0."""
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
            # The loop that waits on the socket learns of more bytes, and serves others first. But it does not learn of
            # bytes that TLS has already decrypted.
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
        """Set the limit as the base class does; 0 means not to wait."""
        self._waits, self._is_dry = seconds > 0, False
        super().set_timeout(seconds)

    def _give_back(self) -> None:
        if self.is_over and not self._chunks.excess and not self._interrupt.has_shut(self._socket):
            # urllib3 does the same at the end of a body.
            self._head.close()
            self._response.raw.release_conn()


def pieces(raw: Any) -> Iterator[bytes]:
    """
    Yield the pieces of a body as they come, at most `PIECE` bytes each.

    urllib3's `stream()` would wait for a whole chunk, and read without end for a chunk of the size -1.
    """
    return iter(partial(raw.read1, PIECE, decode_content=True), b"")


def _is_readable(response: requests.Response, sock: object) -> bool:
    """Return whether a body can be read from the socket: all that this module uses must exist, and be as expected."""
    raw = response.raw
    buffer = getattr(getattr(raw, "_fp", None), "fp", None)
    return (
        # Not a subclass, which might behave differently.
        type(sock) in (socket.socket, ssl.SSLSocket)
        and isinstance(buffer, io.BufferedReader)
        and getattr(raw, "chunked", False) is True
        and not raw.headers.get("Content-Encoding")
    )
