"""Values of the API: what goes in (`Sampling`, `Timeout`) and what comes out (`Message`, `ModelInfo`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from ._errors import ConfigurationError, ProtocolError


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a chat, as the server sends it.

    `str(message)` is its content. The value is frozen; the JSON inside `reports`, `work_parameters`, `used_plugin` and
    `extra` is the server's own, and not to be changed.

    Attributes:
        id: opaque.
        content: the text; None until the message is complete.
        chat_id: the chat it belongs to.
        parent_id: the message it answers; None for a chat's first.
        role: "prompter" or "assistant".
        state: "manual" for a prompt; "pending", "in_progress", "complete", "aborted_by_worker",
            "cancelled" or "timeout" for an answer.
        created_at: an aware UTC time.
        score: the user's vote: -1, 0 or 1.
        reports: the user's reports, as the server sends them.
        work_parameters: model, sampling and instructions that the answer was made with; None on a prompt.
            Its `seed` is exact only on the inference server: the website rounds it.
        safe_content: the text after the safety filter, if there is one.
        safety_level: of the safety filter.
        safety_label: of the safety filter.
        safety_rots: of the safety filter.
        used_plugin: the plugin that was used, with its outcome; None if none was.
        extra: fields that this version does not know.
    """

    id: str
    content: str | None = None
    chat_id: str | None = None
    parent_id: str | None = None
    role: str = "assistant"
    state: str = "complete"
    created_at: datetime | None = None
    score: int = 0
    reports: Sequence[Any] = field(default=(), hash=False, repr=False)
    work_parameters: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    safe_content: str | None = field(default=None, repr=False)
    safety_level: int | None = field(default=None, repr=False)
    safety_label: str | None = field(default=None, repr=False)
    safety_rots: str | None = field(default=None, repr=False)
    used_plugin: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __str__(self) -> str:
        return self.content or ""

    @classmethod
    def from_json(cls, data: Any) -> Message:
        """
        Make a message from the server's JSON object.

        A time that cannot be read becomes None, and stays in `extra` as it came: an answer must not be lost over it.

        Raises:
            ProtocolError: if `data` is not an object, has no id, or a field has a wrong type.
        """
        values, extra = _split(cls, data, "message")
        _check_type(values, "message", str, "role", "state", required=("id",))
        _check_type(values, "message", _TEXT, "content", "chat_id", "parent_id")
        _check_type(values, "message", _TEXT, "safe_content", "safety_label", "safety_rots")
        _check_type(values, "message", int, "score")
        _check_type(values, "message", (int, type(None)), "safety_level")
        _check_type(values, "message", list, "reports")
        _check_type(values, "message", (Mapping, type(None)), "work_parameters", "used_plugin")
        if values.get("content"):
            values["content"] = SURROGATE.sub("\N{REPLACEMENT CHARACTER}", values["content"])
        created = values.pop("created_at", None)
        values["created_at"] = _utc(created)
        if created is not None and values["created_at"] is None:
            extra["created_at"] = created
        return cls(**values, extra=extra)


@dataclass(frozen=True, slots=True)
class Sampling:
    """
    How the model picks its tokens; None leaves a value to the server.

    The server checks no ranges and fills in nothing from its presets, so what is impossible is refused here.

    Attributes:
        top_k: only the k likeliest tokens, 1 or more.
        top_p: only the likeliest tokens that together have this probability, 0 to 1.
        typical_p: locally typical sampling, 0 to 1.
        temperature: 0 or more; low is sober, high is wild.
        repetition_penalty: above 0; 1 is no penalty.
        max_new_tokens: the longest answer, in tokens, 1 or more; the server's default is 1024.

    Raises:
        ConfigurationError: if a value is of the wrong type or impossible.
    """

    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and (not _is_number(value, int) or not 1 <= value <= _LARGEST):
                raise ConfigurationError(f"sampling: {name} must be a whole number of 1 or more, not {show(value)}")
        for name, (low, high) in _FLOAT_RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not _is_number(value, int, float) or not -_LARGEST <= value <= _LARGEST:
                raise ConfigurationError(f"sampling: {name} must be a number, not {show(value)}")
            if not low <= value <= high or (name == "repetition_penalty" and value == 0):
                bounds = {math.inf: "0 or more"}.get(high, f"from {low:g} to {high:g}")
                bounds = "above 0" if name == "repetition_penalty" else bounds
                raise ConfigurationError(f"sampling: {name} must be {bounds}, not {show(value)}")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Sampling:
        """
        Make a value from a mapping with the attributes' names as keys.

        Raises:
            ConfigurationError: if a key is unknown (the server would drop it without a word) or a value impossible.
        """
        known = [item.name for item in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigurationError(f"sampling: unknown key {show(name)}{did_you_mean(name, known)}")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Return the values that are set: the server refuses some nulls and ignores the others."""
        pairs = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in pairs if value is not None}


#: What 32 bits hold: more is neither a count of tokens nor a temperature.
_LARGEST = 2**31 - 1
_FLOAT_RANGES = {
    "top_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "temperature": (0.0, math.inf),
    "repetition_penalty": (0.0, math.inf),
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of sampling values that the server recommends for a model."""

    name: str
    sampling: Sampling
    description: str = ""

    @classmethod
    def from_json(cls, data: Any) -> Preset:
        """
        Make a preset from the server's JSON object.

        Raises:
            ProtocolError: if it has not the shape of one.
        """
        values, _ = _split(cls, data, "preset", "sampling")
        _check_type(values, "preset", str, "description", required=("name",))
        parameters = data.get("sampling_parameters")
        if not isinstance(parameters, Mapping):
            raise ProtocolError("preset: sampling_parameters is not an object")
        known = {item.name for item in fields(Sampling)}
        try:
            values["sampling"] = Sampling(**{name: parameters[name] for name in known & parameters.keys()})
        except ConfigurationError as error:
            raise ProtocolError(f"preset {values['name']!r}: {error}") from error
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """
    A model that the server lists. A listed model may still have no worker: then answers stay pending.

    Attributes:
        name: what `model=` takes.
        description: often empty.
        presets: the sampling presets, in the server's order.
        extra: fields that this version does not know.
    """

    name: str
    description: str = ""
    presets: tuple[Preset, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, data: Any) -> ModelInfo:
        """
        Make a model from the server's JSON object.

        Raises:
            ProtocolError: if it has not the shape of one.
        """
        values, extra = _split(cls, data, "model", "presets")
        _check_type(values, "model", str, "description", required=("name",))
        configs = extra.pop("parameter_configs", [])
        if not isinstance(configs, list):
            raise ProtocolError("model: parameter_configs is not a list")
        return cls(**values, presets=tuple(map(Preset.from_json, configs)), extra=extra)


@dataclass(frozen=True, slots=True)
class Timeout:
    """
    How long to wait, in seconds; None is no limit. Time that the consumer of a stream takes does not count.

    Attributes:
        connect: for a connection to the server.
        read: for any byte of a stream; the server's pings, every 15 s, count. Any other answer has to be whole in it.
        first_token: from the request of an answer to its first token, the queue included.
        idle: for the next event after the first token; pings do not count.
        total: for the whole stream.

    Raises:
        ConfigurationError: if a value is not a number above 0 (and below a billion), or None.
    """

    connect: float | None = 10
    read: float | None = 45
    first_token: float | None = 300
    idle: float | None = 120
    total: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if not _is_number(value, int, float) or not 0 < value < _LONGEST:
                raise ConfigurationError(f"timeout: {item.name} must be seconds above 0, or None, not {show(value)}")

    @classmethod
    def from_value(cls, value: Timeout | float | None) -> Timeout:
        """
        Read the `timeout` argument: None is the defaults, a number sets `connect` and `read`.

        Raises:
            ConfigurationError: if it is neither, nor a `Timeout`.
        """
        if value is None:
            return cls()
        if isinstance(value, Timeout):
            return value
        if not _is_number(value, int, float):
            raise ConfigurationError(f"timeout must be seconds, a Timeout or None, not {show(value)}")
        return cls(connect=value, read=value)


#: seconds; a socket takes no more than some 9 billion.
_LONGEST = 1e9


def show(value: object) -> str:
    """Return a value for an error message, not too long; Python refuses to write very large numbers."""
    try:
        text = repr(value)
    except ValueError:
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """Return a half sentence with the nearest of the known names, or with all of them."""
    # Not before it is needed: it takes as long to load as the rest of this module.
    from difflib import get_close_matches

    near = get_close_matches(name if isinstance(name, str) else "", known, n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; known are {', '.join(known)}"


_TEXT = (str, type(None))
#: Half of a pair that is not joined to the other: no file and no terminal takes it.
SURROGATE = re.compile("[\ud800-\udfff]")


def _is_number(value: object, *types: type) -> bool:
    """Whether a value is of one of the types; True and False are no numbers here."""
    return isinstance(value, types) and not isinstance(value, bool)


def _split(cls: type[Any], data: Any, noun: str, *ours: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the fields of a JSON object in those that the class has, but for those of `ours`, and the rest."""
    if not isinstance(data, Mapping):
        raise ProtocolError(f"{noun}: expected an object, the server sent {type(data).__name__}")
    names = {item.name for item in fields(cls)} - {"extra", *ours}
    known = {name: value for name, value in data.items() if name in names}
    return known, {name: value for name, value in data.items() if name not in names}


def _check_type(values: Mapping[str, Any], noun: str, types: Any, *names: str, required: tuple[str, ...] = ()) -> None:
    for name in required:
        if name not in values:
            raise ProtocolError(f"{noun}: the server sent no {name}")
    for name in (*required, *names):
        if name in values and (not isinstance(values[name], types) or isinstance(values[name], bool)):
            raise ProtocolError(f"{noun}: {name} has the wrong type {type(values[name]).__name__}")


def _utc(value: Any) -> datetime | None:
    """Read the server's naive UTC time, `2026-11-22T15:27:56.203290`, whose fraction may be missing."""
    try:
        time = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
