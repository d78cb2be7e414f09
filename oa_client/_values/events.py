"""
The events of a reply.

In order: any number of `PendingEvent`, then of `TokenEvent` and `PluginEvent`, then one `MessageEvent`.
An error is not an event here: it is raised. Of tokens, which are many, and of the end just the text and the message
are kept, of others all fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oa_client._values.errors import ProtocolError
from oa_client._values.json_object import without_halves
from oa_client._values.message import Message


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """
    The message is queued; comes about once a second until the first token.

    Both numbers are hints: the server's counters drift, and forget a place after a while.

    Attributes:
        queue_position: 1 is next in line; 0 is being worked on, or not known.
        queue_size: all who wait for this model; 0 if not known.
        extra: fields that this version does not know.
    """

    queue_position: int
    queue_size: int
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """
    A piece of the answer; it has nothing but its text, whatever else the server sends with it.

    Attributes:
        text: to be joined verbatim; may be empty, and may start with a space.
    """

    text: str


@dataclass(frozen=True, slots=True)
class PluginEvent:
    """
    A step that the model took with a plugin.

    Attributes:
        thought: why.
        action_taken: the name of the action.
        action_input: what went in.
        action_response: what came out.
        extra: fields that this version does not know.
    """

    thought: str
    action_taken: str
    action_input: str
    action_response: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """
    The end of the reply.

    Attributes:
        message: complete; its content is the truth, also where the tokens differ from it.
    """

    message: Message


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """
    An event of a kind that this version does not know.

    Attributes:
        event_type: its name.
        data: the JSON object as it came, or the text if it was not one.
    """

    event_type: str
    data: Any = field(hash=False)


#: The names of the fields of `PluginEvent` on the wire.
_PLUGIN = {
    "current_plugin_thought": "thought",
    "current_plugin_action_taken": "action_taken",
    "current_plugin_action_input": "action_input",
    "current_plugin_action_response": "action_response",
}

Event = PendingEvent | TokenEvent | PluginEvent | MessageEvent | UnknownEvent
"""What the `events` of a stream yield: to be told apart by class."""


def event_from_json(data: Mapping[str, Any]) -> Event:
    """
    Make an event from the JSON object of one server-sent event, errors excepted.

    Raises:
        ProtocolError: if a field is missing or has a wrong type.
    """
    kind = data.get("event_type")
    if kind == "token":
        return TokenEvent(_field(data, "text", str))
    if kind == "pending":
        return PendingEvent(
            queue_position=_field(data, "queue_position", int),
            queue_size=_field(data, "queue_size", int),
            extra=_others(data, "queue_position", "queue_size"),
        )
    if kind == "message":
        return MessageEvent(Message.from_json(data.get("message")))
    if kind == "plugin_intermediate":
        texts = {name: without_halves(_field(data, key, str)) for key, name in _PLUGIN.items()}
        # Its message is always null.
        return PluginEvent(**texts, extra=_others(data, "message", *_PLUGIN))
    if not isinstance(kind, str):
        raise ProtocolError("an event has no event_type: is this an Open-Assistant server?")
    return UnknownEvent(kind, data)


def _others(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "event_type" and name not in names}


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ProtocolError(f"{data['event_type']} event: {name} is {type(value).__name__}, not {kind.__name__}")
    return value
