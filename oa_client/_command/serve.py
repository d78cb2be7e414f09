"""`oa-client serve`: run a local server."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shlex
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from oa_client._command.log import log_to_stderr
from oa_client._command.output import complain, one_line
from oa_client._command.terminal import on_enter


@click.command()
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
    help="Which of its models answers if a client names none.",
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
    help="Keep the chats and the credentials in this file, which is made if it is missing.",
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

    # Log only our own errors: anything that strangers send makes warnings.
    log_to_stderr()
    names_upstream = options["upstream"] or options["upstream_model"]
    options["backend"] = options["backend"] or ("openai" if names_upstream else "embedded")
    if options["upstream"]:
        # NOTE: not $OPENAI_API_KEY, which is for another address.
        options["api_key"] = os.environ.get("OA_UPSTREAM_KEY") or None
    options["token"], shown = _read_token(token_file)
    stop = threading.Event()
    try:
        with contextlib.closing(local.LocalServer(**options)) as server:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                server.start()
            for warning in warned:
                if warning.category is UserWarning:  # ours; libraries' own are for programmers
                    complain(str(warning.message))
            if server.is_exposed:
                complain(_describe_exposure(server, options["host"]))
            click.echo(_describe(server, as_json, shown))
            if not as_json:
                if options["store"] is not None:
                    click.echo(f"Chats are kept in {one_line(str(Path(options['store']).absolute()))}")
                show_page = partial(_show_page, server)
                show_page()
                on_enter(show_page, stop)
            with contextlib.ExitStack() as until_the_end:
                if open_page:
                    webbrowser.open(until_the_end.enter_context(_file_to_page(server)))
                until_the_end.callback(stop.set)
                # In slices, so that Windows lets Ctrl-C through.
                while not stop.wait(1):
                    pass
    except local.LocalServerError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        # Errors about a backend's options name them as arguments.
        words = re.sub(r"(?<=' takes no )\w+|(?<=' needs )\w+", _option, str(error))
        raise click.UsageError(one_line(words)) from error


def _option(name: re.Match[str]) -> str:
    return "--" + name[0].replace("_", "-")


def _read_token(file: str | None) -> tuple[str | None, str]:
    """Return the user's token, and the shell words that give it to a client without showing it."""
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
        f"other machines can reach this server: {host}, port {port}. It is plain http, so whoever is on "
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
    # A random session is shown; the user's own secret is not.
    token, cookie = (shown, shown) if session == server.token else (server.token, f"'{name}={session}'")
    return (
        f"Open-Assistant at {server.url}, answers by {one_line(server.model)}. Press Ctrl-C to stop.\n\n"
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
