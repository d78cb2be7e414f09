"""Read a value from a JSON object, and write it as one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

from oa_client._values.errors import ProtocolError

#: Types of a field that may be null.
TEXT = (str, type(None))
OBJECT = (Mapping, type(None))
#: A lone half of a surrogate pair: no file and no terminal takes it.
SURROGATE = re.compile("[\ud800-\udfff]")


def without_halves(text: str) -> str:
    """Return a text that can be printed, with a replacement character for each lone half of a pair."""
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def split(cls: type[Any], data: Any, noun: str, *ours: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Split the fields of a JSON object into those of the class, except `ours`, and the rest.

    Raises:
        ProtocolError: if it is not an object.
    """
    if not isinstance(data, Mapping):
        raise ProtocolError(f"{noun}: expected an object, not {type(data).__name__}")
    names = {item.name for item in fields(cls)} - {"extra", *ours}
    known = {name: value for name, value in data.items() if name in names}
    return known, {name: value for name, value in data.items() if name not in names}


def check_type(values: Mapping[str, Any], noun: str, types: Any, *names: str, required: tuple[str, ...] = ()) -> None:
    """
    Check the types of the fields that are present; True and False are not integers.

    Raises:
        ProtocolError: if a field has another type, or a required one is missing.
    """
    for name in required:
        if name not in values:
            raise ProtocolError(f"{noun}: it has no {name}")
    for name in (*required, *names):
        if name not in values:
            continue
        value = values[name]
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise ProtocolError(f"{noun}: {name} has the wrong type {type(value).__name__}")


def join(value: Any) -> dict[str, Any]:
    """Return all fields of a value, and its `extra`, so that `split` and `read_times` read them back."""
    known = {item.name: getattr(value, item.name) for item in fields(value) if item.name != "extra"}
    for name, item in known.items():
        if isinstance(item, datetime):
            known[name] = as_utc(item).isoformat()
    # A time that could not be read is None, and in `extra` under its own name.
    return {**known, **{name: item for name, item in value.extra.items() if known.get(name) is None}}


def clean(values: dict[str, Any], name: str) -> None:
    """Replace lone halves of surrogate pairs in a text, so that it can be encoded."""
    if values.get(name):
        values[name] = without_halves(values[name])


def read_times(values: dict[str, Any], extra: dict[str, Any], *names: str) -> None:
    """Turn fields into times; a field that cannot be read becomes None, and goes to `extra` as it came."""
    for name in names:
        value = values.pop(name, None)
        values[name] = read_time(value)
        if value is not None and values[name] is None:
            extra[name] = value


def read_time(value: Any) -> datetime | None:
    """Read an aware time, or the server's naive UTC `2026-11-22T15:27:56.203290`, whose fraction may be missing."""
    try:
        time = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def as_utc(time: datetime) -> datetime:
    """Return an aware time; a naive one is taken for UTC, as it is on the wire."""
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time
