"""
Many streams at once: what they cost together, and how late their tokens are.

They are started one after the other, as users come, and measured when all have begun and what piled up meanwhile is
worked off; else that would be measured.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from bench import peers

#: a second: tokens of each stream, and streams that are started.
RATE, STARTS = 20, 125
#: seconds that are measured, and of each look at whether it has settled.
WINDOW, GLANCE = 5.0, 0.5
#: seconds for all to begin after the last was started, and then to settle.
BEGIN_LIMIT, SETTLE_LIMIT = 25.0, 10.0


@dataclass(frozen=True)
class Figures:
    """What some seconds showed: CPU and delivered tokens in percent, latencies in ms, why a stream failed."""

    cpu: float
    p50: float
    p99: float
    delivered: float
    reached: int
    failed: int
    reason: str
    threads: int


def duration(streams: int) -> float:
    """Return the seconds that a measurement takes at most."""
    return streams / STARTS + BEGIN_LIMIT + SETTLE_LIMIT + 2 * WINDOW


class Crowd:
    """Streams that run until the process ends: none of their replies ends before."""

    def __init__(self, chat: peers.Async, streams: int) -> None:
        self._chat, self._streams = chat, streams
        self._begun = self._failed = 0
        self._reason = ""
        self._latencies: list[int] = []

    async def run(self, report: Callable[[Figures], None]) -> None:
        """Start them, and report once; the report has to end the process."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._measure, report)
            for _ in range(self._streams):
                group.start_soon(self._read)
                await anyio.sleep(1 / STARTS)

    async def _read(self) -> None:
        has_begun = False
        try:
            async for text in self._chat():
                self._latencies.append(time.monotonic_ns() - int(text))
                if not has_begun:
                    has_begun = True
                    self._begun += 1
        except Exception as error:
            self._reason = self._reason or repr(error)
        self._failed += 1

    async def _measure(self, report: Callable[[Figures], None]) -> None:
        with anyio.move_on_after(self._streams / STARTS + BEGIN_LIMIT):
            while self._begun < self._streams:
                await anyio.sleep(GLANCE)
        with anyio.move_on_after(SETTLE_LIMIT):
            while True:
                figures = await self._look(GLANCE)
                if figures.delivered > 90 and figures.p50 < 50:
                    break
        report(await self._look(WINDOW))

    async def _look(self, seconds: float) -> Figures:
        latencies = self._latencies = []
        cpu, started = time.process_time(), time.monotonic()
        await anyio.sleep(seconds)
        cpu, seconds = time.process_time() - cpu, time.monotonic() - started
        percentiles = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [math.inf] * 99
        return Figures(
            cpu=100 * cpu / seconds,
            p50=percentiles[49] / 1e6,
            p99=percentiles[98] / 1e6,
            delivered=100 * len(latencies) / (seconds * self._streams * RATE),
            reached=self._begun - self._failed,
            failed=self._failed,
            reason=self._reason,
            threads=threading.active_count(),
        )


#: What `describe` says.
COLUMNS = ("p50 ms", "p99 ms", "delivered %", "reached", "failed", "threads")


def describe(figures: Sequence[Figures], streams: int) -> tuple[str, ...]:
    """Return what the rounds of a peer saw, beside its CPU: medians, and the worst of what is counted."""
    worst = max(figures, key=lambda item: item.failed)
    return (
        f"{statistics.median(item.p50 for item in figures):.2f}",
        f"{statistics.median(item.p99 for item in figures):.1f}",
        f"{statistics.median(item.delivered for item in figures):.0f}",
        f"{min(item.reached for item in figures)} of {streams}",
        f"{worst.failed} {worst.reason}".strip(),
        f"{max(item.threads for item in figures)}",
    )
