"""The events of a reply, from the server's JSON."""

from __future__ import annotations

import pickle
from typing import Any, get_args

import pytest

from oa_client import (
    Event,
    Message,
    MessageEvent,
    PendingEvent,
    PluginEvent,
    ProtocolError,
    TokenEvent,
    UnknownEvent,
)
from oa_client._values.events import event_from_json

PLUGIN = {
    "event_type": "plugin_intermediate",
    "current_plugin_thought": "why",
    "current_plugin_action_taken": "action",
    "current_plugin_action_input": "in",
    "current_plugin_action_response": "out",
    "message": None,
}


@pytest.mark.parametrize(
    ("data", "event"),
    [
        pytest.param({"event_type": "token", "text": " a"}, TokenEvent(" a"), id="token"),
        pytest.param({"event_type": "token", "text": ""}, TokenEvent(""), id="empty token"),
        pytest.param({"event_type": "token", "text": "\ud83d"}, TokenEvent("\ud83d"), id="half a pair"),
        pytest.param({"event_type": "token", "text": "a", "new": 1}, TokenEvent("a"), id="token with more"),
        pytest.param({"event_type": "pending", "queue_position": 0, "queue_size": 7}, PendingEvent(0, 7), id="pending"),
        pytest.param(
            {"event_type": "pending", "queue_position": -2, "queue_size": -1}, PendingEvent(-2, -1), id="drifted"
        ),
        pytest.param(
            {"event_type": "pending", "queue_position": 1, "queue_size": 2, "new": [1]},
            PendingEvent(1, 2, {"new": [1]}),
            id="pending with more",
        ),
        pytest.param(PLUGIN, PluginEvent("why", "action", "in", "out"), id="plugin"),
        pytest.param(
            {**PLUGIN, "new": 1}, PluginEvent("why", "action", "in", "out", {"new": 1}), id="plugin with more"
        ),
        pytest.param(
            {"event_type": "message", "message": {"id": "m1", "content": "a"}},
            MessageEvent(Message("m1", "a")),
            id="message",
        ),
        pytest.param(
            {"event_type": "safe_prompt", "x": [1]},
            UnknownEvent("safe_prompt", {"event_type": "safe_prompt", "x": [1]}),
            id="unknown",
        ),
        pytest.param({"event_type": ""}, UnknownEvent("", {"event_type": ""}), id="nameless"),
        pytest.param({"event_type": "TOKEN"}, UnknownEvent("TOKEN", {"event_type": "TOKEN"}), id="other case"),
    ],
)
def test_event_from_json(data: dict[str, Any], event: Event) -> None:
    """Each kind of event is read, with fields that are new but for a token's, and a kind that is new is kept whole."""
    assert event == event_from_json(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({}, "no event_type", id="no type"),
        pytest.param({"event_type": None}, "no event_type", id="type null"),
        pytest.param({"event_type": 5}, "no event_type", id="type number"),
        pytest.param({"event_type": ["token"]}, "no event_type", id="type list"),
        pytest.param({"event_type": "token"}, "token event: text", id="no text"),
        pytest.param({"event_type": "token", "text": None}, "token event: text", id="text null"),
        pytest.param({"event_type": "token", "text": 1}, "token event: text", id="text number"),
        pytest.param({"event_type": "pending", "queue_size": 1}, "pending event: queue_position", id="no position"),
        pytest.param(
            {"event_type": "pending", "queue_position": 1, "queue_size": "1"},
            "pending event: queue_size",
            id="size string",
        ),
        pytest.param(
            {"event_type": "pending", "queue_position": 1.5, "queue_size": 1},
            "pending event: queue_position",
            id="position fraction",
        ),
        pytest.param(
            {"event_type": "pending", "queue_position": True, "queue_size": False},
            "pending event: queue_position",
            id="position boolean",
        ),
        pytest.param({"event_type": "message"}, "message: expected an object", id="no message"),
        pytest.param({"event_type": "message", "message": {}}, "message: .* no id", id="message without id"),
        *(
            pytest.param({**PLUGIN, name: None}, f"plugin_intermediate event: {name}", id=f"{name} null")
            for name in PLUGIN
            if name.startswith("current_")
        ),
    ],
)
def test_malformed_event(data: dict[str, Any], words: str) -> None:
    """An event that lacks a field or has a wrong type is refused, and the error names event and field."""
    with pytest.raises(ProtocolError, match=words):
        event_from_json(data)


EVENTS = [
    PendingEvent(1, 2, {"new": []}),
    TokenEvent("a"),
    PluginEvent("a", "b", "c", "d", {"new": []}),
    MessageEvent(Message("m1", extra={"new": []})),
    UnknownEvent("new", {"list": []}),
]


def test_every_kind_is_an_event() -> None:
    """`Event` is the union of the five kinds."""
    assert tuple(map(type, EVENTS)) == get_args(Event)


@pytest.mark.parametrize("event", [pytest.param(item, id=type(item).__name__) for item in EVENTS])
def test_events_are_values(event: Event) -> None:
    """An event is equal to its pickled copy, has its hash, and shows its class."""
    copy = pickle.loads(pickle.dumps(event))  # noqa: S301 - our own bytes

    assert event == copy
    assert hash(event) == hash(copy)
    assert repr(event).startswith(f"{type(event).__name__}(")
