"""How long to wait."""

import math
from dataclasses import dataclass, fields

from oa_client._values.argument import is_number, show
from oa_client._values.errors import ConfigurationError

#: seconds; a socket takes no more than some 9 billion.
_LONGEST = 1e9


@dataclass(frozen=True, slots=True)
class Timeout:
    """
    Limits of waiting, in seconds; None sets no limit. Time that your program takes between tokens does not count.

    Attributes:
        connect: until the server is connected; one limit for all its addresses.
        read: until the next byte of a stream, where the server's pings (every 15 s) count; until the whole of any other
            response.
        first_token: from asking for an answer to its first token, including the queue.
        idle: until the next event after the first token; pings do not count.
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
            if not is_number(value, int, float) or not 0 < value < _LONGEST:
                raise ConfigurationError(f"timeout: {item.name} must be seconds above 0, or None, not {show(value)}")

    @classmethod
    def from_value(cls, value: "Timeout | float | None") -> "Timeout":
        """
        Read the `timeout` argument: None gives the defaults, a number sets `connect` and `read`.

        Raises:
            ConfigurationError: if it is neither, nor a `Timeout`.
        """
        if value is None:
            return cls()
        if isinstance(value, Timeout):
            return value
        if not is_number(value, int, float):
            raise ConfigurationError(f"timeout must be seconds, a Timeout or None, not {show(value)}")
        return cls(connect=value, read=value)


def closing_time(timeout: float | None) -> float:
    """
    Check the `timeout` of `Client.close()`, and return it in seconds: None becomes infinity.

    Raises:
        ConfigurationError: if it is not a time.
    """
    if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout >= 0):
        raise ConfigurationError("timeout must be seconds, 0 or more, or None")
    return math.inf if timeout is None else timeout
