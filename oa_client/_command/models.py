"""`oa-client models`: what can answer."""

from __future__ import annotations

import click

from oa_client._blocking.client import Client
from oa_client._command.output import printable


@click.command()
def models() -> None:
    """Print the names of the models that can answer, and what the server says of them."""
    with Client() as client:
        for model in client.list_models():
            click.echo(printable(f"{model.name}  {model.description}".rstrip()))
