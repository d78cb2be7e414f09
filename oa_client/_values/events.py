"""
The events of a reply.

In order: any number of `PendingEvent`, then of `TokenEvent` and `PluginEvent`, then one `MessageEvent`.
An error is raised instead of yielded. `TokenEvent` keeps only the text and `MessageEvent` only the message; the other
events keep all fields.
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
    The message is queued; the event comes about once a second until the first token.

    Both numbers are hints: the server's counters drift, and after a while they forget a place.

    Attributes:
        queue_position: 1 is next in line; 0 is being written, or unknown.
        queue_size: the number of answers that wait for this model; 0 if unknown.
        extra: fields that this version does not know.
    """

    queue_position: int
    queue_size: int
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """
    A piece of the answer; only its text is kept.

    Attributes:
        text: join pieces as they are; a piece may be empty, and may start with a space.
    """

    text: str


@dataclass(frozen=True, slots=True)
class PluginEvent:
    """
    A step that the model took with a plugin.

    Attributes:
        thought: the model's reason.
        action_taken: the name of the action.
        action_input: the input of the action.
        action_response: the output of the action.
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
        message: complete; if the tokens differ from its content, the content is right.
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
"""An item of a stream's `events`; the class says which kind."""


def event_from_json(data: Mapping[str, Any]) -> Event:
    """
    Make an event from the JSON object of one server-sent event that is not an error.

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
