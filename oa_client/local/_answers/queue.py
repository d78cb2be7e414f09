"""The answers that wait for one model."""

from __future__ import annotations

from collections import deque

from oa_client.local._answers.job import Job
from oa_client.local._models.backends import Backend


class Queue:
    """
    Jobs in the order in which their backend is to begin them.

    For one thread only, the event loop's.

    Attributes:
        backend: who answers.
        busy: how many of the backend's slots are taken.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.busy = 0
        self._waiting: deque[Job] = deque()
        self._enqueued = 0
        self._dequeued = 0

    def put(self, job: Job, now: float) -> None:
        """Put a job at the end."""
        self._enqueued += 1
        job.enqueue(self._enqueued, now)
        self._waiting.append(job)

    def take(self) -> Job | None:
        """Take the next job out; None if there is none, or no slot for it."""
        if not self._waiting or self.busy >= self.backend.slots:
            return None
        self._dequeued += 1
        return self._waiting.popleft()

    def is_full(self, most: int | None) -> bool:
        """Whether so many jobs wait, None being no limit. Cancelled ones count until their turn has come."""
        return most is not None and len(self._waiting) >= most

    def position(self, job: Job, now: float) -> tuple[int, int]:
        """The job's place, 1 being the next and 0 none, and how many wait."""
        place = job.place(self._dequeued, now)
        return place, max(self._enqueued - self._dequeued, place)
