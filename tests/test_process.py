"""What a user's process sees at its end, and when it may open no more files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.scripted import EventWriter, OpenAssistantScript, Surface

OPEN_STREAM = """
import sys
from oa_client import Client
client = Client(sys.argv[1], **{sys.argv[2]: sys.argv[3]})
stream = client.stream("Hi")
print(next(stream))
"""
NO_FILE = """
import os, resource, sys
import anyio
from oa_client import AsyncClient, TransportError

async def main():
    client = AsyncClient(sys.argv[1], token="t", max_retries=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
    for use in (client.list_models, lambda: client.ask("Hi")):
        try:
            await use()
        except TransportError as error:
            print(error.is_unsent, isinstance(error.__cause__, OSError), error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.close(last)
    print(await client.ask("Hi"))
    await client.aclose()

# Not by anyio, which would load what belongs to the event loop.
if sys.argv[2] == "trio":
    import trio
    trio.run(main)
else:
    import asyncio
    asyncio.run(main())
"""


def run(program: str, *arguments: str) -> tuple[str, str]:
    """Run a program, with warnings, and return what it writes to stdout and stderr."""
    command = [sys.executable, "-W", "always", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.stderr


def hello_and_silence(stream: EventWriter) -> None:
    """Write a token, and then nothing."""
    stream.token("Hello")
    stream.connection.wait_until_left()


def test_stream_that_is_open_at_exit(surface: Surface) -> None:
    """A process that ends while a stream is open, and a chat has to be seen to, warns of no open socket."""
    with OpenAssistantScript(surface) as script:
        script.events = hello_and_silence
        script.message_state = "complete"
        ((name, value),) = script.credentials.items()

        assert run(OPEN_STREAM, script.url, name, str(value)) == ("Hello\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such limit")
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_first_call_without_a_free_file_descriptor(loop: str) -> None:
    """Where no file can be opened, the first calls of an AsyncClient are TransportErrors, and later ones work."""
    with OpenAssistantScript("inference") as script:
        out, err = run(NO_FILE, script.url, loop)
        *failed, answer = out.splitlines()

        assert err == ""
        assert len(failed) == 2
        assert all(line.startswith("True True nothing was sent: [Errno 24]") for line in failed)
        assert answer == script.answer_text
