"""
Errors that a signal's handler raises in the middle of a call: the program's own, whatever their class.

Job queues and `signal.alarm` end a job this way. Such an error can strike anywhere, even inside a socket call, and must
not be taken for a connection failure.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType


def is_foreign(error: BaseException | None) -> bool:
    """Return whether a signal's handler raised an error: its frame was given the frame that it interrupted."""
    trace = None if error is None else error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        for value in frame.f_locals.values() if frame.f_back is not None else ():
            # A tuple: of a handler that takes `*args`.
            if any(item is frame.f_back for item in (value if type(value) is tuple else (value,))):
                return True
        trace = trace.tb_next
    return False


class suppress(contextlib.suppress):  # noqa: N801 - as the one of contextlib
    """Work as `contextlib.suppress`, but let errors of a signal's handler pass."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(super().__exit__(kind, error, traceback)) and not is_foreign(error)


def start_thread(thread: threading.Thread) -> None:
    """
    Start a thread; an error that a signal's handler raises meanwhile comes out as it is.

    Raises:
        RuntimeError: if the thread cannot start.
    """
    try:
        thread.start()
    except KeyError as error:
        # If the thread runs although start() failed, Python's own clean-up stumbles.
        struck = error.__context__
        if struck is None or not is_foreign(struck):
            raise
        try:
            raise struck
        finally:
            struck.__context__ = None
