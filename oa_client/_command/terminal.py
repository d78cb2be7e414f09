"""Notice when the user presses Enter while a command runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

#: seconds
RETRY = 1.0


def on_enter(call: Callable[[], None], stop: threading.Event) -> None:
    """
    Call `call`, in a new thread, each time the user presses Enter, until `stop` is set or the terminal is closed.

    Do nothing if standard input is not a terminal. Text typed before Enter is discarded.
    """
    try:
        terminal = sys.stdin.fileno()
        is_terminal = os.isatty(terminal)
    except (AttributeError, ValueError, OSError):  # it is missing or closed
        return
    if not is_terminal:
        return
    if hasattr(signal, "SIGTTIN"):
        # Reading would stop a command in the background; now the read fails instead.
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
