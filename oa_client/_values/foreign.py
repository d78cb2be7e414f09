"""
What a signal's handler raises in the middle of a call: the program's own error, whatever its class.

Job queues end a job so, and `signal.alarm` is used so. Such an error strikes anywhere, also inside a socket call, and
nobody may take it for trouble of the connection.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType


def is_foreign(error: BaseException | None) -> bool:
    """Whether a signal's handler raised an error; told by its frame, which was given the frame that it interrupted."""
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
    """As `contextlib.suppress`, but what a signal's handler raises passes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(super().__exit__(kind, error, traceback)) and not is_foreign(error)


def start_thread(thread: threading.Thread) -> None:
    """
    Start a thread; what a signal's handler raises meanwhile comes out as it is.

    Raises:
        RuntimeError: if none can be started.
    """
    try:
        thread.start()
    except KeyError as error:
        # Python's clean-up after a start that failed stumbles if the thread runs all the same.
        struck = error.__context__
        if struck is None or not is_foreign(struck):
            raise
        try:
            raise struck
        finally:
            struck.__context__ = None
