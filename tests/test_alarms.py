"""What a signal's handler raises in the middle of a call comes out as it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from oa_client import Client, Timeout, provider
from tests.alarms import SURFACES, Alarm, Alarms, run
from tests.scripted import Connection, EventWriter, OpenAssistantScript, Request, Surface

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no alarm")


@pytest.mark.parametrize("surface", SURFACES)
def test_alarms_at_random_moments(surface: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever an alarm strikes, it comes out as itself, and nothing is left."""
    monkeypatch.setattr("oa_client._calls.cleanup.UNSURE", 0.5)
    alarms = Alarms(seed=1)

    left = run(alarms, surface, 240)

    assert alarms.strays == []
    assert left == []
    assert alarms.fired > 50
    assert alarms.swallowed < 10


class _Late(TimeoutError):  # noqa: N818 - as `Alarm`
    """What a handler may raise, which looks like trouble of a connection."""


class _Odd(ValueError):  # noqa: N818 - as `Alarm`
    """Likewise, which looks like an event that cannot be read."""


@contextmanager
def raising(error: BaseException) -> Iterator[Callable[[], None]]:
    """Handle a signal by raising an error; what is yielded sends it to the main thread, once, from any."""
    is_sent = threading.Event()

    def handle(_: int, __: object) -> None:
        raise error

    def send() -> None:
        if not is_sent.is_set():
            is_sent.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield send
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("session", [None, requests.Session], ids=["own connections", "the user's session"])
@pytest.mark.parametrize("kind", [Alarm, _Late, _Odd, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["head", "head of the events", "events", "events that are not chunked", "look"])
def test_a_handlers_error_while_the_server_is_waited_for(
    place: str, kind: type[BaseException], session: type[requests.Session] | None
) -> None:
    """An error that a handler raises in a socket call comes out, whatever its class, and the chat is deleted."""
    error = kind()
    with OpenAssistantScript("inference") as script, raising(error) as send:
        script.message_state = "complete"
        good = script.on_message

        def stall(connection: Connection, _: Request) -> None:
            send()
            connection.wait_until_left()

        def stall_once(connection: Connection, request: Request) -> None:
            send()
            script.on_message = good
            connection.wait_until_left()

        def write(stream: EventWriter) -> None:
            stream.token("Hello")
            if place == "look":
                stream.end()
            else:
                send()

        script.events = write
        script.chunked = place != "events that are not chunked"
        if place == "head":
            script.on_prompter = stall
        elif place == "head of the events":
            script.on_events = stall
        elif place == "look":
            script.on_message = stall_once
        made = None if session is None else session()
        with Client(script.url, **script.credentials, session=made, timeout=Timeout(read=10)) as client:
            with pytest.raises(kind) as caught:
                client.ask("Hi")
            assert client.close(10) == ()
        if made is not None:
            made.close()

        assert caught.value is error
        assert script.deleted_chats == ["c1"]


def test_a_handlers_error_in_a_provider_of_the_user() -> None:
    """An error that a handler raises while another provider's answer is waited for comes out, and that is ended."""
    error = Alarm()
    ended = threading.Event()
    with raising(error) as send:

        class Mine(provider.AsyncGeneratorProvider):
            @classmethod
            async def create_async_generator(cls, *_: Any, **__: Any) -> AsyncGenerator[str, None]:
                import asyncio

                try:
                    yield "Hello"
                    send()
                    await asyncio.Event().wait()
                finally:
                    ended.set()

        with pytest.raises(Alarm) as caught:
            list(Mine.create_completion("", [{"role": "user", "content": "Hi"}]))

    assert caught.value is error
    assert ended.is_set()
