"""`oa-client ask`: one question, and its answer while it is written."""

from __future__ import annotations

import click
from rich.console import Console

from oa_client._command import input, output
from oa_client._command.connection import CommandClient, find_server, server_option
from oa_client._values.events import PendingEvent, TokenEvent


@click.command()
@click.argument("question", nargs=-1, metavar="[QUESTION...]")
@click.option("--model", help="Which of the server's models answers.")
@click.option("--system", "system_prompt", help="Instructions that stand before the question.")
@server_option
def ask(question: tuple[str, ...], model: str | None, system_prompt: str | None, server: str | None) -> None:
    """
    Print the answer to QUESTION as it is written.

    Text from a pipe or a file follows the question, after an empty line: oa-client ask "Summarize this:" < text.
    Without QUESTION it is the question, and "-" reads it even from a terminal.
    """
    output.require()
    text = _read_question(question)
    if not text:
        raise click.UsageError('there is no question: give one, pipe one in, or "-" to read it from standard input')
    status = Console(stderr=True, highlight=False)
    with (
        CommandClient(find_server(server), server, model=model) as client,
        client.stream(text, system_prompt=system_prompt) as stream,
    ):
        with status.status("waiting for the first word") as waiting:
            for event in stream.events():
                if isinstance(event, PendingEvent):
                    waiting.update(f"in the queue: position {event.queue_position} of {event.queue_size}")
                elif isinstance(event, TokenEvent) and event.text:
                    waiting.stop()
                    click.echo(output.prose(event.text), nl=False)
        click.echo()
        if stream.diverged:
            click.echo(f"The final text differs:\n{output.prose(str(stream.message))}", err=True)


def _read_question(words: tuple[str, ...]) -> str:
    if words == ("-",):
        return input.read()
    question = " ".join(words)
    piped = input.read_piped(is_optional=bool(question))
    return f"{question}\n\n{piped}" if question and piped.strip() else question or piped
