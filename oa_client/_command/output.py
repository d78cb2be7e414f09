r"""
What a command prints: the one place where text that comes from a server is made fit for a terminal.

A server, a model or another user may have written it. A control character could rewrite the terminal, a line end could
forge a line of ours, and a character that turns the direction of the text could make it read as something else. Such
a character is shown as Python writes it, `\x1b` for example.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys

import click

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, line ends among them
    "\u2028\u2029"  # line ends to some programs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn the direction
    "\ud800-\udfff]"  # halves of characters, which cannot be printed
)


def one_line(text: str) -> str:
    """Return a text as a part of one line: a name, an error."""
    return _UNSAFE.sub(_escaped, text)


def prose(text: str) -> str:
    """Return a text with the line ends and tabs that it has: an answer."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found), text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def prepare() -> None:
    """Have a terminal or a pipe that cannot hold a character get a question mark."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")


def require() -> None:
    """
    Refuse to begin where nobody could read the result.

    Raises:
        click.ClickException: if there is no standard output.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise click.ClickException("standard output is closed, so the result cannot be printed")


def complain(text: str, start: str = "") -> None:
    """Print a line to standard error, if that can be written: a command has more to do than to complain."""
    with contextlib.suppress(OSError):
        click.echo(f"{start}oa-client: {one_line(text)}", err=True)


def check() -> None:
    """Keep Python from writing at its end, with a traceback, what cannot be written: the disk may be full."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None  # as where there is none
