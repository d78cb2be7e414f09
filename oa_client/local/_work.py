"""The queue of answers to be written, and the threads that write them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from oa_client.local._backends import Backend, words_of
from oa_client.local._plugins import Step, use_plugin
from oa_client.local._store import Message

HEAD_START = 0.25  # seconds that a reader has to open the stream before the answer is begun
JOIN_DEADLINE = 5.0  # seconds that a backend has, in all, to notice that it was cancelled

WRITING: ContextVar[str] = ContextVar("WRITING")
"""The id of the answer that this thread has a backend write, for one that tells answers apart."""


class ClosedError(Exception):
    """The server is closing: there will be no more packets."""


@dataclass(frozen=True)
class Token:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Outcome:
    """The end of an answer: its whole text and the plugin used for it, or what went wrong."""

    text: str
    error: str | None = None
    used_plugin: dict[str, Any] | None = None


class Job:
    """One answer on its way: what the model is asked, and what it has said that nobody has read yet."""

    def __init__(
        self,
        message: Message,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        plugin: Mapping[str, Any] | None = None,
        *,
        backend: Backend,
    ) -> None:
        self.message = message
        self.messages = messages
        self.sampling = sampling
        self.plugin = plugin
        self.backend = backend
        self.cancelled = threading.Event()
        self.ticket: int | None = None  # its number while it waits in the queue
        self.packets: asyncio.Queue[Token | Step | Outcome] = asyncio.Queue()
        self.awaited = threading.Event()  # set when the first reader comes

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self.cancelled.set()
        self.awaited.set()


class Handover:
    """
    Calls made in any thread and carried out on the event loop, in their order.

    Waking the loop costs more than the call, so one wake-up serves all that have gathered.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._awake = False

    def __call__(self, call: Callable[[], None]) -> None:
        """Have `call` carried out soon; never, if the loop is closed."""
        self._calls.append(call)
        if self._awake:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # closed: nobody is left to hear it
            self._calls.clear()

    def _drain(self) -> None:
        # First of all: whoever appends from here on has to wake the loop again.
        self._awake = False
        while self._calls:
            self._calls.popleft()()


class Workers:
    """
    Give jobs to their backends in their order; the next one waits until fewer are running than its backend has slots.

    Everything but the generation itself happens on the event loop, so that nothing needs a lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handover = Handover(loop)
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, threading.Thread] = {}
        self._readers: set[anyio.CancelScope] = set()
        self._enqueued = 0
        self._dequeued = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue. It is started after the caller has given up the loop."""
        self._enqueued += 1
        job.ticket = self._enqueued
        self._waiting.append(job)
        self._loop.call_soon(self._dispatch)

    def position(self, job: Job) -> tuple[int, int]:
        """The job's place in the queue, 1 being the next, and the queue's length; zeros when it has left."""
        if job.ticket is None:
            return 0, 0
        return job.ticket - self._dequeued, self._enqueued - self._dequeued

    async def take(self, job: Job, timeout: float | None) -> Token | Step | Outcome | None:
        """
        Wait for the job's next packet, at most `timeout` seconds; None if none came.

        Reads are destructive: whoever takes a packet has it alone. What is not taken waits for the
        next reader.

        Raises:
            ClosedError: if the server is closing.
        """
        job.awaited.set()
        # NOTE: not asyncio.wait_for, which up to Python 3.11 can take a packet and lose it when it is
        # cancelled. The queue hands a packet over after its last await, so one that leaves loses none.
        with anyio.move_on_after(timeout) as scope:
            self._readers.add(scope)
            try:
                # A long backlog never waits by itself, and would keep the loop from everybody else.
                await asyncio.sleep(0)
                if not self._closed:
                    return await job.packets.get()
            finally:
                self._readers.discard(scope)
        if self._closed:
            raise ClosedError
        return None

    def close(self) -> None:
        """Cancel what is running or waiting, and send the readers away. On the event loop."""
        self._closed = True
        for job in (*self._waiting, *self._running):
            job.cancel()
            job.message.state = "aborted_by_worker"
        for scope in self._readers:
            scope.cancel()

    def join(self) -> None:
        """
        Wait for the threads to end, at most `JOIN_DEADLINE`. When the event loop is no more.

        One that does not heed its cancellation is left alone: as a daemon it holds up nothing.
        """
        deadline = time.monotonic() + JOIN_DEADLINE
        for thread in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _dispatch(self) -> None:
        while self._waiting and len(self._running) < self._waiting[0].backend.slots and not self._closed:
            job = self._waiting.popleft()
            self._dequeued += 1
            job.ticket = None
            if job.cancelled.is_set():
                continue
            job.message.state = "in_progress"
            thread = threading.Thread(target=self._write, args=(job,), name="oa-client local answer", daemon=True)
            self._running[job] = thread
            thread.start()

    def _write(self, job: Job) -> None:
        """Have the answer written. The one method that runs in a thread of its own."""
        WRITING.set(job.message.id)
        outcome = Outcome("", "the model stopped without a reason")
        try:
            outcome = self._generate(job)
        except Exception as error:
            outcome = Outcome("", words_of(error))
        finally:
            self._handover(partial(self._finish, job, outcome))

    def _generate(self, job: Job) -> Outcome:
        # NOTE: an answer that is finished before its stream is opened has no events any more, as on the
        # real server. There no model is that fast; here one that needs no time would show it every time.
        job.awaited.wait(HEAD_START)
        messages, used_plugin = job.messages, None
        if job.plugin is not None:
            use = use_plugin(job.plugin, messages[-1]["content"])
            for step in use.steps:
                self._handover(partial(job.packets.put_nowait, step))
            messages = [*messages[:-1], {**messages[-1], "content": use.prompt}]
            used_plugin = use.used
        texts: list[str] = []
        pieces = job.backend.generate(messages, job.sampling, job.cancelled)
        try:
            for piece in pieces:
                if not isinstance(piece, str):
                    raise TypeError(f"the model wrote {type(piece).__name__} instead of text")
                if job.cancelled.is_set():
                    break
                texts.append(piece)
                self._handover(partial(job.packets.put_nowait, Token(piece)))
        finally:
            # A generator that was left half-way would otherwise end whenever it is collected.
            if (close := getattr(pieces, "close", None)) is not None:
                close()
        return Outcome(_joined(texts), used_plugin=used_plugin)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        del self._running[job]
        self._dispatch()
        message = job.message
        if job.cancelled.is_set():
            # As on the real server, whoever reads the events of a deleted answer is told nothing.
            message.state = "aborted_by_worker"
            return
        if outcome.error is None:
            message.state, message.content = "complete", outcome.text
            message.used_plugin = outcome.used_plugin
        else:
            message.state = "aborted_by_worker"
        job.packets.put_nowait(outcome)


def _joined(texts: Sequence[str]) -> str:
    """The whole text, fit for UTF-8: halves of a character that came in two pieces are put together."""
    return "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
