"""
When a call may be sent again.

None of the POSTs is idempotent: repeated, they make a second chat, a fork or another draft. So a call is repeated only
if it cannot have had an effect: no connection was made, or the server refused it (429, 503; the message that a 503
leaves behind is never worked on). A read is also repeated when a proxy lost the answer (502, 504); the event stream is
not, since its first reader takes the events with it.
"""

from __future__ import annotations

import random
from typing import Any

from oa_client._calls.clock import growing_pause
from oa_client._values.errors import APIError, BusyError, ConfigurationError, RateLimitError, TransportError
from oa_client._wire.call import Call

#: seconds before the first repetition, doubled before each further one; half of it is chance.
FIRST_DELAY = 0.5
#: seconds; the longest wait. A server that asks for more is not asked again.
LONGEST_DELAY = 30.0


def check_max_retries(value: Any) -> int:
    """
    Return how often a call may be repeated.

    Raises:
        ConfigurationError: if it is not a whole number of 0 or more.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"max_retries must be a whole number of 0 or more, not {value!r}")
    return value


def pause_before(repetition: int, call: Call[Any], error: APIError | TransportError) -> float | None:
    """
    Return the seconds to wait before a call that failed is sent again; None if it must not be.

    Args:
        repetition: its number, from 1 on.
        call: to be repeated.
        error: of the last attempt.
    """
    delay = growing_pause(repetition - 1, FIRST_DELAY, LONGEST_DELAY)
    delay *= random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
    if isinstance(error, TransportError):
        return delay if error.is_unsent else None
    if isinstance(error, (RateLimitError, BusyError)) and error.status in (429, 503):
        wait = delay if error.retry_after is None else max(delay, error.retry_after)
        return wait if wait <= LONGEST_DELAY else None
    return delay if error.status in (502, 504) and call.is_read else None
