"""The way to end, from another thread, an operation that waits for the network."""

from __future__ import annotations

import math
import socket
import threading
from typing import Any

from oa_client._values.errors import TransportError
from oa_client._values.foreign import suppress


class Interrupted(TransportError):  # noqa: N818 - never seen as an error
    """The operation was ended by `Interrupt.fire()`; never seen by users but of a closed client."""


class Interrupt:
    """
    One operation's bell: `fire()`, from any thread, ends whatever it waits for and all that it tries after.

    Attributes:
        fired: whether `fire()` was called.
        deadline: until when an answer has to be there, in seconds on the monotonic clock. A limit for each wait would
            let a server go on for ever that sends a byte now and then.
    """

    def __init__(self) -> None:
        # Re-entrant, since the garbage collector or a signal's handler may fire from anywhere.
        self._lock = threading.RLock()
        # Nobody says `with self._changed`: that is written in Python, and if a signal's handler raises there, the lock
        # stays locked.
        self._changed = threading.Condition(self._lock)
        self._socket: Any = None
        self._shut: list[Any] = []
        self.fired = False
        self.deadline = math.inf

    @property
    def socket(self) -> Any:
        """The socket that is in use, or None."""
        return self._socket

    def fire(self) -> None:
        """End the operation. Does not wait for it; may be called again."""
        with self._lock:
            self.fired = True
            self._changed.notify_all()
            sock = self._socket
            if sock is not None:
                self._shut.append(sock)
        # Not under the lock: what is shut may have a lock of its own, whose holder is about to attach or detach it.
        if sock is not None:
            _shut(sock)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past `fire()`; return whether it was called."""
        with self._lock:
            return self._changed.wait_for(lambda: self.fired, seconds)

    def attach(self, sock: Any) -> None:
        """Say which socket the operation waits on from now."""
        with self._lock:
            self._socket = sock
        if self.fired:
            self.fire()

    def detach(self) -> None:
        """Say that the operation no longer uses a socket."""
        with self._lock:
            self._socket = None

    def has_shut(self, sock: Any) -> bool:
        """Say that somebody else is to use a socket, and return whether it was shut down while the operation did."""
        with self._lock:
            if self._socket is sock:
                self._socket = None
            return any(item is sock for item in self._shut)


def _shut(sock: Any) -> None:
    # Below TLS: SSLSocket.shutdown() would pull the TLS state from under the thread that reads. `socket` is an
    # attribute of urllib3's SSLTransport, TLS within the TLS of a proxy.
    below = sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)
    with suppress(OSError, TypeError):
        if below is None:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            socket.socket.shutdown(below, socket.SHUT_RDWR)
