"""
The commands: `ask`, `models`, `login`, `logout`, `whoami`, `serve` and `setup`.

Exit status: 0 done, 1 an error of ours (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import DownloadColumn, Progress

from oa_client._accounts.target import check_url
from oa_client._blocking.client import Client
from oa_client._blocking.login import login, logout
from oa_client._command.terminal import on_enter
from oa_client._values.errors import ConfigurationError, OAError
from oa_client._values.events import PendingEvent, TokenEvent
from oa_client._values.user import User

#: seconds that a command which is broken off waits for an answer to end, so that its chat can be deleted.
INTERRUPT_TIMEOUT = 3.0
#: What a model writes is not trusted: control characters could rewrite the terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _printable(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line (`sys.argv` if None) and return its exit status."""
    try:
        return int(cli.main(arguments, prog_name="oa-client", standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        problem = error.format_message()
    except OAError as error:
        problem = _printable(str(error))
    except OSError as error:
        problem = error.strerror or str(error)
        _check_output()
    click.echo(f"oa-client: {problem}", err=True)
    return 1


def _check_output() -> None:
    """Keep Python from writing at its end, with a traceback, what cannot be written: the disk may be full."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # as where there is none


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oa-client")
def cli() -> None:
    """
    Talk to an Open-Assistant server, or run a small one here.

    $OA_BASE_URL names the server; `login`, or $OA_TOKEN (inference server) or $OA_COOKIE (website), signs in. Without
    an address, a local server with a small demo model answers.
    """


class _Interruptible(Client):
    """A client that says why it does not leave at once after Ctrl-C, and does after a second one."""

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is KeyboardInterrupt:
            click.echo("\noa-client: deleting the chat; press Ctrl-C again to leave it", err=True)
        left = self.close() if kind is None else self.close(INTERRUPT_TIMEOUT)
        if left:
            click.echo(f"oa-client: left on the server: chat {', '.join(left)}", err=True)


@cli.command()
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
    with _Interruptible(model=model) as client, client.stream(text, system_prompt=system_prompt) as stream:
        with status.status("waiting for the first word") as waiting:
            for event in stream.events():
                if isinstance(event, PendingEvent):
                    waiting.update(f"in the queue: position {event.queue_position} of {event.queue_size}")
                elif isinstance(event, TokenEvent) and event.text:
                    waiting.stop()
                    click.echo(_printable(event.text), nl=False)
        click.echo()
        if stream.diverged:
            click.echo(f"The final text differs:\n{_printable(str(stream.message))}", err=True)


def _read_question() -> str:
    if isinstance(sys.stdin, io.TextIOWrapper):
        # In some environments it lets pass what no server can store.
        sys.stdin.reconfigure(errors="strict")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"standard input is not {error.encoding.upper()}") from error


@cli.command()
def models() -> None:
    """Print the names of the models that can answer, and what the server says of them."""
    with Client() as client:
        for model in client.list_models():
            click.echo(_printable(f"{model.name}  {model.description}".rstrip()))


def _url(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Check an address here, where it has the name that its user knows."""
    try:
        return None if value is None else check_url("URL", value)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


#: The value of an option that is given without one.
_ASK = ""


def _secret(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Read a secret from where it does not stay: other users can see arguments, and the shell keeps them."""
    if value is None:
        return None
    if value not in (_ASK, "-"):
        name = option.opts[0]
        raise click.BadParameter(
            f"a secret is no argument: {name} alone, after the URL, asks for it; {name} - reads it from standard input"
        )
    text = sys.stdin.readline() if value == "-" else _prompt(str(option.name).capitalize(), hide_input=True)
    return text.strip()


def _prompt(words: str, **options: Any) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "standard input is no terminal, so nobody can be asked: --token - or --cookie - reads the secret from it"
        )
    return str(click.prompt(words, **options))


@cli.command("login")
@click.argument("url", callback=_url)
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
def log_in(url: str, token: str | None, cookie: str | None, file: Path | None, username: str | None) -> None:
    """Sign in at URL and keep the login, for `ask` and for programs; without an option, ask for the secret."""
    given = sum(value is not None for value in (token, cookie, file, username))
    if given > 1:
        raise click.UsageError("give one of --token, --cookie, --cookies and --user")
    if given == 0:
        kind = _prompt("What do you have?", type=click.Choice(["token", "cookie"]))
        secret = _prompt(f"The {kind} (it is not shown)", hide_input=True).strip()
        token, cookie = (secret, None) if kind == "token" else (None, secret)
    user = login(url, token=token, cookies=cookie if file is None else file, username=username)
    click.echo(f"Signed in at {url} as {_name(user)}.")


@cli.command("logout")
@click.argument("url", callback=_url)
def log_out(url: str) -> None:
    """Forget the login that is kept for URL."""
    click.echo(f"Logged out of {url}." if logout(url) else f"No login is kept for {url}.")


@cli.command()
@click.argument("url", required=False, callback=_url)
def whoami(url: str | None) -> None:
    """Print who is signed in at URL, else at $OA_BASE_URL."""
    if url is None and not os.environ.get("OA_BASE_URL"):
        raise click.UsageError("no address: give a URL, or set $OA_BASE_URL")
    with Client(url) as client:
        user = client.whoami()
        click.echo(f"{_name(user)}, {client._place}")
    if user.expires_at is not None:
        click.echo(f"The session ends at {user.expires_at:%Y-%m-%d %H:%M} UTC.")


def _name(user: User) -> str:
    name = user.name or user.email or user.id or "somebody without a name"
    return _printable(f"{name} ({user.role})" if user.role else name)


@cli.command()
@click.option(
    "--backend",
    metavar="NAME",
    show_default="embedded; with --upstream openai",
    help="Who answers: embedded, a model in this process; openai, the models of another server; lorem, no model but "
    "pseudo-Latin words; or what another package brings.",
)
@click.option(
    "--model",
    metavar="FILE",
    help="A chat model as a GGUF file, for the embedded backend to run in place of its small demo model.",
)
@click.option(
    "--upstream",
    metavar="URL",
    help="A server with an OpenAI-compatible API (Ollama, vLLM, llama.cpp, LM Studio), such as "
    "http://127.0.0.1:11434/v1. If it wants a key: $OA_UPSTREAM_KEY, which is sent to that address and no other.",
)
@click.option(
    "--upstream-model",
    metavar="NAME",
    show_default="the first that it lists",
    help="Which of its models answers who names none.",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) lets other machines in, "
    "and needs a token of yours.",
)
@click.option(
    "--port",
    metavar="NUMBER",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any free one",
    help="The port to listen on.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    show_default="$OA_SERVE_TOKEN, else a random token",
    help="A file with the token that clients must send, 32 characters or more.",
)
@click.option(
    "--store",
    metavar="FILE",
    show_default="memory, until it stops",
    help="Keep the chats, and what signs in, in this file, which is made if it is not there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON: url, token, cookies, model.")
@click.option("--open", "open_page", is_flag=True, help="Open the chat page in the browser.")
def serve(as_json: bool, token_file: str | None, open_page: bool, **options: Any) -> None:
    """
    Run a local Open-Assistant server until Ctrl-C, and print how to reach it.

    Programs reach it with the variables that it prints, and so does "oa-client ask" in another terminal. Without
    options a small demo model answers, once "oa-client setup" has downloaded it.

    The address of the chat page signs in whoever opens it, once. Press Enter for another.
    """
    from oa_client import local

    # Of the log only what went wrong here: what strangers send makes warnings.
    logging.basicConfig(level=logging.ERROR, format="oa-client: %(message)s")
    names_upstream = options["upstream"] or options["upstream_model"]
    options["backend"] = options["backend"] or ("openai" if names_upstream else "embedded")
    if options["upstream"]:
        # NOTE: not $OPENAI_API_KEY, which is meant for another address than the one that is named here.
        options["api_key"] = os.environ.get("OA_UPSTREAM_KEY") or None
    options["token"], shown = _read_token(token_file)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        server = local.LocalServer(**options)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            server.start()
        with server:
            for warning in warned:
                if warning.category is UserWarning:  # ours; libraries' own are for programmers
                    click.echo(f"oa-client: {warning.message}", err=True)
            if server.is_exposed:
                click.echo(_describe_exposure(server, options["host"]), err=True)
            click.echo(_describe(server, as_json, shown))
            if not as_json:
                if options["store"] is not None:
                    click.echo(f"Chats are kept in {_printable(str(Path(options['store']).absolute()))}")
                show_page = partial(_show_page, server)
                show_page()
                on_enter(show_page, stop)
            with contextlib.ExitStack() as until_the_end:
                if open_page:
                    webbrowser.open(until_the_end.enter_context(_file_to_page(server)))
                # In slices, so that Windows lets Ctrl-C through.
                while not stop.wait(1):
                    pass
    except local.LocalServerError as error:
        raise click.ClickException(_printable(str(error))) from error
    except ValueError as error:
        # Of a backend's options it tells as of arguments.
        words = re.sub(r"(?<=' takes no )\w+|(?<=' needs )\w+", _option, str(error))
        raise click.UsageError(_printable(words)) from error


def _option(name: re.Match[str]) -> str:
    return "--" + name[0].replace("_", "-")


def _read_token(file: str | None) -> tuple[str | None, str]:
    """Return the token that the user gives, and how a shell can give it to a client without showing it."""
    if file is None:
        token = os.environ.get("OA_SERVE_TOKEN", "").strip()
        return token or None, '"$OA_SERVE_TOKEN"'
    try:
        return Path(file).read_text(encoding="utf-8").strip(), f'"$(cat {shlex.quote(file)})"'
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise click.BadParameter(f"cannot read {file}: {reason}", param_hint="--token-file") from error


def _describe_exposure(server: Any, host: str) -> str:
    port = server.url.rpartition(":")[2]
    return (
        f"oa-client: other machines can reach this server: {host}, port {port}. It is plain http, so whoever is on "
        "the way can read the chats and the token, and browsers do not say what page a request comes from: one of "
        "another port of this machine can send some for whoever is signed in. Whoever has the token can read, write "
        "and delete all chats of this server, and use its model, and so the time of this machine or the quota of the "
        "upstream."
    )


def _describe(server: Any, as_json: bool, shown: str) -> str:
    if as_json:
        facts = {"url": server.url, "token": server.token, "cookies": server.cookies, "model": server.model}
        return json.dumps(facts)
    ((name, session),) = server.cookies.items()
    # A session of its own is a random one; else both are what the user has given, which is not shown.
    token, cookie = (shown, shown) if session == server.token else (server.token, f"'{name}={session}'")
    return (
        f"Open-Assistant at {server.url}, answers by {_printable(server.model)}. Press Ctrl-C to stop.\n\n"
        f"As inference server:  OA_BASE_URL={server.url} OA_TOKEN={token}\n"
        f"As website:           OA_BASE_URL={server.url} OA_COOKIE={cookie}"
    )


def _show_page(server: Any) -> None:
    click.echo(f"Chat page, opens once: {server.page_url()}")


@contextlib.contextmanager
def _file_to_page(server: Any) -> Iterator[str]:
    """
    Give the address of a file that leads a browser to the chat page, as long as the file is needed.

    Other users can see the arguments that a browser is started with, but not read the file.
    """
    with tempfile.TemporaryDirectory(prefix="oa-client-", ignore_cleanup_errors=True) as folder:
        file = Path(folder, "chat.html")
        file.touch(0o600)
        url = html.escape(server.page_url())
        file.write_text(
            f'<!doctype html><title>Chat</title><meta http-equiv="refresh" content="0; url={url}">', encoding="utf-8"
        )
        yield file.as_uri()


@cli.command()
def setup() -> None:
    """Download the small demo model that the local server answers with."""
    from oa_client import local

    model = local.MODEL
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    try:
        if not model.downloaded:
            size = model.download_bytes / 1e6
            console.print(f"Downloading {model.name}, {size:.0f} MB ({model.licence}), to {model.path.parent}")
        if console.is_terminal:
            with Progress(*Progress.get_default_columns(), DownloadColumn(), console=console, transient=True) as bar:
                task = bar.add_task(model.name, total=model.download_bytes)
                path = local.download_model(lambda done, total: bar.update(task, completed=done, total=total))
        else:
            # Without a bar rich may yet leave an empty line.
            path = local.download_model()
    except local.LocalServerError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"{model.name} is ready: {path}")
