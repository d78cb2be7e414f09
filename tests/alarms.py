"""
Alarms that strike at random moments of a call, with an exception of their own, as job queues set them.

    python -m tests.alarms --count 20000 --seed 1

It takes some minutes, and is not part of the tests, which do the same with a few hundred (`test_alarms`). Each alarm
that strikes has to come out of the call as itself, and when the client is closed in the end nothing may be left. One
that strikes in a finalizer is Python's to swallow; those are counted, and are few.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

from oa_client import Client, Timeout
from tests.scripted import Connection, EventWriter, OpenAssistantScript, Request, Surface

SURFACES: tuple[Surface, ...] = ("website", "inference")

#: tokens of an answer: enough that some alarms strike while it is read.
TOKENS = 60
#: calls that one client makes before it is closed, under an alarm as well.
CALLS = 40
#: seconds for what is left when a client is closed.
CLOSE_LIMIT = 20.0


class Alarm(Exception):  # noqa: N818 - no error of anybody's
    """What the handler raises."""


class Alarms:
    """
    Has alarms strike, and notes what came out in their place.

    Attributes:
        fired: how many have struck.
        swallowed: how many of them in a finalizer.
        strays: what came out in place of the others.
        where: the functions that were struck, and how often.
    """

    def __init__(self, seed: int) -> None:
        self.fired = self.swallowed = 0
        self.strays: list[str] = []
        self.where: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._is_armed = False
        self._raised: Alarm | None = None
        #: seconds that a call of each name takes.
        self._durations: dict[str, float] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signal, and look at what finalizers swallow."""
        before, hook = signal.signal(signal.SIGALRM, self._handle), sys.unraisablehook
        sys.unraisablehook = self._note_unraisable
        try:
            with warnings.catch_warnings():
                # A socket whose maker was struck before anybody could hold it is closed when it is dropped.
                warnings.simplefilter("ignore", ResourceWarning)
                yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            sys.unraisablehook = hook

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if self._is_armed:
            self._is_armed = False
            self.fired += 1
            if frame is not None:
                self.where[f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_code.co_name}"] += 1
            self._raised = Alarm(self.fired)
            raise self._raised

    def _note_unraisable(self, args: Any) -> None:
        if isinstance(args.exc_value, Alarm):
            self.swallowed += 1
            self._raised = None
        elif not (isinstance(args.exc_value, KeyError) and "_bootstrap" in repr(args.object)):
            # That one is a thread which Python gave up as an alarm struck its start.
            self.strays.append(f"unraisable: {args.exc_value!r} in {args.object!r}")

    def strike(self, name: str, call: Callable[[], object]) -> None:
        """Make a call, which an alarm may strike."""
        self._raised = None
        seen: BaseException | None = None
        usual = self._durations.get(name, 0.02)
        started = monotonic()
        try:
            self._is_armed = True
            signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(1e-5, 1.1 * usual))
            call()
            self._is_armed = False
        except BaseException as error:
            self._is_armed = False
            seen = error
        signal.setitimer(signal.ITIMER_REAL, 0)
        raised, self._raised = self._raised, None
        if seen is None and raised is not None and not _was_caught_by_ours(raised):
            # In the finalizer of a response, which Python does not even tell of.
            self.swallowed += 1
        elif seen is not raised:
            came = "nothing" if seen is None else "".join(traceback.format_exception(seen))
            there = "" if raised is None else "".join(traceback.format_exception(raised))
            self.strays.append(f"{name}: in place of {raised!r} came {came}\n{there}")
        if raised is None and seen is None:
            # Calls that were struck say nothing of how long one takes.
            self._durations[name] = 0.8 * usual + 0.2 * (monotonic() - started)
        # Its frames hold sockets and streams.
        seen = raised = None


def _was_caught_by_ours(error: BaseException) -> bool:
    """Whether an error that nobody has seen came as far as a function of the package."""
    trace = error.__traceback__
    return trace is not None and "oa_client" in trace.tb_frame.f_code.co_filename


def write(stream: EventWriter) -> None:
    """Write an answer in pieces."""
    for number in range(TOKENS):
        stream.token(f" {number}")
    stream.message()


def calls(client: Client) -> dict[str, Callable[[], object]]:
    """Return what is tried, by name."""
    chats = [client.create_chat()]

    def stream() -> None:
        for _ in client.stream("Hi").events():
            pass

    def leave_early() -> None:
        with client.stream("Hi") as stream:
            next(stream)

    def create() -> None:
        chats[0] = client.create_chat()

    return {
        "ask": lambda: client.ask("Hi"),
        "stream": stream,
        "leave early": leave_early,
        "forget": lambda: next(client.stream("Hi")),
        "turn": lambda: chats[0].ask("Hi"),
        "create": create,
        "regenerate": lambda: chats[0].regenerate().finish() if chats[0].messages() else None,
        "rename": lambda: chats[0].rename("Name"),
        "list": lambda: list(client.list_chats()),
    }


def answer(script: OpenAssistantScript, connection: Connection, request: Request) -> None:
    """Have the answer complete at once, as nobody may be there when it is."""
    script._add_message(connection, request, script.assistant_ids, state="complete", content=script.answer_text)


def run(alarms: Alarms, surface: Surface, count: int) -> list[str]:
    """Have so many calls struck by alarms, close the clients, and return what is left and must not be."""
    left: list[str] = []
    with OpenAssistantScript(surface) as script, alarms.installed():
        script.tokens = [f" {number}" for number in range(TOKENS)]
        script.events = write
        script.on_assistant = partial(answer, script)
        undeleted: set[str] = set()
        users: set[str] = set()
        for start in range(0, count, CALLS):
            client = Client(
                script.url, **script.credentials, timeout=Timeout(connect=10, read=10, first_token=20, idle=20)
            )
            known = set(script.chats)
            tried = calls(client)
            users |= set(script.chats) - known
            for name in itertools.islice(itertools.cycle(tried), min(CALLS, count - start)):
                if name != "create":
                    known = set(script.chats)
                alarms.strike(name, tried[name])
                if name == "create":
                    # Struck at its very end, it has made a chat that stays, as nothing had failed.
                    users |= set(script.chats) - known
            alarms.strike("close", client.close)
            undeleted.update(client.close(CLOSE_LIMIT))
            del client, tried
        gc.collect()
        for thread in threading.enumerate():
            # Another test of this process may have started the local server that all share.
            if thread.name.startswith("oa-client") and thread.name != "oa-client local server":
                thread.join(10)
                if thread.is_alive():
                    left.append(f"thread {thread.name}")
        script.wait_until(lambda: script.open_connections == 0)
        for chat in script.chats.values():
            if chat.id not in users and not chat.deleted and not (chat.hidden and chat.id in undeleted):
                left.append(f"chat {chat}")
    return left


def main() -> int:
    """Run it for long, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    faults: list[str] = []
    for surface in SURFACES:
        alarms = Alarms(arguments.seed)
        left = run(alarms, surface, arguments.count // 2)
        print(
            f"{surface}: {alarms.fired} alarms struck, {alarms.swallowed} of them in finalizers; "
            f"{len(alarms.strays)} did not come out, {len(left)} things are left"
        )
        print("  most often in", ", ".join(f"{name} {count}" for name, count in alarms.where.most_common(20)))
        faults += [*alarms.strays, *left]
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
