"""`oa-client ask`: one question, and its answer while it is written."""

from __future__ import annotations

import io
import signal
import sys
from typing import Any

import click
from rich.console import Console

from oa_client._blocking.client import Client
from oa_client._command.output import printable
from oa_client._values.events import PendingEvent, TokenEvent

#: seconds that a command which is broken off waits for an answer to end, so that its chat can be deleted.
INTERRUPT_TIMEOUT = 3.0


class InterruptibleClient(Client):
    """A client that says why it does not leave at once after Ctrl-C, and does after a second one."""

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is KeyboardInterrupt:
            click.echo("\noa-client: deleting the chat; press Ctrl-C again to leave it", err=True)
        left = self.close() if kind is None else self.close(INTERRUPT_TIMEOUT)
        if left:
            click.echo(f"oa-client: left on the server: chat {', '.join(left)}", err=True)


@click.command()
@click.argument("question", nargs=-1, metavar="QUESTION...")
@click.option("--model", help="Which of the server's models answers.")
@click.option("--system", "system_prompt", help="Instructions that stand before the question.")
def ask(question: tuple[str, ...], model: str | None, system_prompt: str | None) -> None:
    """Print the answer to QUESTION as it is written; "-" reads the question from standard input."""
    for output in (sys.stdout, sys.stderr):
        # A terminal or a pipe that cannot hold a character gets a question mark.
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    text = _read_question() if question == ("-",) else " ".join(question)
    if not text:
        raise click.UsageError('there is no question: give one, or "-" to read it from standard input')
    status = Console(stderr=True, highlight=False)
    with InterruptibleClient(model=model) as client, client.stream(text, system_prompt=system_prompt) as stream:
        with status.status("waiting for the first word") as waiting:
            for event in stream.events():
                if isinstance(event, PendingEvent):
                    waiting.update(f"in the queue: position {event.queue_position} of {event.queue_size}")
                elif isinstance(event, TokenEvent) and event.text:
                    waiting.stop()
                    click.echo(printable(event.text), nl=False)
        click.echo()
        if stream.diverged:
            click.echo(f"The final text differs:\n{printable(str(stream.message))}", err=True)


def _read_question() -> str:
    if isinstance(sys.stdin, io.TextIOWrapper):
        # In some environments it lets pass what no server can store.
        sys.stdin.reconfigure(errors="strict")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"standard input is not {error.encoding.upper()}") from error
