"""The way to end, from another thread, an operation that waits for the network."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from .._errors import TransportError


class Interrupted(TransportError):  # noqa: N818 - never seen as an error
    """The operation was ended by `Interrupt.fire()`; never seen by users but of a closed client."""


class Interrupt:
    """One operation's bell: `fire()`, from any thread, ends whatever it waits for and all that it tries after."""

    def __init__(self) -> None:
        # Re-entrant, since the garbage collector may fire from anywhere.
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._socket: Any = None
        self._shut: list[Any] = []

    @property
    def fired(self) -> bool:
        """Whether `fire()` was called."""
        return self._event.is_set()

    @property
    def socket(self) -> Any:
        """The socket that is in use, or None."""
        return self._socket

    def fire(self) -> None:
        """End the operation. Does not wait for it; may be called again."""
        self._event.set()
        with self._lock:
            if self._socket is not None:
                self._shut.append(self._socket)
                _shut(self._socket)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past `fire()`; return whether it was called."""
        return self._event.wait(seconds)

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
    # Below TLS: SSLSocket.shutdown() would pull the TLS state from under the thread that reads.
    below = sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)
    with contextlib.suppress(OSError, TypeError):
        if below is None:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            socket.socket.shutdown(below, socket.SHUT_RDWR)
