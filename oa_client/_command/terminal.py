"""The terminal that a command was started from: what is pressed there while the command runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

RETRY = 1.0  # seconds


def on_enter(call: Callable[[], None], stop: threading.Event) -> None:
    """
    Call `call`, in a thread of its own, each time Enter is pressed, until `stop` is set or the terminal is closed.

    Does nothing where standard input is no terminal. What is typed before Enter is thrown away.
    """
    try:
        terminal = sys.stdin.fileno()
        is_terminal = os.isatty(terminal)
    except (AttributeError, ValueError, OSError):  # there is none, or it is closed
        return
    if not is_terminal:
        return
    if hasattr(signal, "SIGTTIN"):
        # A command that was put in the background is stopped when it reads; now the read fails instead.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    threading.Thread(target=_listen, args=(terminal, call, stop), name="oa-client enter", daemon=True).start()


def _listen(terminal: int, call: Callable[[], None], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            # NOTE: not sys.stdin, whose lock a reading thread would keep when Python ends, which is fatal.
            if not os.read(terminal, 4096):
                return
        except OSError:  # in the background, perhaps not for long
            stop.wait(RETRY)
        else:
            call()
