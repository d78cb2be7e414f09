"""`oa-client chats`: the chats that a server keeps."""

from __future__ import annotations

import click

from oa_client._command.connection import CommandClient, need_server, server_option
from oa_client._command.group import Group
from oa_client._command.output import complain
from oa_client._values.errors import NotFoundError


@click.group(cls=Group)
def chats() -> None:
    """Delete chats that a server keeps."""


@chats.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@server_option
def delete(ids: tuple[str, ...], server: str | None) -> int:
    """Delete the chats with these IDs, hidden ones too, each after its answer has been written."""
    failed, later = False, []
    with CommandClient(need_server(server), server) as client:
        for chat_id in ids:
            try:
                if client.open_chat(chat_id).delete():
                    click.echo(f"Deleted chat {chat_id}.")
                else:
                    later.append(chat_id)
            except NotFoundError as error:
                complain(str(error))
                failed = True
        # The end of the block names the chats that are left.
        left = client.close()
    for chat_id in later:
        if chat_id not in left:
            click.echo(f"Deleted chat {chat_id}.")
    return 1 if failed or left else 0
