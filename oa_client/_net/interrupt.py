"""End an operation that waits for the network, from another thread."""

from __future__ import annotations

import math
import socket
import threading
from typing import Any

from oa_client._values.errors import TransportError
from oa_client._values.foreign import suppress


class Interrupted(TransportError):  # noqa: N818 - never seen as an error
    """`Interrupt.fire()` ended the operation; users see this only with a closed client."""


class Interrupt:
    """
    Ends one operation: after `fire()`, from any thread, all its waits end at once, current and later ones.

    Attributes:
        fired: whether `fire()` was called.
        deadline: when the answer must be complete, in seconds on the monotonic clock. With a limit for each wait, a
            server could go on without end by sending a byte now and then.
    """

    def __init__(self) -> None:
        # Re-entrant, because the garbage collector or a signal's handler may fire from anywhere.
        self._lock = threading.RLock()
        # Do not use `with self._changed`: that is written in Python, and if a signal's handler raises there, the lock
        # stays locked.
        self._changed = threading.Condition(self._lock)
        self._socket: Any = None
        self._shut: list[Any] = []
        self.fired = False
        self.deadline = math.inf

    @property
    def socket(self) -> Any:
        """The socket in use, or None."""
        return self._socket

    def fire(self) -> None:
        """End the operation, without waiting for it; may be called again."""
        with self._lock:
            self.fired = True
            self._changed.notify_all()
            sock = self._socket
            if sock is not None:
                self._shut.append(sock)
        # Not under the lock: the socket may have its own lock, whose holder is about to attach or detach the socket.
        if sock is not None:
            _shut(sock)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past `fire()`; return whether it was called."""
        with self._lock:
            return self._changed.wait_for(lambda: self.fired, seconds)

    def attach(self, sock: Any) -> None:
        """Set the socket that the operation waits on from now on."""
        with self._lock:
            self._socket = sock
        if self.fired:
            self.fire()

    def detach(self) -> None:
        """Note that the operation no longer uses a socket."""
        with self._lock:
            self._socket = None

    def has_shut(self, sock: Any) -> bool:
        """Hand a socket over to somebody else, and return whether the operation's end has shut it down."""
        with self._lock:
            if self._socket is sock:
                self._socket = None
            return any(item is sock for item in self._shut)


def _shut(sock: Any) -> None:
    # Below TLS: SSLSocket.shutdown() would remove the TLS state while another thread reads. urllib3's SSLTransport (TLS
    # within the TLS of a proxy) has the attribute `socket`.
    below = sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)
    with suppress(OSError, TypeError):
        if below is None:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            socket.socket.shutdown(below, socket.SHUT_RDWR)
