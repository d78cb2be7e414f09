"""The local server that everything in a process shares."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from oa_client.local._apart import call_apart
from oa_client.local._models.weights import MODEL
from oa_client.local._server import LocalServer

_lock = threading.Lock()
_servers: dict[int, LocalServer] = {}  # by process id: a forked child needs its own
_untold: set[int] = set()  # the processes whose user is yet to be told which model answers


def shared_server() -> LocalServer:
    """
    The process's own server with the embedded model; started on first use, closed when Python ends.

    Says once, on stderr, which model answers and how to have a better one.

    If a signal's handler raises meanwhile (Ctrl-C), that comes out, and the next call has the server.

    Raises:
        LocalServerError: as `LocalServer.start`; the next call tries again.
    """
    pid = os.getpid()
    if pid not in _servers:
        call_apart(_start)
    server = _servers[pid]
    if pid in _untold:
        _untold.discard(pid)
        print(
            f"oa-client: no address given, so {MODEL.name} answers on this machine. It is a small demo "
            "model and often wrong; for a better one pass base_url=... or set OA_BASE_URL.",
            file=sys.stderr,
        )
    return server


def _start(_left: threading.Event) -> None:
    """Start the server if there is none; the next call has it, even if nobody waits any more."""
    pid = os.getpid()
    with _lock:
        if pid not in _servers:
            server = LocalServer()
            server.start()
            atexit.register(_close, pid, server)
            _untold.add(pid)
            _servers[pid] = server


def _close(pid: int, server: LocalServer) -> None:
    # Not in a forked child, which has the server without its threads.
    if os.getpid() == pid:
        server.close()


def _forget_lock() -> None:
    """A child forked while another thread held the lock would wait for it for ever."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
