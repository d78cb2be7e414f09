"""
Measure oa_client beside other clients, on one server, in one run.

    pip install -e '.[bench]'
    python -m bench                        # all peers, all modes
    python -m bench full --tokens 20000 --rounds 5
    python -m bench many --streams 300 1000

Each figure is taken in a process of its own, on the second core if there is one; the server has the first. Rounds are
interleaved and ratios are taken inside a round, so that slow changes of the machine cancel out. Only the ratios mean
something.

Modes:
    full   CPU of the client for each token of a long reply at full speed
    chat   CPU of the client for a whole chat of one token: five requests, connection kept
    pace   latency of a token when one comes each 5 ms, from just before it is sent until it is yielded (median)
    many   CPU and latency of N streams at once, of 20 tokens a second each, by the async peers: 125 are started in a
           second, and 5 s are measured when all have begun and it has settled. Where not all tokens are delivered,
           the CPU was not enough, and neither it nor the latency says more than that
    memory resident memory at its peak while a long reply is read, above that after a short one; a line that long is
           too much for aiohttp, so it alone does not read the final message
    import time for `import oa_client` in a fresh process, beside the libraries that it uses (median)
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench import many, peers

PACE = 0.005
TOKENS = {"full": 20_000, "memory": 1_000_000, "chat": 1, "pace": 300}
MODES = {
    "full": "us of CPU a token",
    "chat": "us of CPU a chat",
    "pace": "us of latency, median",
    "many": "CPU %",
    "memory": "MiB above base",
    "import": "ms, median",
}
ALL = (*peers.BLOCKING, *peers.ASYNC, *(f"{name} on trio" for name in peers.ON_TRIO))
IMPORTED = "requests, sseclient, anyio"
NAMES = {
    "full": ALL,
    "chat": ALL,
    "pace": tuple(name for name in ALL if name != "openai"),
    "many": tuple(name for name in ALL if name not in peers.BLOCKING),
    "memory": ("Client", "AsyncClient", "requests + sseclient-py", "aiohttp"),
    "import": ("oa_client", IMPORTED),
}
#: What the ratios are to. Of `memory` one that reads the final message too.
REFERENCE = dict.fromkeys(MODES, "aiohttp") | {"memory": "requests + sseclient-py", "import": IMPORTED}
#: fresh processes in a round of `import`.
IMPORTS = 5
TIMED_IMPORT = "import time; started = time.perf_counter(); import {}; print(1000 * (time.perf_counter() - started))"


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


def measure_blocking(make: Callable[[str], peers.Blocking], url: str, mode: str, chats: int) -> float:
    """Return the figure of a mode."""
    chat = make(url)
    for _ in make(f"{url}/warm")() if mode == "memory" else chat():
        pass
    latencies: list[int] = []
    tokens = 0
    started, base = time.process_time(), peak()
    for _ in range(chats):
        for text in chat():
            tokens += 1
            if mode == "pace":
                latencies.append(time.monotonic_ns() - int(text))
    return figure(mode, time.process_time() - started, tokens, chats, latencies, base)


async def measure_async(make: Callable[[str], peers.Async], url: str, mode: str, chats: int) -> float:
    """Return the figure of a mode."""
    chat = make(url)
    async for _ in make(f"{url}/warm")() if mode == "memory" else chat():
        pass
    latencies: list[int] = []
    tokens = 0
    started, base = time.process_time(), peak()
    for _ in range(chats):
        async for text in chat():
            tokens += 1
            if mode == "pace":
                latencies.append(time.monotonic_ns() - int(text))
    return figure(mode, time.process_time() - started, tokens, chats, latencies, base)


def peak() -> float:
    """Return the most memory that was resident in this process, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def figure(mode: str, seconds: float, tokens: int, chats: int, latencies: list[int], base: float) -> float:
    """Return the figure of a mode, in microseconds or MiB."""
    if mode == "memory":
        return peak() - base
    if mode == "pace":
        return statistics.median(latencies) / 1000
    return seconds * 1e6 / (tokens if mode == "full" else chats)


def report(result: float | many.Figures) -> None:
    """Print what came out, and end this process."""
    print(json.dumps(result if isinstance(result, float) else dataclasses.asdict(result)), flush=True)
    # Peers that were not closed must not spoil the figure with complaints.
    os._exit(0)


def run_peer(name: str, mode: str, url: str, chats: int, streams: int) -> None:
    """Measure one peer in this process, and print the figure."""
    pin(1)
    if name in peers.BLOCKING:
        report(measure_blocking(peers.BLOCKING[name], url, mode, chats))
    import anyio

    name, _, loop = name.partition(" on ")
    if mode == "many":
        crowd = many.Crowd(peers.ASYNC[name](url), streams)
        anyio.run(crowd.run, report, backend=loop or "asyncio")
    report(anyio.run(measure_async, peers.ASYNC[name], url, mode, chats, backend=loop or "asyncio"))


def run(*command: str, **environment: str) -> Any:
    """Run a measurement in a process of its own; what it prints, None if its peer is not installed."""
    environment = {**os.environ, **environment}
    command = (sys.executable, *command)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode == 0:
        return json.loads(done.stdout)
    if "No module named" not in done.stderr:
        sys.exit(done.stderr)
    return None


def compare(mode: str, tokens: int, rounds: int) -> None:
    """Measure all peers and print a table."""
    chats = {"full": 3, "chat": 100, "pace": 1, "memory": 1}[mode]
    figures: dict[str, list[float]] = {name: [] for name in NAMES[mode]}
    with server(tokens, PACE if mode == "pace" else 0) as url:
        for _ in range(rounds):
            for name in figures:
                result = run("-m", "bench", mode, "--peer", name, "--url", url, "--chats", str(chats))
                if result is not None:
                    figures[name].append(result)
    print_table(mode, mode, figures)


def compare_many(streams: int, rounds: int) -> None:
    """Measure all async peers with many streams and print a table."""
    found: dict[str, list[many.Figures]] = {name: [] for name in NAMES["many"]}
    with server(int(many.RATE * many.duration(streams)), 1 / many.RATE) as url:
        for _ in range(rounds):
            for name in found:
                result = run("-m", "bench", "many", "--peer", name, "--url", url, "--streams", str(streams))
                if result is not None:
                    found[name].append(many.Figures(**result))
    more = {name: many.describe(figures, streams) for name, figures in found.items() if figures}
    figures = {name: [item.cpu for item in figures] for name, figures in found.items()}
    print_table("many", f"{streams} streams", figures, many.COLUMNS, more)


def compare_imports(rounds: int) -> None:
    """Measure fresh imports and print a table."""
    figures: dict[str, list[float]] = {name: [] for name in NAMES["import"]}
    with tempfile.TemporaryDirectory() as cache:
        # Both compiled, whatever the environment says and whoever has imported them before.
        compiled = {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for name in figures:
            run("-c", TIMED_IMPORT.format(name), **compiled)
        for _ in range(rounds * IMPORTS):
            for name in figures:
                figures[name].append(run("-c", TIMED_IMPORT.format(name), **compiled))
    print_table("import", "import", figures)


def print_table(
    mode: str,
    title: str,
    figures: Mapping[str, Sequence[float]],
    columns: Sequence[str] = (),
    more: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Print the medians and the ratios of a mode, and more columns."""
    reference = REFERENCE[mode]
    print()
    print_row(title, MODES[mode], f"x {reference} (least, most)", *columns)
    print_row(*["---"] * (3 + len(columns)))
    for name, ours in figures.items():
        if ours:
            ratios = [one / other for one, other in zip(ours, figures[reference], strict=True)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
            print_row(name, f"{statistics.median(ours):.1f}", ratio, *(more or {}).get(name, ()))


def print_row(*cells: str) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def allow_sockets() -> None:
    """Let this process and its children have as many sockets as they may."""
    with contextlib.suppress(ImportError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="*", choices=[[], *MODES], help="default: all")
    parser.add_argument("--tokens", type=int, help="of a long reply; default: 20000 for full, 1000000 for memory")
    parser.add_argument("--streams", type=int, nargs="+", default=[300, 1000], help="of many; default: 300 and 1000")
    parser.add_argument("--rounds", type=int, default=3)
    for internal in ("--peer", "--url", "--chats"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        streams = arguments.streams[0]
        run_peer(arguments.peer, arguments.mode[0], arguments.url, int(arguments.chats or 0), streams)
    for mode in arguments.mode or MODES:
        if mode == "many":
            allow_sockets()
            for streams in arguments.streams:
                compare_many(streams, arguments.rounds)
        elif mode == "import":
            compare_imports(arguments.rounds)
        else:
            compare(
                mode,
                arguments.tokens if arguments.tokens and mode in ("full", "memory") else TOKENS[mode],
                arguments.rounds,
            )


if __name__ == "__main__":
    main()
