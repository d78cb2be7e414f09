"""`oa-client whoami`: who is signed in."""

from __future__ import annotations

import os

import click

from oa_client._blocking.client import Client
from oa_client._command.address import url as check
from oa_client._command.user import describe


@click.command()
@click.argument("url", required=False, callback=check)
def whoami(url: str | None) -> None:
    """Print who is signed in at URL, else at $OA_BASE_URL."""
    if url is None and not os.environ.get("OA_BASE_URL"):
        raise click.UsageError("no address: give a URL, or set $OA_BASE_URL")
    with Client(url) as client:
        user = client.whoami()
        click.echo(f"{describe(user)}, {client._place}")
    if user.expires_at is not None:
        click.echo(f"The session ends at {user.expires_at:%Y-%m-%d %H:%M} UTC.")
