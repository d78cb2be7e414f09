"""A chat's messages as a tree, whatever order and shape they come in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oa_client import ChatInfo, Message
from oa_client._transcripts.tree import Tree
from tests.recorded import recorded_objects

START = datetime(2026, 11, 22, tzinfo=timezone.utc)
DEEP = 10_000


def message(spec: str, parent: str | None = None, state: str | None = None, at: int | None = 0) -> Message:
    """Make a message: prompts have the state manual, answers (a capital) complete, `at` seconds after the start."""
    role, usual = ("assistant", "complete") if spec[0].isupper() else ("prompter", "manual")
    created_at = None if at is None else START + timedelta(seconds=at)
    return Message(spec, spec, "c1", parent, role, state or usual, created_at)


def ids(messages: Sequence[Message]) -> str:
    """Return the ids, joined."""
    return " ".join(item.id for item in messages)


#: Two answers to the first prompt, and two prompts after the first of them.
BRANCHED = [
    message("a", at=0),
    message("B", "a", at=1),
    message("C", "a", at=2),
    message("d", "B", at=3),
    message("e", "B", at=4),
    message("F", "d", at=5),
    message("G", "e", at=6),
]


@settings(deadline=None)
@given(st.permutations(BRANCHED))
def test_order_of_arrival_does_not_matter(messages: list[Message]) -> None:
    """Messages are sorted and linked, in whatever order the server sends them."""
    tree = Tree(messages)

    assert "a B C d e F G" == ids(tree.messages)
    assert ("B C", "d e", "a", "") == (
        ids(tree.children("a")),
        ids(tree.children("B")),
        ids(tree.children(None)),
        ids(tree.children("G")),
    )
    assert ("B C", "d e", "a") == (ids(tree.siblings("C")), ids(tree.siblings("d")), ids(tree.siblings("a")))
    assert "a B d F" == ids(tree.path("F"))


def test_message_by_id() -> None:
    """A message is found by its id, and what is not there is None or no messages."""
    tree = Tree(BRANCHED)

    assert BRANCHED[1] is tree.get("B")
    assert tree.get("x") is None
    assert [[], [], []] == [tree.children("x"), tree.siblings("x"), tree.path("x")]


def test_answers_do_not_change_the_tree() -> None:
    """What a tree returns may be changed without harm to it."""
    tree = Tree(BRANCHED)
    for found in (tree.children("a"), tree.siblings("B"), tree.path("F"), tree.thread()):
        found.clear()

    assert "B C" == ids(tree.children("a"))


def test_parents_come_first() -> None:
    """A parent comes before its child also where the clock says otherwise; the rest keeps to the clock."""
    messages = [message("A", "p", at=1), message("p", at=5), message("q", at=2), message("n", at=None)]

    assert "q p A n" == ids(Tree(messages).messages)


def test_equal_times() -> None:
    """Of messages of the same time the smaller id comes first, and one without a time last."""
    messages = [message("c"), message("a"), message("z", at=None), message("b"), message("y", at=None)]

    assert "a b c y z" == ids(Tree(messages).messages)


def test_naive_times() -> None:
    """A naive time is taken for UTC, so that made messages can stand among those of a server."""
    naive = Message("n", created_at=datetime(2026, 11, 22, 0, 0, 1))

    assert "a n b" == ids(Tree([message("b", at=2), naive, message("a", at=0)]).messages)


def test_no_messages() -> None:
    """A chat without messages is an empty tree, whatever tail is stored."""
    tree = Tree([], "m1")

    assert ([], [], [], None) == (tree.messages, tree.thread(), tree.children(None), tree.tail_id)


@pytest.mark.parametrize(
    ("tail_id", "thread"),
    [
        pytest.param(None, "a C", id="none: the newest answer"),
        pytest.param("nope", "a C", id="unknown"),
        pytest.param("", "a C", id="empty"),
        pytest.param("C", "a C", id="a leaf"),
        pytest.param("F", "a B d F", id="a deep leaf"),
        pytest.param("B", "a B e G", id="in the middle: on to the newest leaf"),
        pytest.param("d", "a B d F", id="a prompt: on to its answer"),
        pytest.param("a", "a C", id="the root"),
    ],
)
def test_thread(tail_id: str | None, thread: str) -> None:
    """The active thread holds the tail, and is the newest where the tail leaves a choice."""
    assert thread == ids(Tree(BRANCHED, tail_id).thread())


@pytest.mark.parametrize(
    ("drafts", "thread"),
    [
        pytest.param([("X", "complete"), ("Y", "aborted_by_worker")], "a X", id="the newest failed"),
        pytest.param([("X", "complete"), ("Y", "pending")], "a X", id="the newest is queued"),
        pytest.param([("X", "complete"), ("Y", "in_progress")], "a X", id="the newest is being written"),
        pytest.param([("X", "timeout"), ("Y", "cancelled")], "a Y", id="none is whole"),
        pytest.param([("X", "complete"), ("Y", "complete")], "a Y", id="both are whole"),
        pytest.param([("X", "manual"), ("Y", "pending")], "a X", id="manual"),
    ],
)
def test_thread_among_drafts(drafts: list[tuple[str, str]], thread: str) -> None:
    """Of several answers the newest that is whole counts, else the newest."""
    messages = [message(name, "a", state, at) for at, (name, state) in enumerate(drafts, 1)]

    assert thread == ids(Tree([message("a"), *messages]).thread())


def test_tail_that_is_not_whole() -> None:
    """The tail is on the thread also if it is not whole and not the newest."""
    messages = [message("a"), message("X", "a", "cancelled", 1), message("Y", "a", at=2)]

    assert "a X" == ids(Tree(messages, "X").thread())


@pytest.mark.parametrize(
    ("messages", "order", "roots"),
    [
        pytest.param([message("a", "a"), message("B", "a", at=1)], "a B", "a", id="its own parent"),
        pytest.param([message("a", "B"), message("B", "a", at=1)], "a B", "a", id="two in a circle"),
        pytest.param(
            [message("a", "C", at=3), message("B", "a", at=4), message("C", "B", at=2), message("x", "B", at=1)],
            "C a B x",
            "C",
            id="a branch that comes before its circle",
        ),
        pytest.param([message("a", "gone", at=1), message("b", "gone")], "b a", "b a", id="unknown parents"),
    ],
)
def test_broken_links(messages: list[Message], order: str, roots: str) -> None:
    """A parent that is missing, or leads in a circle, makes a root; no message is lost, in whatever order they come."""
    for arrival in (messages, messages[::-1]):
        tree = Tree(arrival)

        assert order == ids(tree.messages)
        assert roots == ids(tree.children(None))


def test_siblings_of_roots() -> None:
    """Messages whose parents are unknown are siblings, and the thread starts at the newest."""
    tree = Tree([message("a", "gone", at=1), message("b", "lost", at=2), message("c", at=0)])

    assert "c a b" == ids(tree.siblings("a"))
    assert "b" == ids(tree.thread())


def test_equal_ids() -> None:
    """Of messages with the same id the last counts."""
    tree = Tree([message("a"), message("B", "a", "pending"), message("B", "a", "complete")])

    assert "a B" == ids(tree.messages)
    assert "complete" == tree.messages[1].state


LINKS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 12), st.none() | st.integers(0, 3)))


@settings(deadline=None)
@given(LINKS, st.none() | st.integers(0, 12), st.randoms(use_true_random=False))
def test_any_links(links: list[tuple[int, int | None, int | None]], tail: int | None, shuffler: Random) -> None:
    """However messages are linked, none is lost or its own ancestor, and the thread goes from a root to a leaf."""
    made = {str(name): message(str(name), None if parent is None else str(parent), at=at) for name, parent, at in links}
    messages = list(made.values())
    tree = Tree(messages, None if tail is None else str(tail))
    shuffler.shuffle(messages)
    thread = tree.thread()

    assert tree.messages == Tree(messages).messages
    assert made.keys() == {item.id for item in tree.messages}
    assert len(made) == len(tree.messages)
    seen: set[str] = set()
    for item in tree.messages:
        path = tree.path(item.id)
        assert {step.id for step in path[:-1]} <= seen
        assert item in tree.siblings(item.id)
        seen.add(item.id)
    if thread:
        assert thread == tree.path(thread[-1].id)
        assert [] == tree.children(thread[-1].id)
    assert bool(made) == bool(thread)
    assert tree.tail_id is None or tree.tail_id in {item.id for item in thread}


@pytest.mark.parametrize(
    "parents",
    [
        pytest.param([None, *range(DEEP - 1)], id="a chain"),
        pytest.param([DEEP - 1, *range(DEEP - 1)], id="a circle"),
        pytest.param([None] * DEEP, id="roots alone"),
        pytest.param([None, *[0] * (DEEP - 1)], id="a bush"),
        pytest.param([None, *(max(0, place - 2) for place in range(1, DEEP))], id="a comb"),
    ],
)
def test_ten_thousand_messages(parents: list[int | None]) -> None:
    """A chat of ten thousand messages is sorted in a moment, however deep or wide."""
    messages = [Message(f"{place:05}", parent_id=None if p is None else f"{p:05}") for place, p in enumerate(parents)]
    start = time.process_time()
    tree = Tree(messages[::-1], f"{DEEP - 1:05}")
    thread = tree.thread()

    assert messages == tree.messages
    assert f"{DEEP - 1:05}" in {item.id for item in thread}
    assert thread == tree.path(thread[-1].id)
    assert time.process_time() - start < 5


def test_every_recorded_chat() -> None:
    """Each chat that the real servers sent is one tree, whose active thread starts at its root."""
    count = 0
    for data in recorded_objects("messages", "allow_data_use"):
        messages = [Message.from_json(item) for item in data["messages"]]
        tree = Tree(messages, ChatInfo.from_json(data).active_thread_tail_message_id)
        count += 1

        assert sorted(messages, key=lambda item: (item.created_at, item.id)) == tree.messages
        assert [item.parent_id for item in tree.thread()] == [None, *(item.id for item in tree.thread())][:-1]
    assert count > 10
