"""The answers to be written, and the threads that write them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from contextvars import ContextVar
from dataclasses import replace
from functools import partial

import anyio

from oa_client.local._answers.handover import Handover
from oa_client.local._answers.job import Job, LastPacket, Packet, TokenPacket
from oa_client.local._answers.plugins import use_plugin
from oa_client.local._answers.queue import Queue
from oa_client.local._models.backends import Backend, words_of
from oa_client.local._settings import Settings
from oa_client.local._storage.clock import Clock, age
from oa_client.local._storage.store import Store

#: seconds that a reader has to open the stream before the answer is begun
HEAD_START = 0.25
#: seconds that a backend has, in all, to notice that it was cancelled
JOIN_DEADLINE = 5.0

#: The id of the answer that a backend writes in this thread, for backends that tell answers apart.
WRITING: ContextVar[str] = ContextVar("WRITING")

logger = logging.getLogger("oa_client.local")


class ClosedError(Exception):
    """The server is closing: there will be no more packets."""


class BackendWorkers:
    """
    Give each backend its jobs in their order; the next one waits until the backend has a slot for it.

    Everything but the generation itself happens on the event loop, so that nothing needs a lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, settings: Settings, clock: Clock) -> None:
        self._loop = loop
        self._store = store
        self._settings = settings
        self._clock = clock
        self._handover = Handover(loop)
        self._jobs: dict[str, Job] = {}  # by the id of the answer, while there may be events to read
        self._queues: dict[str, Queue] = {}  # by the name of the backend
        self._running: dict[Job, threading.Thread] = {}
        self._readers: set[anyio.CancelScope] = set()
        self._closed = False

    def is_full(self, backend: Backend) -> bool:
        """Return whether no more answers may wait for a backend."""
        return self._queue(backend).is_full(self._settings.work_queue_max_size)

    def submit(self, job: Job) -> None:
        """Put a job at the end of its backend's queue; it starts after the caller has yielded to the loop."""
        queue = self._queue(job.backend)
        queue.put(job, self._clock())
        self._jobs[job.message_id] = job
        self._loop.call_soon(self._dispatch, queue)

    def job(self, message_id: str, backend: Backend) -> Job:
        """Return the job of an unfinished answer; if it has none (any more), a job without packets."""
        return self._jobs.get(message_id) or Job(message_id, backend, self._settings.message_queue_expire)

    def drop(self, message_id: str) -> None:
        """Stop an answer of a deleted chat, or never begin it. Its readers get nothing more."""
        if (job := self._jobs.pop(message_id, None)) is not None:
            job.cancel()

    def stop(self, job: Job) -> None:
        """End an answer with the text that it has so far; its readers get that as the complete answer."""
        job.cancel()
        self._end(job, None)

    def position(self, job: Job) -> tuple[int, int]:
        """Return the job's place in its backend's queue (1 is next, 0 is none), and the queue's length."""
        return self._queue(job.backend).position(job, self._clock())

    async def take(self, job: Job, timeout: float) -> Packet | None:
        """
        Wait for the job's next packet, at most `timeout` seconds; None if none came.

        A packet goes to one reader only. Packets that nobody takes wait for the next reader.

        Raises:
            ClosedError: if the server is closing.
        """
        job.awaited.set()
        # NOTE: not asyncio.wait_for, which up to Python 3.11 can take a packet and lose it when it is
        # cancelled. The job hands a packet over after its last await, so one that leaves loses none.
        with anyio.move_on_after(timeout) as scope:
            self._readers.add(scope)
            try:
                # Taking a long backlog never waits, and would block the loop.
                await asyncio.sleep(0)
                if not self._closed:
                    packet = await job.get(self._clock())
                    if isinstance(packet, LastPacket):
                        self._jobs.pop(job.message_id, None)
                    return packet
            finally:
                self._readers.discard(scope)
        if self._closed:
            raise ClosedError
        return None

    def read_in_place_of(self, job: Job) -> None:
        """Go on reading a job in the place of a client that has left, so that later readers get only their share."""
        job.forget(self._clock())
        to_come = self._jobs.get(job.message_id) is job or not job.empty
        if to_come and not job.over and not self._closed:
            ghost = self._loop.create_task(self._read_away(job))
            job.ghosts.add(ghost)
            ghost.add_done_callback(job.ghosts.discard)

    def close(self) -> None:
        """Cancel running answers, begin no more, and end the readers. Call it on the event loop."""
        self._closed = True
        for job in self._running:
            job.cancel()
            self._note(job, "aborted_by_worker")
        for scope in self._readers:
            scope.cancel()

    def join(self) -> None:
        """
        Wait at most `JOIN_DEADLINE` for the threads to end. Call it after the event loop has ended.

        A thread that ignores its cancellation is left running; as a daemon it does not hold up the exit.
        """
        deadline = time.monotonic() + JOIN_DEADLINE
        for thread in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _queue(self, backend: Backend) -> Queue:
        return self._queues.setdefault(backend.name, Queue(backend))

    async def _read_away(self, job: Job) -> None:
        with contextlib.suppress(ClosedError):
            while not isinstance(await self.take(job, self._settings.pending_event_interval), LastPacket):
                continue

    def _dispatch(self, queue: Queue) -> None:
        while not self._closed and (job := queue.take()) is not None:
            if not self._begin(job):
                continue
            queue.busy += 1
            thread = threading.Thread(target=self._write, args=(job,), name="oa-client local answer", daemon=True)
            self._running[job] = thread
            thread.start()

    def _begin(self, job: Job) -> bool:
        """Begin an answer, unless it was deleted or cancelled, or has waited too long."""
        message = self._store.message(job.message_id)
        if message is None or job.cancelled.is_set():
            return False
        limit = self._settings.assistant_message_timeout
        # NOTE: checked first, as on the real server, where a cancelled answer can still time out.
        if limit and age(message.created_at, self._clock()) > limit:
            self._note(job, "timeout")
            job.put(LastPacket(replace(message, state="timeout").to_json(), "Timeout"), self._clock())
            self._forget_later(job)
            return False
        if message.state != "pending":
            self._jobs.pop(job.message_id, None)
            job.release_ghosts()
            return False
        self._note(job, "in_progress")
        return True

    def _forget_later(self, job: Job) -> None:
        """Forget a job whose end nobody has read, once it cannot be read any more."""

        def forget() -> None:
            job.forget(self._clock())
            if not job.empty:
                self._forget_later(job)
            elif self._jobs.get(job.message_id) is job:
                del self._jobs[job.message_id]
                job.release_ghosts()

        self._loop.call_later(self._settings.message_queue_expire, forget)

    def _note(self, job: Job, state: str) -> None:
        """Store the state of an answer; if the disk is full, go on without."""
        try:
            self._store.set_state(job.message_id, state)
        except sqlite3.Error as error:
            logger.error("cannot store that an answer is %s: %s", state, error)

    def _write(self, job: Job) -> None:
        """Write the answer. Only this method runs in a thread of its own."""
        WRITING.set(job.message_id)
        error: str | None = "the model stopped without a reason"
        try:
            self._generate(job)
            error = None
        except Exception as failure:
            error = words_of(failure)
        finally:
            self._handover(partial(self._finish, job, error))

    def _generate(self, job: Job) -> None:
        # NOTE: as on the real server, an answer that is finished before its stream is opened has no events. No real
        # model is that fast; here a model that needs no time would always be.
        job.awaited.wait(HEAD_START)
        messages = job.messages
        if job.plugin is not None:
            use = use_plugin(job.plugin, messages[-1]["content"])
            for step in use.steps:
                self._say(job, step)
            messages = [*messages[:-1], {**messages[-1], "content": use.prompt}]
            job.used_plugin = use.used
        pieces = job.backend.generate(messages, job.sampling, job.cancelled)
        try:
            for piece in pieces:
                if not isinstance(piece, str):
                    raise TypeError(f"the model wrote {type(piece).__name__} instead of text")
                if job.cancelled.is_set():
                    break
                self._say(job, TokenPacket(piece))
        finally:
            # Otherwise an unfinished generator would end only when it is collected.
            if (close := getattr(pieces, "close", None)) is not None:
                close()

    def _say(self, job: Job, packet: Packet) -> None:
        self._handover(lambda: job.put(packet, self._clock()))

    def _finish(self, job: Job, error: str | None) -> None:
        del self._running[job]
        queue = self._queue(job.backend)
        queue.busy -= 1
        self._loop.call_soon(self._dispatch, queue)
        if job.cancelled.is_set():
            # A stopped answer has had its end; a deleted one, as on the real server, gets none.
            return
        self._end(job, error)

    def _end(self, job: Job, error: str | None) -> None:
        """Store the end of an answer, and send it to the readers."""
        if error is None:
            try:
                self._store.complete(job.message_id, job.text, job.used_plugin)
            except sqlite3.Error as failure:
                error = f"the answer cannot be stored: {failure}"
        if error is not None:
            self._note(job, "aborted_by_worker")
        message = self._store.message(job.message_id)
        assert message is not None  # noqa: S101 - for the type checker: deleting its chat cancels the job
        state = "complete" if error is None else "aborted_by_worker"
        job.put(LastPacket(replace(message, state=state).to_json(), error), self._clock())
        self._jobs.pop(job.message_id, None)
