"""`oa-client models`: the models of a server."""

from __future__ import annotations

import click

from oa_client._command import output
from oa_client._command.connection import CommandClient, find_server, server_option


@click.command()
@server_option
def models(server: str | None) -> None:
    """Print the names of the server's models, with their descriptions."""
    output.require()
    with CommandClient(find_server(server)) as client:
        for model in client.list_models():
            click.echo(output.one_line(f"{model.name}  {model.description}".rstrip()))
