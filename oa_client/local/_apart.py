"""Calls that an exception raised by a signal's handler must not break off."""

from __future__ import annotations

import threading
from collections.abc import Callable

SLICE = 1.0  # seconds of one wait: Windows lets Ctrl-C through between two


def call_apart(function: Callable[[threading.Event], object]) -> None:
    """
    Call a function where no signal's handler can raise: outside of the main thread.

    An exception that a handler raises leaves at once. The function goes on, Python waits for it
    before it ends, and the event that the function is given is set: nobody waits for it any more.
    """
    left = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        function(left)
        return
    over = threading.Event()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function(left)
        except BaseException as error:
            errors.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=call, name="oa-client local call", daemon=False)
    try:
        if not _start(thread):
            function(left)
            return
        while not over.wait(SLICE):
            pass
    except BaseException:
        left.set()
        raise
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # the error knows this frame


def _start(thread: threading.Thread) -> bool:
    """Start a thread; False if there can be no more, as at the end of Python."""
    try:
        thread.start()
    except RuntimeError:
        if thread.ident is None:
            return False
        raise
    return True
