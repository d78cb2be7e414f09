"""Read standard input."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading

import click

from oa_client._command.output import complain

#: seconds without a byte until the command says that it is waiting.
PATIENCE = 2.0


def is_terminal() -> bool:
    """Return whether a user can be asked."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def read(*, line: bool = False) -> str:
    """
    Return all of standard input, or its next line; "" if it is closed.

    Raises:
        click.ClickException: if it is not text.
    """
    if sys.stdin is None:
        return ""
    if isinstance(sys.stdin, io.TextIOWrapper):
        # In some environments it accepts text that no server can store.
        sys.stdin.reconfigure(errors="strict")
    try:
        return sys.stdin.readline() if line else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"standard input is not {error.encoding.upper()}") from error


def read_piped(is_optional: bool) -> str:
    """
    Return the text that is piped in; "" for a terminal or a device such as /dev/null.

    Args:
        is_optional: whether the command can do without, so that the user may wonder why it waits.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, ValueError, OSError):  # it is missing or closed
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)):
        return ""
    words = "waiting for standard input, which goes with the question; to ask without it, add: < /dev/null"
    notice = threading.Timer(PATIENCE, complain, [words])
    notice.daemon = True
    if is_optional:
        notice.start()
    try:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.buffer.peek(1)
        notice.cancel()
        return read()
    finally:
        notice.cancel()
