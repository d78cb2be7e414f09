"""`oa-client logout`: forget a login."""

from __future__ import annotations

import click

from oa_client._blocking.login import logout as sign_out
from oa_client._command.connection import check_address


@click.command()
@click.argument("url", callback=check_address)
def logout(url: str) -> None:
    """Forget the login that is kept for URL."""
    click.echo(f"Logged out of {url}." if sign_out(url) else f"No login is kept for {url}.")
