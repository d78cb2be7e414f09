"""The threads of a client."""

from __future__ import annotations

import queue
import threading

import pytest

from oa_client._workers import Workers


def test_thread_is_kept_for_the_next_work() -> None:
    """Work that comes when a thread has nothing to do is done by that one."""
    workers = Workers()
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    names = []
    for _ in range(3):
        workers.run(lambda: done.put(str(threading.get_ident())))
        names.append(done.get(timeout=20))
        while not workers._idle:
            pass
    workers.close(20)

    assert len(set(names)) == 1


def test_closing_while_a_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler that closes the client while a thread is being started waits for nothing."""
    workers = Workers()
    done = threading.Event()
    start = threading.Thread.start

    def close_and_start(thread: threading.Thread) -> None:
        workers.close(1000)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", close_and_start)
    workers.run(done.set)

    assert done.wait(20)


def test_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes through, and nothing is waited for."""
    workers = Workers()

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="new thread"):
        workers.run(print)
    workers.close(1000)
