"""The local server against recordings of the real one: the same requests must get the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from oa_client.local import LocalServer
from oa_client.local._models.registry import BACKENDS
from tests.local.fidelity import (
    DEVIATIONS,
    DIFFERENT,
    DOCUMENT,
    OUTSIDE,
    PARTLY,
    PERFORMED,
    REPLAYED,
    SKIPPED,
    recordings,
    written,
)
from tests.local.recordings import Actor, Clock, Replay
from tests.local.side_by_side import UNSERVED, Performance, Stage, has_pending_events
from tests.local.support import MODEL, PATIENCE
from tests.local.told import load, settings_of

SLOTS = {"stream_in_progress_not_cancelled": 2, "stream_same_parent_not_cancelled": 2}
"""How many answers the recorded worker wrote at once, where it was more than one."""


@pytest.mark.parametrize("name", REPLAYED)
def test_the_real_server_answered_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Status, headers and body are those recorded, but for ids, times and the named deviations.

    Events are the same one by one, but for pending ones, and written in the same way.
    """
    monkeypatch.setattr("oa_client.local._answers.work.HEAD_START", PATIENCE)
    clock, actor = Clock(), Actor()
    short = name.partition("/")[2]
    but = {PARTLY[short][0]} if short in PARTLY else set()
    server = LocalServer(actor, debug_login=True, settings=settings_of(name))
    server._clock = clock
    with server:
        replay = Replay(server, clock, actor, name, SKIPPED.keys())
        for step in replay.steps:
            replay.after(step, replay.compare(step, replay.send(step), but))


@pytest.mark.parametrize("name", PERFORMED)
def test_the_real_servers_streams_were_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each reader hears what was recorded, in the same order, also when others read or have left; so it
    is with places in the queue.
    """
    monkeypatch.setattr("oa_client.local._answers.work.HEAD_START", 0)
    short = name.partition("/")[2]
    clock = Clock()
    stages = served, unserved = Stage(MODEL, SLOTS.get(short, 1)), Stage(UNSERVED, 1)
    monkeypatch.setitem(BACKENDS, "stages", lambda: stages)
    # Without pending events readers keep their turn, on which it depends who hears what.
    server = LocalServer("stages", settings=settings_of(name, 0.01 if has_pending_events(name) else PATIENCE))
    server._clock = clock
    with server:
        try:
            Performance(server, clock, served, unserved, name).play()
        finally:
            for stage in stages:
                stage.release()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status_line": "HTTP/1.1 201 Created"}, id="status"),
        pytest.param({"headers": [["content-type", "text/plain"]]}, id="headers"),
        pytest.param({"body_chunks": [{"t": 0, "data": '{"chats":[],"next":"","prev":null}'}]}, id="body"),
    ],
)
def test_a_difference_is_found(changes: Mapping[str, Any]) -> None:
    """An answer with another status, other headers or another body than the recorded one is not the same."""
    name, clock, actor = "inference/list_chats", Clock(), Actor()
    with LocalServer(actor) as server:
        replay = Replay(server, clock, actor, name, frozenset())
        step = next(step for step in replay.steps if step["request"]["line"].startswith("GET"))
        received = replay.send(step)
        replay.compare(step, received, frozenset())
        changed = {**step, "response": {**step["response"], **changes}}

        with pytest.raises(AssertionError):
            replay.compare(changed, received, frozenset())


def test_every_recording_has_its_place() -> None:
    """All are compared in one way or the other, or not for a reason."""
    assert sorted([*REPLAYED, *PERFORMED, *OUTSIDE]) == recordings()


def test_every_deviation_is_shown_by_a_recording() -> None:
    """
    The table of deviations names no more and no fewer than the recordings need, and the steps are there.

    Of each recording that is compared, steps are left.
    """
    labels = {(name, step.get("label")) for name in REPLAYED for step in load(name)["steps"]}
    known = labels | {("", label) for _, label in labels}
    partly = {reason for _, reason in PARTLY.values()}

    assert set(DEVIATIONS) == {*SKIPPED.values(), *OUTSIDE.values(), *DIFFERENT.values(), *partly}
    assert SKIPPED.keys() <= known
    for name in REPLAYED:
        assert {step["label"] for step in load(name)["steps"] if "response" in step} - {
            label for recording, label in SKIPPED if recording in ("", name)
        }
    assert list(DEVIATIONS) == sorted(DEVIATIONS)


def test_document_is_the_table() -> None:
    """`docs/local-server-fidelity.md` has each row and each reason, in the same words, and no other."""
    marks = ("## ", "| ", "- ")
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line.startswith(marks)] == [
        line for line in written().splitlines() if line.startswith(marks)
    ]
