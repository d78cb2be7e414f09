"""A forked child harms nothing of its parent's, and is told to make a client of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest

from oa_client.testing import OAServer, Pause

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork"),
    pytest.mark.oa_surface("inference", "website"),
]

# A process of its own: pytest has threads, and from Python 3.12 on that is a warning where one forks.
COMMON = """
import gc, json, os, sys
from oa_client import AsyncClient, Client, ConfigurationError
url, credentials = sys.argv[1], json.loads(sys.argv[2])

def fork(child):
    pid = os.fork()
    if pid == 0:
        child()
        # By way of all that is registered for the exit.
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""

BLOCKING = """
client = Client(url, **credentials, serialize=False)
stream = client.stream("Hi")
pieces = [next(stream)]

def child():
    for use in (lambda: next(stream), lambda: client.ask("Hi"), client.create_chat):
        try:
            use()
        except ConfigurationError as error:
            assert "make a new client here" in str(error)
        else:
            raise AssertionError("it was used")
    stream.close()
    assert client.close() == ()
    with Client(url, **credentials) as own:
        assert own.ask("And you?").content == "Hello world"

fork(child)
client.ask("Go on")
pieces += stream
assert pieces == ["Hello", " world"], pieces
assert client.close() == ()
"""

FORGOTTEN = """
client = Client(url, **credentials, serialize=False)
stream = client.stream("Hi")
pieces = [next(stream)]
fork(gc.collect)
client.ask("Go on")
client.ask("Go on")
pieces += stream
assert pieces == ["Hello", " world"], pieces
assert client.close() == ()
"""

ASYNC = """
import anyio
from oa_client import Timeout
# If the parent is not told any more what comes, it waits for longer than the test.
client = AsyncClient(url, **credentials, serialize=False, timeout=Timeout(read=1000, idle=1000))

async def first():
    global stream, pieces
    stream = client.stream("Hi")
    pieces = [await anext(stream)]
    def child():
        stream.__del__()
        # Unwinding would take the parent's event loop apart.
        os._exit(7)

    fork(child)
    await client.ask("Go on")
    await client.ask("Go on")
    async for piece in stream:
        pieces.append(piece)
    assert pieces == ["Hello", " world"], pieces

anyio.run(first)

async def again():
    try:
        await client.ask("Hi")
    except ConfigurationError as error:
        assert "make a new client here" in str(error)
    else:
        raise AssertionError("it was used")
    assert await client.aclose() == ()
    async with AsyncClient(url, **credentials) as own:
        assert str(await own.ask("Hi")) == "Hello world"

fork(lambda: anyio.run(again))

async def last():
    assert await client.aclose() == ()

anyio.run(last)
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(BLOCKING, id="a child that uses the client"),
        pytest.param(FORGOTTEN, id="a child that forgets it"),
        pytest.param(ASYNC, id="the async client"),
    ],
)
def test_fork(oa_server: OAServer, program: str) -> None:
    """A child's end, and its use of the client, leave the parent's stream and chat alone, and nothing is left."""
    asked = itertools.count(2)

    def answer(messages: object) -> str:
        if next(asked) == 3:
            # The others are through.
            oa_server.resume()
        return "Hello world"

    oa_server.reply("Hello world", fault=Pause(after=1))
    oa_server.replies(answer)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            COMMON + program,
            oa_server.url,
            json.dumps(oa_server.credentials),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "update_chat" not in [request.route for request in oa_server.requests]
    oa_server.assert_no_chat_left()
