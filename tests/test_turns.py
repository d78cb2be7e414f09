"""Those who wait for their turn to ask: one of them looks for all, and none needs a thread for it in async code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import anyio
import anyio.to_thread
import pytest

from oa_client import AsyncClient, Client, Timeout
from tests.scripted import OpenAssistantScript

WAITERS = 40
LIMITS = Timeout(first_token=120)


@pytest.fixture
def release(script: OpenAssistantScript) -> Callable[[], None]:
    """Keep the first answer in the queue, without a token, until the result is called."""
    default = script.events
    script.events = lambda stream: stream.connection.wait_until_left() if stream.message_id == "m1" else default(stream)

    def release() -> None:
        script.change_message("m1", state="complete")
        script.message_state = "complete"

    return release


def see_looks(script: OpenAssistantScript) -> tuple[int, float]:
    """Wait until all wait and the fifth look has come; return the number of looks, and the seconds since the first."""
    script.wait_until(lambda: script.calls.count("prompter") == WAITERS + 1)
    before, since = script.calls.count("message"), monotonic()
    script.wait_until(lambda: script.calls.count("message") >= before + 5)
    return script.calls.count("message") - before, monotonic() - since


def test_one_looks_for_all_threads(script: OpenAssistantScript, release: Callable[[], None]) -> None:
    """However many threads wait, the pending message is looked at about once a second, and all get their turn."""
    with Client(script.url, **script.credentials, timeout=LIMITS) as client, ThreadPoolExecutor(WAITERS) as pool:
        first = client.stream("one")
        answers = [pool.submit(client.ask, "two") for _ in range(WAITERS)]
        looks, seconds = see_looks(script)
        release()
        first.close()

        assert looks <= seconds + 6
        assert {"Hello world"} == {str(answer.result(60)) for answer in answers}


def test_one_looks_for_all_tasks(script: OpenAssistantScript, release: Callable[[], None]) -> None:
    """So it is in async code, where those who wait hold no threads, and one that looks can be cancelled."""
    answers: list[str] = []

    async def main() -> None:
        async with AsyncClient(script.url, **script.credentials, timeout=LIMITS) as client:

            async def ask() -> None:
                answers.append(str(await client.ask("two")))

            first = client.stream("one")
            async with first, anyio.create_task_group() as group:
                # The last to come is the one that looks.
                for _ in range(WAITERS - 1):
                    group.start_soon(ask)
                scope = anyio.CancelScope()
                with scope:
                    async with anyio.create_task_group() as last:
                        last.start_soon(client.ask, "two")
                        looks, seconds = await anyio.to_thread.run_sync(see_looks, script)
                        while threading.active_count() - script_threads() >= 20:
                            await anyio.sleep(0)
                        scope.cancel()
                more, longer = await anyio.to_thread.run_sync(see_looks, script)
                release()

        assert looks <= seconds + 6
        assert more <= longer + 6

    anyio.run(main)
    assert ["Hello world"] * (WAITERS - 1) == answers


def script_threads() -> int:
    """Return the number of threads that are not the client's."""
    return sum(not thread.name.startswith("oa-client") for thread in threading.enumerate())
