r"""
Print the output of commands; the one place that makes text from a server fit for a terminal.

A server, a model or another user may have written the text. A control character could rewrite the terminal, a line end
could forge a line of ours, and a character that changes the direction of text could disguise it. Such characters are
shown as Python writes them, for example `\x1b`.
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
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they change the direction of text
    "\ud800-\udfff]"  # halves of characters cannot be printed
)


def one_line(text: str) -> str:
    """Return a text, such as a name or an error, as part of one line."""
    return _UNSAFE.sub(_escaped, text)


def prose(text: str) -> str:
    """Return a text, such as an answer, with its line ends and tabs."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found), text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def prepare() -> None:
    """Print a question mark for characters that the terminal or pipe cannot encode."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")


def require() -> None:
    """
    Refuse to begin if nobody could read the result.

    Raises:
        click.ClickException: if standard output is closed.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise click.ClickException("standard output is closed, so the result cannot be printed")


def complain(text: str, start: str = "") -> None:
    """Print a line to standard error; ignore failures, because the command must go on."""
    with contextlib.suppress(OSError):
        click.echo(f"{start}oa-client: {one_line(text)}", err=True)


def check() -> None:
    """Keep Python's end from failing with a traceback on output that cannot be written, for example to a full disk."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None  # as if it were missing
