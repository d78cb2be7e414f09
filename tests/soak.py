"""
Thousands of chats in bad weather, by users who come and go as they like.

    python -m tests.soak --chats 10000 --seed 1

It takes some minutes, and is not part of the tests. Each chat has a fault of `weather`, or none, and a user who reads
to the end, leaves, is cancelled, fails or just forgets the stream. They go through one `Client` from eight threads, or
through one `AsyncClient` in fifty tasks on asyncio or trio, in rounds. After each round all must be as before it. It
prints what became of the chats, by fault, and fails if anything was lost, doubled or left. The same seed draws the
same users and texts; which fault meets which user depends on who comes first.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import itertools
import json
import logging
import os
import queue
import random
import re
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio
from anyio.abc import TaskGroup

from oa_client import AsyncClient, AsyncStream, Client, Message, MessageEvent, OAError, Timeout, TokenEvent
from tests.weather import Round, order, tokens_for

THREADS, TASKS = 8, 50
#: seconds; see the pauses of `weather`. Where answers wait for each other, the first token may take long.
LIMITS = {"connect": 3.0, "read": 1.5, "idle": 2.0}
FIRST_TOKEN, FIRST_TOKEN_IN_TURN = 3.0, 20.0
#: seconds for closing a client; where some answers never become final, all of it is used.
CLOSE_LIMIT, CLOSE_LIMIT_NEVER = 20.0, 12.0
#: seconds that a thread which is about to end may take.
JOIN_LIMIT = 5.0
#: seconds after which something hangs.
ROUND_LIMIT = 600.0
#: seconds that a user looks away.
NAP = 0.4

#: What users do, and how often, in parts.
HABITS = {
    "read": 34,
    "events": 8,
    "ask": 10,
    "leave": 10,
    "close elsewhere": 8,
    "fail": 8,
    "cancel": 8,
    "forget": 5,
    "forget in a cycle": 3,
    "nap": 6,
}
#: Those that want the whole answer.
PATIENT = ("read", "events", "ask", "nap")
#: What their chats may come to by fault; if it is not here, only to the whole answer.
_EXPECTED = {
    "503": {"whole", "BusyError"},
    "429": {"whole", "RateLimitError"},
    "502": {"whole", "APIError"},
    "error first": {"GenerationError"},
    "error after tokens": {"GenerationError"},
    "error unseen": {"GenerationError"},
    "long silence": {"whole", "TransportTimeout"},
    "pings only": {"whole", "TransportTimeout"},
    "too slow": {"TransportTimeout"},
    "never final": {"TransportTimeout", "IncompleteReplyError"},
}


class _Mine(Exception):  # noqa: N818 - nothing of the client's
    """What a user raises in the middle of an answer."""


@dataclass
class Totals:
    """What must all be 0 in the end, and the examples to it."""

    leaked: int = 0
    early: int = 0
    lost: int = 0
    doubled: int = 0
    threads: int = 0
    sockets: int = 0
    connections: int = 0
    strays: int = 0
    warnings: int = 0
    foreign: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, what: str, count: int, example: str) -> None:
        """Add to one of them."""
        if count:
            setattr(self, what, getattr(self, what) + count)
            self.examples.append(f"{what}: {example}")

    def __str__(self) -> str:
        return (
            f"chats leaked {self.leaked}, deleted too early {self.early}, tokens lost {self.lost}, "
            f"doubled {self.doubled}, threads left {self.threads}, sockets left {self.sockets}, "
            f"connections left {self.connections}, calls after the end {self.strays}, "
            f"resource warnings {self.warnings}, foreign exceptions {self.foreign}"
        )


class Visit:
    """What one user got, and whether that is right."""

    def __init__(self, soak: Soak, number: int) -> None:
        self.number = number
        self.chance = random.Random(f"{soak.seed} user {number}")  # noqa: S311 - to be repeated
        self.habit = self.chance.choices(list(HABITS), list(HABITS.values()))[0]
        self.prompt = f"prompt {number}"
        self.tokens = tokens_for(soak.seed, number)
        #: of tokens, after which the user does it.
        self.patience = self.chance.choice([0, 1, self.chance.randint(0, len(self.tokens)), len(self.tokens)])
        self.text = ""
        self.outcome = ""
        #: whether the client was closed before the end.
        self.is_late = False
        self._soak = soak
        self._count = 0

    def take(self, text: str) -> bool:
        """Take a piece of the answer; return whether that was enough."""
        self.text += text
        self._count += 1
        return self._count >= self.patience

    def end(self, message: Message | None, may_be_stopped: bool) -> None:
        """Note that the answer ended, with its message, or None if there was none."""
        if message is None or (may_be_stopped and self.text != str(message)):
            # An async stream that is closed may have been read ahead to its end.
            self.outcome = "stopped"
            if not may_be_stopped:
                self._soak.totals.note("foreign", 1, f"{self}: it ended without a message")
            return
        self.outcome = "whole"
        self._compare(message.content or "", is_whole=True)
        self._compare(self.text, is_whole=True)

    def fail(self, error: BaseException, may_have_text: bool = True) -> None:
        """Note what was raised."""
        self.outcome = type(error).__name__
        if not isinstance(error, OAError):
            self._soak.totals.note("foreign", 1, f"{self}: {error!r}")
        elif may_have_text and error.text and error.text != self.text:
            if self.habit == "ask":
                self.text = error.text
            else:
                self._soak.totals.note("lost", 1, f"{self}: the error has {error.text!r}, and not {self.text!r}")

    def complain(self, what: str) -> None:
        """Note an exception that nobody could see."""
        self._soak.totals.note("foreign", 1, what)

    def check(self) -> None:
        """Compare what there is of the answer."""
        if self.outcome != "whole":
            self._compare(self.text, is_whole=False)

    def _compare(self, text: str, is_whole: bool) -> None:
        right = "".join(self.tokens)
        if text == right or (not is_whole and right.startswith(text)):
            return
        seen = Counter(re.findall(r"<[0-9.]+>", text))
        doubled = sum(seen.values()) - len(seen)
        marks = [f"<{self.number}.{index}>" for index in range(len(self.tokens))]
        last = max((index for index, mark in enumerate(marks) if mark in seen), default=-1)
        lost = sum(mark not in seen for mark in (marks if is_whole else marks[:last]))
        self._soak.totals.note("doubled", doubled, f"{self}: {text!r} is not {right!r}")
        self._soak.totals.note("lost", lost or not doubled, f"{self}: {text!r} is not {right!r}")

    def __str__(self) -> str:
        return f"user {self.number} ({self.habit} after {self.patience}, {self.outcome or 'still there'})"


class Soak:
    """All rounds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.totals = Totals()
        self.table: dict[str, Counter[str]] = {}
        self.surprises: list[str] = []
        command = [sys.executable, "-m", f"{__package__}.weather", "--seed", str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self._hear().strip()}"

    def close(self) -> None:
        """End the server."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _say(self, **said: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(order(**said))
        self._process.stdin.flush()
        return json.loads(self._hear())

    def run(self, conditions: Round, api: str, numbers: list[int], leaves_early: bool) -> None:
        """Go through one round."""
        started = monotonic()
        faulthandler.dump_traceback_later(ROUND_LIMIT, exit=True)
        self._say(begin=conditions)
        before = sockets()
        visits = [Visit(self, number) for number in numbers]
        credentials: dict[str, Any] = (
            {"cookies": {"next-auth.session-token": conditions.name}}
            if conditions.website
            else {"token": conditions.name}
        )
        arguments: dict[str, Any] = {
            "base_url": self.url,
            "serialize": conditions.cancels,
            "timeout": Timeout(
                first_token=FIRST_TOKEN_IN_TURN if conditions.cancels else FIRST_TOKEN,
                **LIMITS,
            ),
            **credentials,
        }
        limit = CLOSE_LIMIT_NEVER if conditions.never else CLOSE_LIMIT
        closing_at = len(visits) * 9 // 10 if leaves_early else 0
        with self._watching():
            if api == "threads":
                undeleted = _go_in_threads(Client(**arguments), visits, limit, closing_at)
            else:
                undeleted = anyio.run(_go_in_tasks, api, arguments, visits, limit, closing_at, backend=api)
            gc.collect()
            self._look_for_threads(conditions.name)
            left = sockets() - before
            self.totals.note("sockets", max(0, left), f"{conditions.name}: {left}")
        report = self._say(end=True)
        self._judge(conditions, visits, report, set(undeleted))
        faulthandler.cancel_dump_traceback_later()
        print(f"{conditions.name}: {len(visits)} chats in {monotonic() - started:.1f} s", flush=True)

    def _look_for_threads(self, name: str) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("oa-client"):
                thread.join(JOIN_LIMIT)
                self.totals.note("threads", thread.is_alive(), f"{name}: {thread.name}")

    def _judge(self, conditions: Round, visits: list[Visit], report: Any, undeleted: set[str]) -> None:
        name, totals = conditions.name, self.totals
        faults: dict[int, str] = {}
        for chat in report["chats"]:
            if chat["number"] is not None:
                faults[chat["number"]] = chat["fault"]
            totals.note("early", chat["deleted_early"], f"{name}: {chat}")
            is_final = all(state in ("complete", "aborted_by_worker") for state in chat["states"])
            is_excused = chat["hidden"] and chat["id"] in undeleted and not is_final
            totals.note("leaked", not (chat["deleted"] or is_excused), f"{name}: {chat}, {chat['id'] in undeleted=}")
            # Whether a deletion whose answer was lost has had an effect, the client may have had no time to find out.
            if chat["deleted"] and chat["id"] in undeleted and chat["fault"] != "delete fails":
                totals.note("leaked", 1, f"{name}: {chat} is deleted, and said not to be")
        totals.note("connections", report["connections"], name)
        totals.note("strays", report["strays"], name)
        for error in report["errors"]:
            totals.note("foreign", 1, f"{name}: of the server: {error}")
        for visit in visits:
            visit.check()
            fault = faults.get(visit.number, "(before its prompt)")
            if conditions.refuses and fault == "none":
                fault = "refused"
            self.table.setdefault(fault, Counter())[visit.outcome] += 1
            expected = {"stopped", *_EXPECTED.get(fault, {"whole"})}
            is_known = visit.number in faults and not conditions.refuses
            if is_known and not visit.is_late and visit.habit in PATIENT and visit.outcome not in expected:
                self.surprises.append(f"{name}: {fault}: {visit}")
        for fault, count in report["unmade"].items():
            self.table.setdefault(f"{fault} for a chat", Counter())["(calls)"] += count

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Count what is not raised where anybody could see it."""
        hooks = threading.excepthook, sys.unraisablehook, warnings.showwarning

        def in_thread(args: threading.ExceptHookArgs) -> None:
            self.totals.note("foreign", 1, f"in thread {args.thread and args.thread.name}: {args.exc_value!r}")

        def unraisable(args: Any) -> None:
            self.totals.note("foreign", 1, f"unraisable: {args.exc_value!r} in {args.object!r}")

        def warning(message: Any, *args: Any, **_: Any) -> None:
            what = "warnings" if isinstance(message, ResourceWarning) else "foreign"
            self.totals.note(what, 1, f"warning: {message!r}")

        handler = _Complaints(self)
        log = logging.getLogger("oa_client")
        log.addHandler(handler)
        log.propagate = False
        threading.excepthook, sys.unraisablehook = in_thread, unraisable
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = warning
            try:
                yield
            finally:
                threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
                log.removeHandler(handler)

    def print(self) -> None:
        """Print the table and the totals."""
        outcomes = [outcome for outcome, _ in sum(self.table.values(), Counter()).most_common()]
        rows = sorted(self.table, key=lambda fault: -sum(self.table[fault].values()))
        print("\n" + " " * 21 + "".join(f"{_short(outcome):>12}" for outcome in outcomes))
        for fault in rows:
            print(f"{fault:21}" + "".join(f"{self.table[fault][outcome] or '':>12}" for outcome in outcomes))
        print(f"\nsurprises {len(self.surprises)} (on a slow machine limits may be passed)")
        for line in [*self.surprises[:20], "", *self.totals.examples[:40]]:
            print(line[:400])
        print(self.totals)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or left."""
        return not self.totals.examples


class _Complaints(logging.Handler):
    """Finds in the log what is no error to users, and cannot be here."""

    def __init__(self, soak: Soak) -> None:
        super().__init__(logging.WARNING)
        self._soak = soak

    def emit(self, record: logging.LogRecord) -> None:
        if "hidden, not deleted" not in record.getMessage():
            self._soak.totals.note("foreign", 1, f"log: {record.getMessage()}")


def sockets() -> int:
    """Return how many sockets this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            # The descriptor of the listing.
            continue
    return count


def _short(outcome: str) -> str:
    return outcome.removesuffix("Error").replace("Transport", "Tr.")[:11]


# In threads.


def _go_in_threads(client: Client, visits: list[Visit], limit: float, closing_at: int) -> tuple[str, ...]:
    """Send the users through a client, one of the threads being the main one, and close it."""
    waiting = iter(visits)
    lock = threading.Lock()
    begun = itertools.count(1)
    is_late = threading.Event()
    to_close: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left: list[str] = []

    def close_streams() -> None:
        while stream := to_close.get():
            stream.close()

    def close_client() -> None:
        is_late.wait()
        left.extend(client.close(limit))

    def work() -> None:
        while True:
            with lock:
                visit = next(waiting, None)
            if visit is None:
                return
            if next(begun) == closing_at:
                is_late.set()
            _visit(client, visit, to_close.put, is_late)
            visit.is_late = is_late.is_set()

    closers = [threading.Thread(target=close_streams), threading.Thread(target=close_client)]
    workers = [threading.Thread(target=work) for _ in range(THREADS - 1)]
    for thread in (*closers, *workers):
        thread.start()
    work()
    for thread in workers:
        thread.join()
    is_late.set()
    to_close.put(None)
    for thread in closers:
        thread.join()
    return tuple({*left, *client.close(limit)})


def _visit(client: Client, visit: Visit, close_elsewhere: Callable[[Any], None], is_late: threading.Event) -> None:
    habit = visit.habit
    is_reading = False
    try:
        if habit == "ask":
            is_reading = True
            message = client.ask(visit.prompt)
            visit.text = str(message)
            visit.end(message, False)
            return
        stream = client.stream(visit.prompt)
        is_reading = True
        if habit.startswith("forget"):
            if visit.patience:
                for text in stream:
                    if visit.take(text):
                        break
            visit.outcome = "left"
            if habit == "forget in a cycle":
                knot: list[Any] = [stream]
                knot.append(knot)
            return
        with stream:
            if habit == "events":
                for event in stream.events():
                    if isinstance(event, TokenEvent):
                        visit.take(event.text)
                    elif isinstance(event, MessageEvent):
                        visit.end(event.message, False)
                if not visit.outcome:
                    visit.end(None, is_late.is_set())
                return
            is_closed = False
            if visit.patience == 0:
                is_closed = _lose_patience(visit, stream, close_elsewhere)
            if visit.outcome != "left":
                for text in stream:
                    if visit.take(text) and not is_closed:
                        is_closed = _lose_patience(visit, stream, close_elsewhere)
                        if visit.outcome == "left":
                            break
            if visit.outcome != "left":
                visit.end(stream.message, habit == "close elsewhere" or is_late.is_set())
    except _Mine:
        visit.outcome = "left"
    except BaseException as error:
        visit.fail(error, is_reading)


def _lose_patience(visit: Visit, stream: Any, close_elsewhere: Callable[[Any], None]) -> bool:
    """Do what the user does in the middle; return whether that was it."""
    if visit.habit == "fail":
        raise _Mine
    if visit.habit in ("leave", "cancel"):
        visit.outcome = "left"
    elif visit.habit == "close elsewhere":
        close_elsewhere(stream)
    elif visit.habit == "nap":
        threading.Event().wait(NAP)
    return True


# In tasks.


async def _go_in_tasks(
    backend: str, arguments: dict[str, Any], visits: list[Visit], limit: float, closing_at: int
) -> tuple[str, ...]:
    """Send the users through an async client, and close it."""
    client = AsyncClient(**arguments)
    waiting = iter(visits)
    begun = itertools.count(1)
    is_late = threading.Event()
    left: list[str] = []
    unseen: list[str] = []
    if backend == "asyncio":
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(str(context)))

    async def close_client() -> None:
        left.extend(await client.aclose(limit))

    async def work() -> None:
        for visit in waiting:
            if next(begun) == closing_at:
                is_late.set()
                group.start_soon(close_client)
            await _visit_async(client, visit, group, is_late)
            visit.is_late = is_late.is_set()

    async with anyio.create_task_group() as group:
        for _ in range(TASKS):
            group.start_soon(work)
    is_late.set()
    left.extend(await client.aclose(limit))
    for context in unseen:
        visits[0].complain(f"in the event loop: {context}")
    return tuple(set(left))


async def _visit_async(client: AsyncClient, visit: Visit, group: TaskGroup, is_late: threading.Event) -> None:
    habit = visit.habit
    is_reading = False
    # Half of those who are cancelled are at some moment, the others after some tokens.
    moment = visit.chance.choice([None, visit.chance.uniform(0, 0.4)]) if habit == "cancel" else None
    try:
        with anyio.CancelScope() as scope:
            if moment is not None:
                scope.deadline = anyio.current_time() + moment
            if habit == "ask":
                is_reading = True
                message = await client.ask(visit.prompt)
                visit.text = str(message)
                visit.end(message, False)
                return
            stream = client.stream(visit.prompt)
            is_reading = True
            if habit.startswith("forget"):
                if visit.patience:
                    async for text in stream:
                        if visit.take(text):
                            break
                visit.outcome = "left"
                if habit == "forget in a cycle":
                    knot: list[Any] = [stream]
                    knot.append(knot)
                return
            if visit.chance.random() < 0.3 and habit in ("read", "cancel"):
                # Opened by asking for an item.
                async for text in stream:
                    if visit.take(text) and habit == "cancel":
                        scope.cancel()
                visit.end(stream.message, is_late.is_set())
                return
            async with stream:
                await _read_async(stream, visit, scope, group, is_late)
        if scope.cancelled_caught:
            visit.outcome = "left"
    except _Mine:
        visit.outcome = "left"
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        visit.fail(error, is_reading)


async def _read_async(
    stream: AsyncStream, visit: Visit, scope: anyio.CancelScope, group: TaskGroup, is_late: threading.Event
) -> None:
    habit = visit.habit
    if habit == "events":
        async for event in stream.events():
            if isinstance(event, TokenEvent):
                visit.take(event.text)
            elif isinstance(event, MessageEvent):
                visit.end(event.message, False)
        if not visit.outcome:
            visit.end(None, is_late.is_set())
        return
    is_done = False
    if visit.patience == 0 and habit == "close elsewhere":
        group.start_soon(stream.aclose)
        is_done = True
    async for text in stream:
        if not visit.take(text) or is_done:
            continue
        is_done = True
        if habit == "fail":
            raise _Mine
        if habit == "leave":
            visit.outcome = "left"
            return
        if habit == "cancel":
            scope.cancel()
        elif habit == "close elsewhere":
            group.start_soon(stream.aclose)
        elif habit == "nap":
            await anyio.sleep(NAP)
    visit.end(stream.message, habit == "close elsewhere" or is_late.is_set())


def main(chats: int, seed: int) -> int:
    """Go through all rounds; return the status to exit with."""
    soak = Soak(seed)
    kinds = list(
        itertools.product(("calm", "in turn", "refusing", "never"), (True, False), ("threads", "asyncio", "trio"))
    )
    numbers = list(range(chats))
    try:
        for place, (kind, website, api) in enumerate(kinds):
            name = f"{kind} {'website' if website else 'inference'} {api}".replace(" ", "-")
            conditions = Round(name, website, kind == "in turn", 0.03 if kind == "refusing" else 0.0, kind == "never")
            soak.run(conditions, api, numbers[place :: len(kinds)], leaves_early=kind in ("never", "in turn"))
        soak.print()
    finally:
        soak.close()
    return 0 if soak.is_clean else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send thousands of chats through bad weather.")
    parser.add_argument("--chats", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(main(given.chats, given.seed))
