"""The threads of a client."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from oa_client import TransportError
from oa_client._calls.workers import Workers

START = threading.Thread.start


def test_thread_is_kept_for_the_next_work() -> None:
    """Work that comes as soon as the result of another is told is done by the same thread."""
    workers = Workers()
    threads: list[int] = []
    is_done = threading.Event()

    def run() -> None:
        result: Future[int] = Future()
        result.add_done_callback(go_on)
        workers.run(threading.get_ident, result)

    def go_on(result: Future[int]) -> None:
        threads.append(result.result(0))
        if len(threads) < 10:
            run()
        else:
            is_done.set()

    run()
    assert is_done.wait(20)
    workers.close(20)

    assert len(set(threads)) == 1


def test_error_comes_through() -> None:
    """What the work raises is the error of its future, and the thread goes on."""
    workers = Workers()
    broken: Future[int] = Future()
    whole: Future[int] = Future()
    workers.run(lambda: 1 // 0, broken)
    workers.run(lambda: 1, whole)

    assert isinstance(broken.exception(20), ZeroDivisionError)
    assert whole.result(20) == 1
    workers.close(20)


def test_who_asks_starts_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that are needed at once, whoever asks starts the first, which starts all that do the work."""
    starters = []

    def start(thread: threading.Thread) -> None:
        starters.append(threading.current_thread())
        START(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    workers = Workers()
    everybody = threading.Barrier(50)
    results: list[Future[int]] = [Future() for _ in range(50)]
    for result in results:
        workers.run(lambda: everybody.wait(20), result)

    assert sorted(result.result(20) for result in results) == list(range(50))
    workers.close(20)
    assert [thread.name for thread in starters] == ["MainThread", *["oa-client starter"] * 50]


def test_nothing_is_started_before_the_first_work() -> None:
    """Workers that have nothing to do are no threads."""
    before = threading.active_count()
    workers = Workers()

    assert threading.active_count() == before
    workers.close(1000)


def test_closing_while_a_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler that closes the client while a thread is being started waits for nothing."""
    workers = Workers()

    def close_and_start(thread: threading.Thread) -> None:
        if threading.current_thread() is threading.main_thread():
            workers.close(1000)
        START(thread)

    monkeypatch.setattr(threading.Thread, "start", close_and_start)
    result: Future[int] = Future()
    workers.run(lambda: 1, result)

    assert result.result(20) == 1


def test_closing_by_two_at_once() -> None:
    """Two threads that close the workers they belong to do not wait for each other."""
    workers = Workers()
    both = threading.Barrier(2)
    results: list[Future[None]] = [Future(), Future()]

    def close() -> None:
        both.wait(20)
        workers.close(1000)

    for result in results:
        workers.run(close, result)

    assert [result.result(20) for result in results] == [None, None]


def test_closing_waits_for_what_is_yet_to_be_started() -> None:
    """Work that was given before the end is done, and its threads are gone, when close() returns."""
    workers = Workers()
    results: list[Future[int]] = [Future() for _ in range(20)]
    for number, result in enumerate(results):
        workers.run(lambda number=number: number, result)  # type: ignore[misc]  # mypy does not see that it fits
    workers.close(20)

    assert [result.result(0) for result in results] == list(range(20))
    assert workers._threads == set()
    assert workers._starter is None


@pytest.mark.parametrize("name", ["oa-client starter", "oa-client worker"])
def test_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """If no thread can be started, the future says so, nothing is waited for, and later work is done."""
    workers = Workers()

    def fail(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        START(thread)

    refused: Future[None] = Future()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        workers.run(print, refused)
        error = refused.exception(20)
    done: Future[int] = Future()
    workers.run(lambda: 1, done)

    assert isinstance(error, TransportError)
    assert "can't start new thread" in str(error)
    assert error.is_unsent
    assert done.result(20) == 1
    workers.close(1000)


def test_ctrl_c_while_a_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C that comes before the first thread runs comes out, and later work is done."""
    workers = Workers()

    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            workers.run(print, Future())
    done: Future[int] = Future()
    workers.run(lambda: 1, done)

    assert done.result(20) == 1
    workers.close(20)
