"""The server that a command talks to, and its client."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from oa_client._accounts.store import LoginFile
from oa_client._accounts.target import check_url, find_target
from oa_client._blocking.client import Client
from oa_client._command.output import complain
from oa_client._values.errors import ConfigurationError
from oa_client._wire.website import Website

#: seconds that an interrupted command waits for the end of an answer, to delete its chat.
INTERRUPT_TIMEOUT = 3.0

_Function = TypeVar("_Function", bound=Callable[..., Any])


def check_address(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Check an address here, where errors can give it the name that the user knows."""
    try:
        return None if value is None else check_url(option.opts[0] if option.opts[0][0] == "-" else "URL", value)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


def server_option(function: _Function) -> _Function:
    """Add the option that says which server a command talks to."""
    return click.option(
        "--server",
        metavar="URL",
        callback=check_address,
        show_default="$OA_BASE_URL, else where you are signed in",
        help="The server to talk to. $OA_TOKEN and $OA_COOKIE go to it only if $OA_BASE_URL names it too.",
    )(function)


def find_server(url: str | None, how: str = "--server URL") -> str | None:
    """
    Return the address that a command was given, or else the only one at which the user is signed in.

    None stands for the environment's server, or else the local one.

    Args:
        url: the command's argument or option.
        how: how the user gives it to the command.

    Raises:
        click.UsageError: if the user is signed in at several servers.
    """
    if url is not None or find_target(None, None, None, os.environ, Website()) is not None:
        return url
    kept = LoginFile(os.environ).urls()
    if len(kept) > 1:
        raise click.UsageError(
            f"you are signed in at several servers ({', '.join(kept)}): give {how}, or set $OA_BASE_URL"
        )
    return kept[0] if kept else None


def need_server(url: str | None, how: str = "--server URL") -> str | None:
    """Return the address as `find_server` does, for a command that is of no use on a new local server."""
    found = find_server(url, how)
    if found is None and not os.environ.get("OA_BASE_URL"):
        raise click.UsageError(f"no address: give {how}, set $OA_BASE_URL, or sign in with `oa-client login`")
    return found


class CommandClient(Client):
    """
    The client of a command: after Ctrl-C it says why it goes on, and names the chats that it leaves on the server.

    Args:
        url: the server, as `find_server` returns it.
        named: the address that the user gave for it.
        options: options of the client.
    """

    def __init__(self, url: str | None, named: str | None = None, **options: Any) -> None:
        self._named = named
        super().__init__(url, **options)

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            complain("deleting the chat; press Ctrl-C again to leave it", start="\n")
        try:
            left = self.close() if kind is None else self.close(INTERRUPT_TIMEOUT)
        except (KeyboardInterrupt, SystemExit):  # SIGTERM raises the second
            self._name(self.close(0))
            raise
        self._name(left)

    def _name(self, left: tuple[str, ...]) -> None:
        if left:
            server = ["--server", self._named] if self._named else []
            command = shlex.join(["oa-client", "chats", "delete", *server, *left])
            chats = ", ".join(left)
            complain(f"left on the server: chat {chats}; delete it when its answer has ended: {command}")
