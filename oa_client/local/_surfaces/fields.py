"""
The fields of request bodies: the values that they take, and the server's words for wrong ones.

The words, and the leniency (a number passes for a text, "on" for true), are those of pydantic 1.10, which checks the
real server's requests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from oa_client.local._surfaces.refusals import BreakdownError, RefusalError

TITLE_CHARACTERS = 100
#: levels of nested values; deeper ones could be stored, but not sent again
MOST_LEVELS = 100
#: errors until the rest of a list is skipped: each takes a hundred times the memory of a wrong item
MOST_ERRORS = 100
TRUE_WORDS = frozenset({"1", "on", "t", "true", "y", "yes"})
FALSE_WORDS = frozenset({"0", "off", "f", "false", "n", "no"})


class InvalidError(Exception):
    """One or more wrong values of a field, as the server reports them."""

    def __init__(self, *errors: dict[str, Any]) -> None:
        super().__init__(*errors)
        self.errors = errors


@dataclass(frozen=True)
class Field:
    """The values that a field takes, and its default."""

    read: Callable[[Any], Any]
    required: bool = False
    nullable: bool = False
    default: Any = None


def read_body(body: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    """
    Read the fields of a body; others are ignored.

    Raises:
        RefusalError: 422 with the list of errors, as the server sends it.
        BreakdownError: if a text cannot be stored, or a number is not finite.
    """
    try:
        return _read_fields(body, fields)
    except InvalidError as invalid:
        raise RefusalError(422, [{**error, "loc": ["body", *error["loc"]]} for error in invalid.errors]) from None


def invalid(message: str, kind: str, *loc: str | int, **context: Any) -> dict[str, Any]:
    """Return one entry of the list of errors."""
    error: dict[str, Any] = {"loc": list(loc), "msg": message, "type": kind}
    if context:
        error["ctx"] = context
    return error


def read_text(value: Any) -> str:
    """Read a text, or a number as a text."""
    if isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidError(invalid("str type expected", "type_error.str"))
    # PostgreSQL, where the real server keeps it, stores neither.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise BreakdownError(empty=True)
    return value


def read_title(value: Any) -> str:
    """Read a text of at most `TITLE_CHARACTERS`."""
    title = read_text(value)
    if len(title) > TITLE_CHARACTERS:
        raise InvalidError(
            invalid(
                f"ensure this value has at most {TITLE_CHARACTERS} characters",
                "value_error.any_str.max_length",
                limit_value=TITLE_CHARACTERS,
            )
        )
    return title


def read_boolean(value: Any) -> bool:
    """Read true, false, or one of the words for them."""
    word = str(value).lower() if isinstance(value, (bool, int, float, str)) else ""
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise InvalidError(invalid("value could not be parsed to a boolean", "type_error.bool"))


def read_integer(value: Any) -> int:
    """Read an integer; cut off a fraction."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InvalidError(invalid("value is not a valid integer", "type_error.integer")) from None
    except OverflowError:  # infinity, which JSON's 1e999 becomes
        raise BreakdownError(empty=True) from None


def read_number(value: Any) -> float:
    """Read a finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidError(invalid("value is not a valid float", "type_error.float")) from None
    except OverflowError:
        raise BreakdownError(empty=True) from None
    if not math.isfinite(number):
        raise BreakdownError(empty=True)
    return number


def read_choice(*choices: str) -> Callable[[Any], str]:
    """Make a reader of one of some words."""

    def read(value: Any) -> str:
        if value not in choices:
            permitted = ", ".join(map(repr, choices))
            raise InvalidError(
                invalid(
                    f"value is not a valid enumeration member; permitted: {permitted}",
                    "type_error.enum",
                    enum_values=list(choices),
                )
            )
        return str(value)

    return read


def read_raw(value: Any) -> Any:
    """Read any JSON value, of at most `MOST_LEVELS`."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [item for outer in level for item in _items(outer)]
    if level:
        raise BreakdownError(empty=True)
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise BreakdownError(empty=True) from None
    return value


def read_object(value: Any) -> dict[str, Any]:
    """Read an object, whatever its contents."""
    return dict(read_raw(_as_object(value)))


def read_fields(fields: Mapping[str, Field]) -> Callable[[Any], dict[str, Any]]:
    """Make a reader of an object that has these fields; others are ignored."""
    return partial(_read_fields, fields=fields)


def read_list(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """Make a reader of a list whose items `read` takes; skip the rest after `MOST_ERRORS`."""

    def read_items(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidError(invalid("value is not a valid list", "type_error.list"))
        items: list[Any] = []
        errors: list[dict[str, Any]] = []
        for index, item in enumerate(value):
            try:
                items.append(read(item))
            except InvalidError as error:
                errors += [{**one, "loc": [index, *one["loc"]]} for one in error.errors]
                if len(errors) >= MOST_ERRORS:
                    break
        if errors:
            raise InvalidError(*errors)
        return items

    return read_items


def _items(value: Any) -> Iterable[Any]:
    """Return the values directly in a list or an object."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _as_object(value: Any) -> dict[str, Any]:
    if value == []:  # pydantic makes a dict of it
        return {}
    if not isinstance(value, dict):
        raise InvalidError(invalid("value is not a valid dict", "type_error.dict"))
    return value


def _read_fields(body: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    given = _as_object(body)
    values: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    for name, field in fields.items():
        if name not in given:
            values[name] = field.default
            if field.required:
                errors.append(invalid("field required", "value_error.missing", name))
        elif given[name] is None:
            values[name] = None
            if not field.nullable:
                errors.append(invalid("none is not an allowed value", "type_error.none.not_allowed", name))
        else:
            try:
                values[name] = field.read(given[name])
            except InvalidError as error:
                errors += [{**one, "loc": [name, *one["loc"]]} for one in error.errors]
    if errors:
        raise InvalidError(*errors)
    return values
