"""A thousand streams of one async client at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic

import anyio
import pytest
import requests

from oa_client import AsyncClient, Timeout
from tests.crowd import tokens_for

resource = pytest.importorskip("resource", reason="says how many sockets there may be")

pytestmark = [
    pytest.mark.full,
    pytest.mark.anyio,
    pytest.mark.skipif(
        resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096, reason="needs 4096 open files: see ulimit -n"
    ),
]

STREAMS = 1000
#: seconds; the tests take some, and this is for machines that have better things to do.
PATIENCE = 120.0


class Server:
    """Of `crowd`, as seen from here."""

    def __init__(self, url: str) -> None:
        self.url = url

    def count(self) -> tuple[int, int, int]:
        """Return the numbers of connections, of replies that are open, and of chats."""
        counts = requests.get(self.url, timeout=PATIENCE).json()
        return counts["connections"], counts["replies"], counts["chats"]

    def go(self) -> None:
        """Send the rest of the replies."""
        requests.post(f"{self.url}/go", timeout=PATIENCE).raise_for_status()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in another process."""
    command = [sys.executable, "-m", f"{__package__}.crowd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.stdin.close()


def threads_since(before: set[threading.Thread]) -> list[str]:
    """Return the names of the client's own threads that are new."""
    names = [thread.name for thread in set(threading.enumerate()) - before]
    return [name for name in names if name.startswith("oa-client")]


@pytest.mark.parametrize("opened_at_once", [16, STREAMS])
async def test_a_thousand_streams(server: Server, opened_at_once: int) -> None:
    """A thousand replies are open at the same time, read by one thread; all end well, and nothing is left."""
    # Another test of this process may have started the local server that all share.
    before = set(threading.enumerate())
    begun = 0
    all_begun = anyio.Event()
    opening = anyio.CapacityLimiter(opened_at_once)
    replies: dict[str, list[str]] = {}

    async def ask(client: AsyncClient, prompt: str) -> None:
        nonlocal begun
        stream = client.stream(prompt)
        async with opening:
            tokens = [await anext(stream)]
        begun += 1
        if begun == STREAMS:
            all_begun.set()
        tokens += [token async for token in stream]
        replies[prompt] = tokens

    with anyio.fail_after(PATIENCE):
        async with (
            AsyncClient(
                server.url,
                cookies={"next-auth.session-token": "x"},
                serialize=False,
                max_retries=0,
                timeout=Timeout(connect=PATIENCE, read=PATIENCE),
            ) as client,
            anyio.create_task_group() as group,
        ):
            prompts = [f"word {number}" for number in range(STREAMS)]
            for prompt in prompts:
                group.start_soon(ask, client, prompt)
            await all_begun.wait()
            counts = server.count()
            threads = threads_since(before)
            finished = len(replies)
            server.go()

    assert (STREAMS, STREAMS, STREAMS) == counts
    assert 0 == finished
    assert ["oa-client reader"] == threads
    assert {prompt: tokens_for(prompt) for prompt in prompts} == replies
    deadline = monotonic() + PATIENCE
    while server.count() != (0, 0, 0):
        # The server is told of a closed connection when it is.
        assert monotonic() < deadline
    assert [] == threads_since(before)
