"""The log of `oa-client serve`: a line for each kind of trouble, which never keeps the server waiting."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time

QUIET = 60.0  # seconds in which trouble of one kind is told once
MOST_KINDS = 100
MOST_WAITING = 100  # lines that nobody has read yet; any more are lost


class _Line(logging.Formatter):
    """Tells of a record in one line. A traceback has kilobytes, and says little to whoever runs a server."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        words = " ".join(record.getMessage().split())
        if record.exc_info and (error := record.exc_info[1]) is not None:
            words += f": {type(error).__name__}: {' '.join(str(error).split())}"
        shown = "".join(character if character.isprintable() else "\ufffd" for character in words)
        return f"oa-client: {shown}"


class _Seldom(logging.Filter):
    """Lets one record of a kind through in `QUIET` seconds, and has the next tell how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be told."""
        error = record.exc_info[1] if record.exc_info else None
        kind = (record.name, str(record.msg), type(error).__name__)
        now = time.monotonic()
        until, left_out = self._told.get(kind, (0.0, 0))
        if now < until:
            self._told[kind] = until, left_out + 1
            return False
        if kind not in self._told and len(self._told) >= MOST_KINDS:
            self._told.clear()
        self._told[kind] = now + QUIET, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage().strip()} ({left_out} more like it)", None
        return True


class _Waiting(logging.handlers.QueueHandler):
    """Keeps lines until they are written, and drops them if nobody reads what was written."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take a line."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def log_to_stderr() -> None:
    """
    Have errors of everything in this process written to standard error, by a thread of its own.

    A pipe that nobody reads fills up, and whoever writes to it then waits: that must not be the event loop.
    Where logging is set up already this does nothing.
    """
    root = logging.getLogger()
    if root.handlers or sys.stderr is None:
        return
    lines: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
    handler = _Waiting(lines)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(_Line())
    handler.addFilter(_Seldom())
    threading.Thread(target=_write, args=(lines, sys.stderr.fileno()), name="oa-client log", daemon=True).start()
    root.addHandler(handler)


def _write(lines: queue.Queue[logging.LogRecord], file: int) -> None:
    # Not with sys.stderr: its lock would be held while this waits, and the interpreter needs that to end.
    with contextlib.suppress(OSError):
        while True:
            os.write(file, f"{lines.get().getMessage()}\n".encode(errors="replace"))
