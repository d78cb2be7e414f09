"""`oa-client login`: sign in, and keep the login."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oa_client._blocking.login import login as sign_in
from oa_client._command import input
from oa_client._command.connection import check_address
from oa_client._command.user import describe

#: The value of an option given without a value.
_ASK = ""


def _secret(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Read a secret from a safe place: other users can see arguments, and the shell keeps them."""
    if value is None:
        return None
    if value not in (_ASK, "-"):
        name = option.opts[0]
        raise click.BadParameter(
            f"a secret cannot be an argument: {name} alone, after the URL, asks for it; {name} - reads standard input"
        )
    if value != "-":
        return _prompt(str(option.name).capitalize(), hide_input=True).strip()
    secret = input.read(line=True).strip()
    if not secret:
        raise click.UsageError("standard input is empty: write the secret to it")
    return secret


def _prompt(words: str, **options: Any) -> str:
    if not input.is_terminal():
        raise click.UsageError(
            "standard input is not a terminal: use --token - or --cookie - to read the secret from it"
        )
    return str(click.prompt(words, **options))


@click.command()
@click.argument("url", callback=check_address)
@click.option(
    *("--token", "token"),
    is_flag=False,
    flag_value=_ASK,
    metavar="[-]",
    callback=_secret,
    help="Ask for an inference server's access token; - reads it from standard input.",
)
@click.option(
    *("--cookie", "cookie"),
    is_flag=False,
    flag_value=_ASK,
    metavar="[-]",
    callback=_secret,
    help="Ask for a website's session cookie, or a whole Cookie header; - reads it from standard input.",
)
@click.option(
    *("--cookies", "file"),
    type=click.Path(path_type=Path),
    help="Take a website's cookies from a cookies.txt, or from the JSON of a browser extension or Playwright.",
)
@click.option("--user", "username", help="Log in to an inference server that takes a name alone.")
def login(url: str, token: str | None, cookie: str | None, file: Path | None, username: str | None) -> None:
    """Sign in at URL and keep the login, for `ask` and for programs; without an option, ask for the secret."""
    given = sum(value is not None for value in (token, cookie, file, username))
    if given > 1:
        raise click.UsageError("give one of --token, --cookie, --cookies and --user")
    if given == 0:
        kind = _prompt("What do you have?", type=click.Choice(["token", "cookie"]))
        secret = _prompt(f"The {kind} (it is not shown)", hide_input=True).strip()
        token, cookie = (secret, None) if kind == "token" else (None, secret)
    user = sign_in(url, token=token, cookies=cookie if file is None else file, username=username)
    click.echo(f"Signed in at {url} as {describe(user)}.")
