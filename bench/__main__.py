"""
Measure oa_client beside other clients, on one server, in one run.

    pip install -e '.[bench]'
    python -m bench                        # all peers, all modes
    python -m bench full --tokens 20000 --rounds 5

Each figure is taken in a process of its own, on the second core if there is one; the server has the first. Rounds are
interleaved and ratios are taken inside a round, so that slow changes of the machine cancel out. Only the ratios mean
something.

Modes:
    full   CPU of the client for each token of a long reply at full speed
    chat   CPU of the client for a whole chat of one token: five requests, connection kept
    pace   latency of a token when one comes each 5 ms, from just before it is sent until it is yielded (median)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from . import peers

REFERENCE = "aiohttp"
PACE = 0.005
MODES = {"full": "us of CPU a token", "chat": "us of CPU a chat", "pace": "us of latency, median"}


@contextlib.contextmanager
def server(tokens: int, pause: float) -> Iterator[str]:
    """Run the server; its address."""
    command = [sys.executable, "-m", "bench.server", "--tokens", str(tokens), "--pause", str(pause)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        pin(0, process.pid)
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"  # type: ignore[union-attr]  # it is a pipe
        finally:
            process.stdin.close()  # type: ignore[union-attr]  # it is a pipe


def pin(core: int, pid: int = 0) -> None:
    """Keep a process on a core, where that can be done."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


def measure_blocking(chat: peers.Blocking, mode: str, chats: int) -> float:
    """Return the figure of a mode."""
    for _ in chat():
        pass
    latencies: list[int] = []
    tokens = 0
    started = time.process_time()
    for _ in range(chats):
        for text in chat():
            tokens += 1
            if mode == "pace":
                latencies.append(time.monotonic_ns() - int(text))
    return figure(mode, time.process_time() - started, tokens, chats, latencies)


async def measure_async(chat: peers.Async, mode: str, chats: int) -> float:
    """Return the figure of a mode."""
    async for _ in chat():
        pass
    latencies: list[int] = []
    tokens = 0
    started = time.process_time()
    for _ in range(chats):
        async for text in chat():
            tokens += 1
            if mode == "pace":
                latencies.append(time.monotonic_ns() - int(text))
    return figure(mode, time.process_time() - started, tokens, chats, latencies)


def figure(mode: str, seconds: float, tokens: int, chats: int, latencies: list[int]) -> float:
    """Return the figure of a mode, in microseconds."""
    if mode == "pace":
        return statistics.median(latencies) / 1000
    return seconds * 1e6 / (tokens if mode == "full" else chats)


def run_peer(name: str, mode: str, url: str, chats: int) -> None:
    """Measure one peer in this process, and print the figure."""
    pin(1)
    if name in peers.BLOCKING:
        result = measure_blocking(peers.BLOCKING[name](url), mode, chats)
    else:
        import anyio

        name, _, loop = name.partition(" on ")
        result = anyio.run(measure_async, peers.ASYNC[name](url), mode, chats, backend=loop or "asyncio")
    print(result, flush=True)
    # Peers that were not closed must not spoil the figure with complaints.
    os._exit(0)


def compare(mode: str, tokens: int, rounds: int) -> None:
    """Measure all peers and print a table."""
    chats = {"full": 3, "chat": 100, "pace": 1}[mode]
    names = [*peers.BLOCKING, *peers.ASYNC, *(f"{name} on trio" for name in peers.ON_TRIO)]
    figures: dict[str, list[float]] = {name: [] for name in names}
    with server({"full": tokens, "chat": 1, "pace": 300}[mode], PACE if mode == "pace" else 0) as url:
        for _ in range(rounds):
            for name in names:
                if mode == "pace" and name == "openai":
                    continue
                command = [sys.executable, "-m", "bench", mode, "--peer", name, "--url", url, "--chats", str(chats)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
                if done.returncode == 0:
                    figures[name].append(float(done.stdout))
                elif "No module named" not in done.stderr:
                    sys.exit(done.stderr)
    print(f"\n| {mode} | {MODES[mode]} | x {REFERENCE} (least, most) |\n|---|---|---|")
    for name in names:
        if figures[name]:
            ratios = [ours / theirs for ours, theirs in zip(figures[name], figures[REFERENCE], strict=True)]
            row: tuple[Any, ...] = (
                statistics.median(figures[name]),
                statistics.median(ratios),
                min(ratios),
                max(ratios),
            )
            print("| {} | {:.1f} | {:.2f} ({:.2f}, {:.2f}) |".format(name, *row))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="*", choices=[[], *MODES], help="default: all")
    parser.add_argument("--tokens", type=int, default=20_000, help="of a reply at full speed")
    parser.add_argument("--rounds", type=int, default=3)
    for internal in ("--peer", "--url", "--chats"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        run_peer(arguments.peer, arguments.mode[0], arguments.url, int(arguments.chats))
    for mode in arguments.mode or MODES:
        compare(mode, arguments.tokens, arguments.rounds)


if __name__ == "__main__":
    main()
