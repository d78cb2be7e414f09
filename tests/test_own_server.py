"""The local server that a client without an address starts: it is the process's own, and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oa_client import Client, ConfigurationError
from oa_client.local import _shared

#: Has a model that writes a word, and then nothing until nobody wants its answer any more; warnings go to stderr.
STAND_IN = """
import logging
import sys
from oa_client.local._models import registry


class Slow:
    name, description, slots = "slow", "", 1

    def generate(self, messages, sampling, cancelled):
        yield "Hello"
        cancelled.wait()
        print("stopped", file=sys.stderr)

    def close(self):
        pass


registry.BACKENDS["embedded"] = Slow
logging.basicConfig(level=logging.WARNING)
"""
GREETING = "oa-client: no address given"


def run(program: str) -> tuple[int, str, list[str]]:
    """Run a program with that model; return its status, what it prints, and the lines of stderr but for the first."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STAND_IN + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    greeting, *errors = done.stderr.splitlines()
    assert greeting.startswith(GREETING)
    return done.returncode, done.stdout, errors


def test_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One error says it all; below it is only what a library has raised, and nothing where none has."""
    monkeypatch.setenv("OA_CLIENT_DATA", str(tmp_path))
    monkeypatch.setattr(_shared, "_servers", {})
    with pytest.raises(ConfigurationError, match=r"oa-client setup.* name a server") as no_model:
        Client().list_models()
    for module in ("oa_client.local._serving", "uvicorn"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match="pip install") as no_extra:
        Client().list_models()

    assert (no_model.value.__cause__, no_model.value.__suppress_context__) == (None, True)
    assert isinstance(no_extra.value.__cause__, ImportError)


def test_exit_after_a_stream_was_left() -> None:
    """A program that ends in mid-answer says nothing about the chat, which is gone with the server."""
    status, _, errors = run(
        "from oa_client import Client\nclient = Client()\nstream = client.stream('Hi')\nnext(stream)\n"
    )

    assert (status, [line for line in errors if line != "stopped"]) == (0, [])


def test_close_after_a_stream_was_left() -> None:
    """The chat is deleted at once, which stops the model: nobody else's answer is lost by it."""
    status, out, errors = run(
        "from oa_client import Client\n"
        "with Client() as other:\n"
        "    client = Client()\n"
        "    for text in client.stream('Hi'):\n"
        "        break\n"
        "    print(client.close(), list(other.list_chats(include_hidden=True)))\n"
    )

    assert (status, out, errors) == (0, "() []\n", ["stopped"])


def test_chat_that_is_to_be_deleted_in_mid_answer() -> None:
    """`Chat.delete` need not wait for the answer there."""
    status, out, errors = run(
        "from oa_client import Client\n"
        "client = Client()\n"
        "chat = client.create_chat()\n"
        "for text in chat.stream('Hi'):\n"
        "    break\n"
        "chat.delete()\n"
        "print(client.close(), list(Client().list_chats(include_hidden=True)))\n"
    )

    assert (status, out, errors) == (0, "() []\n", ["stopped"])


@pytest.mark.skipif(os.name == "nt", reason="a pipe breaks in another way there")
def test_ask_whose_reader_leaves() -> None:
    """`oa-client ask | head` ends with the answer that nobody reads, and says nothing about the chat."""
    program = STAND_IN.replace("cancelled.wait()", "yield from map(str, range(10**6))") + (
        "from oa_client._command import run\nsys.exit(run(['ask', 'Hi']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        greeting, *errors = process.stderr.read().splitlines()

    assert greeting.startswith(GREETING)
    assert (process.returncode, errors) == (1, [])
