"""`oa-client whoami`: who is signed in."""

from __future__ import annotations

import click

from oa_client._command import output
from oa_client._command.connection import CommandClient, check_address, need_server
from oa_client._command.user import describe


@click.command()
@click.argument("url", required=False, callback=check_address)
def whoami(url: str | None) -> None:
    """Print who is signed in at URL, or else at $OA_BASE_URL, or else at the only server where you are signed in."""
    output.require()
    with CommandClient(need_server(url, "a URL")) as client:
        user = client.whoami()
        click.echo(f"{describe(user)}, {client._place}")
    if user.expires_at is not None:
        click.echo(f"The session ends at {user.expires_at:%Y-%m-%d %H:%M} UTC.")
