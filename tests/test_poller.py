"""One thread reads whatever there is to be read: at once, until it ends or its time is over, and each for itself."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from oa_client import AsyncClient, TokenEvent, TransportError
from oa_client._async.feed import READ_AHEAD_BYTES
from oa_client._async.poller import Poller
from oa_client._calls.pause import Pause
from tests.scripted import EventWriter, OpenAssistantScript

PATIENCE = 20.0


class Source:
    """
    Something to be read, and the other end of it.

    Attributes:
        received: what was read.
        advances: how often it was told to read, in `threads`.
        settled, errors: what `settle` and `fail` were called with.
        news: is called when bytes came, with all of them so far; it returns the pause.
        late: is called when none came, and it is due; it returns the pause.
    """

    def __init__(self) -> None:
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        self.due = math.inf
        self.received = b""
        self.advances = 0
        self.threads: set[str] = set()
        self.settled: list[Pause | None] = []
        self.errors: list[BaseException] = []
        self.news: Callable[[bytes], Pause | None] = lambda _: Pause.BYTES
        self.late: Callable[[], Pause | None] = lambda: Pause.BYTES

    def fileno(self) -> int:
        """As `Readable`."""
        return self.sock.fileno()

    def before_close(self, function: Callable[[], object] | None) -> None:
        """As `Readable`."""

    def advance(self) -> Pause | None:
        """As `Readable`."""
        self.advances += 1
        self.threads.add(threading.current_thread().name)
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return self.late() if monotonic() >= self.due else Pause.BYTES
        if not data:
            self.sock.close()
            return None
        self.received += data
        return self.news(self.received)

    def settle(self, pause: Pause | None) -> None:
        """As `Readable`."""
        self.settled.append(pause)

    def fail(self, error: BaseException) -> None:
        """As `Readable`."""
        self.errors.append(error)
        self.sock.close()


class Scene:
    """
    A poller, and all that it reads.

    Attributes:
        rounds: those that were woken, call by call.
        woken: is called in each round, in the poller's thread.
    """

    def __init__(self) -> None:
        self.rounds: list[list[Source]] = []
        self.woken: Callable[[], None] = lambda: None
        self.sources: list[Source] = []
        self.poller: Poller[Source] = Poller(self._wake)
        self._changed = threading.Condition()

    def _wake(self, sources: Sequence[Source]) -> None:
        with self._changed:
            self.rounds.append(list(sources))
            self._changed.notify_all()
        self.woken()

    def source(self) -> Source:
        """Return something to be read, which is yet to be handed in."""
        source = Source()
        self.sources.append(source)
        return source

    def read(self, data: bytes = b"") -> Source:
        """Hand in something to be read, with bytes that are there, and wait until they were read."""
        source = self.source()
        source.peer.sendall(data)
        self.poller.read(source)
        self.wait_until(lambda: source.advances and source.received == data)
        return source

    def wait_until(self, predicate: Callable[[], object]) -> None:
        """Wait until something is true; it is looked at after each round."""
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE)

    def close(self) -> None:
        """End all that is read, and the poller."""
        for source in self.sources:
            source.peer.close()
        self.poller.close(PATIENCE)
        for source in self.sources:
            source.sock.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A poller, which is closed afterwards."""
    made = Scene()
    yield made
    made.close()


def threads(name: str = "oa-client reader") -> list[threading.Thread]:
    """Return the threads of a name."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_what_is_there_is_read_at_once(scene: Scene) -> None:
    """What is there when it is handed in is read, and then what comes, all in one thread."""
    sources = [scene.read(b"a"), scene.read(b""), scene.read(b"c")]
    for data in (b"1", b"2"):
        for source in sources:
            length = len(source.received) + 1
            source.peer.sendall(data)
            scene.wait_until(lambda source=source, length=length: len(source.received) == length)  # type: ignore[misc]

    assert [source.received for source in sources] == [b"a12", b"12", b"c12"]
    assert {name for source in sources for name in source.threads} == {"oa-client reader"}
    assert len(threads()) == 1


def test_end_is_settled(scene: Scene) -> None:
    """What has ended is woken and settled once, and what goes on is not settled."""
    ended, going_on = scene.read(b"a"), scene.read(b"b")
    ended.peer.close()
    scene.wait_until(lambda: ended.settled)

    assert (ended.settled, going_on.settled) == ([None], [])
    assert ended in scene.rounds[-1]


@pytest.mark.parametrize("pause", [Pause.ROOM, Pause.CALL])
def test_what_waits_for_something_else_is_not_read(scene: Scene, pause: Pause) -> None:
    """What pauses for something else than bytes is settled and left alone, until it is handed in again."""
    source, other = scene.read(), scene.read()
    source.news = lambda received: pause if received == b"a" else Pause.BYTES
    source.peer.sendall(b"a")
    scene.wait_until(lambda: source.settled)
    source.peer.sendall(b"b")
    other.peer.sendall(b"x")
    scene.wait_until(lambda: other.received)
    before = source.received
    scene.poller.read(source)
    scene.wait_until(lambda: source.received == b"ab")
    source.peer.sendall(b"c")
    scene.wait_until(lambda: source.received == b"abc")

    assert (before, source.settled) == (b"a", [pause])


@pytest.mark.parametrize("is_registered", [True, False])
def test_many_are_woken_by_one_call(scene: Scene, is_registered: bool) -> None:
    """All that is there to be read in a round is read before anybody is woken, and then all are, by one call."""
    first = scene.read()
    sources = [scene.read() if is_registered else scene.source() for _ in range(50)]
    is_busy, go_on = threading.Event(), threading.Event()

    def woken() -> None:
        if first.received:
            is_busy.set()
            go_on.wait(PATIENCE)

    scene.woken = woken
    first.peer.sendall(b"x")
    is_busy.wait(PATIENCE)
    before = len(scene.rounds)
    for source in sources:
        source.peer.sendall(b"a")
        if not is_registered:
            scene.poller.read(source)
    go_on.set()
    scene.wait_until(lambda: all(source.received for source in sources))

    assert {id(source) for source in scene.rounds[before]} == {id(source) for source in sources}
    assert len(scene.rounds[before]) == len(sources)


# Deadlines.


def test_deadline(scene: Scene) -> None:
    """What is not ready by its deadline is told to go on, not before and once, and is woken."""
    source, patient = scene.source(), scene.read()
    source.due = monotonic() + 0.05
    ends: list[float] = []

    def late() -> None:
        ends.append(monotonic() - source.due)

    source.late = late
    scene.poller.read(source)
    scene.wait_until(lambda: source.settled)

    assert [end >= 0 for end in ends] == [True]
    assert (source.advances, source.settled, patient.advances) == (2, [None], 1)
    assert scene.rounds[-1] == [source]


def test_deadline_that_is_over_already(scene: Scene) -> None:
    """What is handed in too late is told so at once."""
    source = scene.source()
    source.due = monotonic() - 1
    source.late = lambda: None
    scene.poller.read(source)
    scene.wait_until(lambda: source.settled)

    assert source.settled == [None]


def test_deadline_that_moves_later(scene: Scene) -> None:
    """What gets more time with its bytes has it: it is not told to go on at the old deadline."""
    source = scene.source()
    source.due = monotonic() + 0.05
    old, new = source.due, source.due + 0.1
    overdue: list[bool] = []

    def news(received: bytes) -> Pause:
        source.due = new if received == b"a" else math.inf
        return Pause.BYTES

    def late() -> Pause:
        overdue.append(monotonic() >= new)
        source.due = math.inf
        return Pause.BYTES

    source.news, source.late = news, late
    source.peer.sendall(b"a")
    scene.poller.read(source)
    scene.wait_until(lambda: overdue)
    # It waits, now without a deadline.
    source.peer.sendall(b"b")
    scene.wait_until(lambda: source.received == b"ab")

    assert old < new
    assert overdue == [True]
    assert source.advances == 3


def test_deadline_that_moves_earlier(scene: Scene) -> None:
    """What gets less time with its bytes is told when that is over, whatever the others may still wait for."""
    others = [scene.source() for _ in range(3)]
    for number, other in enumerate(others):
        other.due = monotonic() + 1000 * (number + 1)
        scene.poller.read(other)
    source = scene.source()
    source.due = monotonic() + 5000
    source.late = lambda: None

    def news(_: bytes) -> Pause:
        source.due = monotonic() + 0.05
        return Pause.BYTES

    source.news = news
    scene.poller.read(source)
    scene.wait_until(lambda: source.advances)
    source.peer.sendall(b"a")
    scene.wait_until(lambda: source.settled)

    assert (source.settled, [other.advances for other in others]) == ([None], [1, 1, 1])


def test_each_has_its_own_deadline(scene: Scene) -> None:
    """Deadlines pass one after another, each at its time."""
    ended: list[int] = []
    start = monotonic() + 0.02
    for number in (2, 0, 1):
        source = scene.source()
        source.due = start + 0.02 * number
        source.late = lambda number=number: ended.append(number)  # type: ignore[misc]
        scene.poller.read(source)
    scene.wait_until(lambda: len(ended) == 3)

    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize("seconds", [3e6, 9e8])
def test_deadline_in_years(scene: Scene, seconds: float) -> None:
    """A deadline that is further away than a selector can wait for is as good as none."""
    source = scene.source()
    source.due = monotonic() + seconds
    scene.poller.read(source)
    scene.wait_until(lambda: source.advances)
    source.peer.sendall(b"a")
    scene.wait_until(lambda: source.received or source.errors)

    assert (source.received, source.errors) == (b"a", [])


# What goes wrong.


def test_what_cannot_be_waited_for_fails_alone(scene: Scene) -> None:
    """A socket that was closed fails the one that has it, which is woken, and the others are read on."""
    others = [scene.read(b"a")]
    closed = scene.source()

    def news(_: bytes) -> Pause:
        closed.sock.close()
        return Pause.BYTES

    closed.news = news
    closed.peer.sendall(b"x")
    scene.poller.read(closed)
    scene.wait_until(lambda: any(closed in woken for woken in scene.rounds))
    others.append(scene.read(b"a"))
    for other in others:
        other.peer.sendall(b"b")
    scene.wait_until(lambda: all(other.received == b"ab" for other in others))

    assert ([type(error) for error in closed.errors], [other.errors for other in others]) == ([ValueError], [[], []])


def test_what_is_read_already_fails_alone(scene: Scene) -> None:
    """A descriptor that another has, who is still read, fails the newcomer."""
    first = scene.read(b"a")
    second = scene.source()
    second.sock.close()
    second.sock = first.sock
    second.fail = second.errors.append  # type: ignore[assignment, method-assign]  # the socket is not its own
    scene.poller.read(second)
    scene.wait_until(lambda: second.errors)
    first.peer.sendall(b"b")
    scene.wait_until(lambda: first.received == b"ab")

    assert ([type(error) for error in second.errors], first.errors) == ([KeyError], [])


@pytest.mark.skipif(os.name != "posix", reason="a socket's descriptor cannot be chosen")
@pytest.mark.parametrize("sent", [b"new", b""])
def test_descriptor_that_is_used_again(scene: Scene, sent: bytes) -> None:
    """A descriptor that was closed, and given out again before the poller knows, is read for the new one only."""
    old, new = scene.read(b"old"), scene.source()
    number = old.fileno()

    def hand_in() -> None:
        with new.sock as temporary:
            new.sock = socket.socket(fileno=os.dup2(temporary.fileno(), number))
        new.sock.setblocking(False)
        new.peer.sendall(sent)
        scene.poller.read(new)

    def news(_: bytes) -> None:
        old.sock.close()
        thread = threading.Thread(target=hand_in)
        thread.start()
        thread.join(PATIENCE)

    old.news = news
    old.peer.sendall(b"!")
    scene.wait_until(lambda: new.advances)
    for data in (b"1", b"2"):
        new.peer.sendall(data)
        scene.wait_until(lambda data=data: new.received.endswith(data))  # type: ignore[misc]

    assert (old.received, old.settled, old.advances, old.errors) == (b"old!", [None], 2, [])
    assert (new.fileno(), new.received, new.errors) == (number, sent + b"12", [])


def test_unexpected_error_fails_all(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the loop breaks, all that is read or waits to be fails and is woken, and later ones are read again."""
    crashes: list[BaseException | None] = []
    # Here and not in a fixture: older pytests set their own behind those.
    monkeypatch.setattr(threading, "excepthook", lambda crash: crashes.append(crash.exc_value))
    registered = [scene.read(b"a"), scene.read(b"b")]
    queued = [scene.source(), scene.source()]
    (thread,) = threads()
    error = MemoryError("in the loop")

    def woken() -> None:
        scene.woken = lambda: None
        for source in queued:
            scene.poller.read(source)
        raise error

    scene.woken = woken
    registered[0].peer.sendall(b"!")
    thread.join(PATIENCE)
    is_alive = thread.is_alive()
    later = scene.read(b"c")
    later.peer.sendall(b"d")
    scene.wait_until(lambda: later.received == b"cd")

    assert not is_alive
    assert [source.errors for source in (*registered, *queued)] == [[error]] * 4
    assert any(
        {id(source) for source in (*registered, *queued)} == {id(one) for one in woken} for woken in scene.rounds
    )
    assert (crashes, later.errors, len(threads())) == ([error], [], 1)


def test_selector_that_cannot_be_made(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are too many open files for the thread to start, whoever hands something in is told, each time."""

    def fail() -> None:
        raise OSError("too many open files")

    source = scene.source()
    with monkeypatch.context() as patch:
        patch.setattr("oa_client._async.poller.selectors", SimpleNamespace(DefaultSelector=fail))
        for _ in range(2):
            with pytest.raises(OSError, match="too many"):
                scene.poller.read(source)
    left = threads()
    source.peer.sendall(b"a")
    scene.poller.read(source)
    scene.wait_until(lambda: source.received)

    assert (left, source.received) == ([], b"a")


def test_thread_that_cannot_be_started(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the thread cannot be started, whoever hands something in is told, and no socket is left open."""
    source = scene.source()

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            scene.poller.read(source)
    source.peer.sendall(b"a")
    scene.poller.read(source)
    scene.wait_until(lambda: source.received)

    assert source.received == b"a"


# The thread.


def test_thread_ends_with_nothing_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends when nothing is left to read, and what comes later is read by a new one."""
    monkeypatch.setattr("oa_client._async.poller.LINGER", 0.001)
    ended: list[threading.Thread] = []
    for data in (b"a", b"b", b"c"):
        source = scene.read(data)
        ended += threads()
        source.peer.close()
        ended[-1].join(PATIENCE)

    assert [thread.is_alive() for thread in ended] == [False] * 3
    assert len(set(ended)) == 3


def test_thread_stays_with_something_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it lingers, the thread stays while something is left to read."""
    monkeypatch.setattr("oa_client._async.poller.LINGER", 0.0)
    source = scene.read(b"a")
    before = threads()
    others = [scene.read(b"b") for _ in range(10)]
    for other in others:
        other.peer.close()
    scene.wait_until(lambda: all(other.settled for other in others))
    source.peer.sendall(b"!")
    scene.wait_until(lambda: source.received == b"a!")

    assert (len(before), threads()) == (1, before)


def test_nothing_is_lost_when_the_thread_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed in just when the thread ends is read, by that or by a new one."""
    monkeypatch.setattr("oa_client._async.poller.LINGER", 0.0)
    for _ in range(300):
        source = scene.read(b"a")
        source.peer.close()

    assert [source.errors for source in scene.sources if source.errors] == []


@pytest.mark.parametrize("was_read", [True, False])
def test_close_ends_the_thread_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch, was_read: bool) -> None:
    """After close() no thread is left, however long it would have lingered."""
    monkeypatch.setattr("oa_client._async.poller.LINGER", 1000.0)
    before: list[threading.Thread] = []
    if was_read:
        source = scene.read(b"a")
        source.peer.close()
        scene.wait_until(lambda: source.settled)
        before = threads()
    scene.poller.close(PATIENCE)

    assert ([thread.is_alive() for thread in before], threads()) == ([False] * was_read, [])


def test_close_waits_for_what_is_left(scene: Scene) -> None:
    """close() waits until what is read has ended, and no longer than it is told."""
    source = scene.read(b"a")
    scene.poller.close(0.01)
    before = len(threads())
    source.peer.close()
    scene.poller.close(PATIENCE)

    assert (before, source.settled, threads()) == (1, [None], [])


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are as many places as the capacity says, and one that was given back can be taken again."""
    monkeypatch.setattr("oa_client._async.poller.CAPACITY", 2)
    poller: Poller[Source] = Poller(lambda _: None)
    taken = [poller.reserve() for _ in range(4)]
    poller.release()

    assert (taken, poller.reserve(), poller.reserve()) == ([True, True, False, False], True, False)


# In an async client.


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Wait for something blocking."""
    return await anyio.to_thread.run_sync(function, *arguments)


@pytest.mark.anyio
async def test_streams_without_a_place(monkeypatch: pytest.MonkeyPatch, script: OpenAssistantScript) -> None:
    """A stream for which the poller has no place is read in pieces, and right; places free up."""
    monkeypatch.setattr("oa_client._async.poller.CAPACITY", 2)
    go_on = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(go_on)
        stream.token(" world")
        stream.message()

    script.events = events
    polled, replies = [], []
    with anyio.fail_after(PATIENCE):
        async with AsyncClient(script.url, **script.credentials, max_retries=0, serialize=False) as client:
            for number in (3, 2):
                go_on.clear()
                streams = [client.stream("Hi") for _ in range(number)]
                firsts = [await anext(stream) for stream in streams]
                polled.append([stream._feed._is_polled for stream in streams])
                go_on.set()
                messages = [str(await stream.finish()) for stream in streams]
                replies += list(zip(firsts, messages, [stream.text for stream in streams], strict=True))

    assert polled == [[True, True, False], [True, True]]
    assert replies == [("Hello", "Hello world", "Hello world")] * 5


@pytest.mark.anyio
async def test_stream_without_open_files(monkeypatch: pytest.MonkeyPatch, script: OpenAssistantScript) -> None:
    """If the poller cannot start, a stream that needs it raises an error of ours, and a later one works."""

    def fail() -> None:
        raise OSError("too many open files")

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    default, script.events = script.events, events
    with anyio.fail_after(PATIENCE):
        async with AsyncClient(script.url, **script.credentials, max_retries=0) as client:
            with monkeypatch.context() as patch:
                patch.setattr("oa_client._async.poller.selectors", SimpleNamespace(DefaultSelector=fail))
                stream = client.stream("Hi")
                with pytest.raises(TransportError, match="too many") as caught:
                    _ = [text async for text in stream]
            script.message_state, script.events = "complete", default

            assert str(await client.ask("Hi")) == "Hello world"

    assert (caught.value.chat_id, caught.value.message_id) == ("c1", "m1")


@pytest.mark.anyio
async def test_long_items_are_not_read_far_ahead(script: OpenAssistantScript) -> None:
    """A reply of few and long tokens is read no further ahead of its consumer than a limit in bytes, and is whole."""
    script.tokens = [f"{number:06}" * 50_000 for number in range(40)]
    with anyio.fail_after(PATIENCE):
        async with AsyncClient(script.url, **script.credentials, max_retries=0) as client:
            stream = client.stream("Hi")
            first = await anext(stream)
            feed = stream._feed
            while not (feed._needs or feed.ended):
                await anyio.sleep(0)
            ahead = sum(map(len, feed.items))  # type: ignore[arg-type]  # no event but the last
            rest = [text async for text in stream]

    assert ahead < 2 * READ_AHEAD_BYTES
    assert [first, *rest] == script.tokens


@pytest.mark.anyio
async def test_stream_goes_on_after_a_look_at_its_message(
    monkeypatch: pytest.MonkeyPatch, script: OpenAssistantScript
) -> None:
    """A stream whose pending message was looked at is read on by the poller, and ends when it is closed."""
    monkeypatch.setattr("oa_client._calls.reply.PENDING_LOOK", 0.0)
    go_on = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.pending()
        stream.wait(go_on)
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    with anyio.fail_after(PATIENCE):
        async with AsyncClient(script.url, **script.credentials, max_retries=0) as client:
            stream = client.stream("Hi")
            events_of_it = stream.events()
            await anext(events_of_it)

            async def release() -> None:
                await in_thread(script.wait_until, lambda: "message" in script.calls)
                go_on.set()

            async with anyio.create_task_group() as group:
                group.start_soon(release)
                token = await anext(events_of_it)
            await stream.aclose()
            rest = [item async for item in events_of_it]
            script.message_state = "complete"

    assert (token, rest, stream.text) == (TokenEvent("Hello"), [], "Hello")
