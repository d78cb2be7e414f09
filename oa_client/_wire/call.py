"""One request, as a value, and how to read its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from oa_client._values.argument import show
from oa_client._values.errors import ConfigurationError
from oa_client._wire.limits import ID_LIMIT

T = TypeVar("T")

#: Paths of the inference server that need no credentials.
_OPEN_PATHS = ("/auth/callback/", "/auth/providers", "/auth/trusted", "/configs/")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One request, and how to read its answer.

    Attributes:
        method: the HTTP method.
        path: below the base URL.
        parse: makes the result from the JSON of the answer, which is None if the body is empty.
        query: the query of the URL.
        body: sent as JSON; None sends no body at all.
        body_limit: bytes; the client refuses to send a longer body.
        is_stream: whether the answer is an event stream, which can be read only once.
        on_failure: the likely meaning of a 500 without a reason.
        is_renewal: whether the answer is a User and sets the session cookies that the client uses from then on.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    body_limit: int | None = None
    is_stream: bool = False
    on_failure: str = ""
    is_renewal: bool = False

    def encode(self) -> bytes | None:
        """
        Return the encoded body.

        Raises:
            ConfigurationError: if it cannot be written as JSON, or is too long.
        """
        if self.body is None:
            return None
        try:
            data = json.dumps(self.body, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"an argument cannot be written as JSON: {error}") from error
        if self.body_limit is not None and len(data) >= self.body_limit:
            raise ConfigurationError(
                f"the message is too long: it has {len(data)} bytes, and the server takes less than {self.body_limit}"
            )
        return data

    @property
    def is_read(self) -> bool:
        """Whether the call changes nothing, so that it can be repeated."""
        return self.method == "GET" and not self.is_stream

    @property
    def is_public(self) -> bool:
        """Whether the call needs no credentials, so that its success says nothing about them."""
        return self.path.startswith(_OPEN_PATHS)


def check_id(name: str, value: Any) -> None:
    """
    Refuse a value that cannot be the id of a chat or message.

    Raises:
        ConfigurationError: if it is not a printable string of a sensible length.
    """
    if not is_id(value):
        noun = "chat" if name == "chat_id" else "message"
        raise ConfigurationError(f"{name} must be the id of a {noun}, not {show(value)}")


def is_id(value: Any) -> bool:
    """Return whether a value can be an id, which goes into paths."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= ID_LIMIT and bool(value.strip("."))
