"""
When a call may be sent again.

None of the POSTs is idempotent: repeated, they make a second chat, a fork or another draft. So a call is repeated only
if it cannot have had an effect: no connection was made, or the server refused it (429, 503; the message that a 503
leaves behind is never worked on). A read is also repeated when a proxy lost the answer (502, 504); the event stream is
not, since its first reader takes the events with it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, TypeVar

from oa_client._values.errors import APIError, BusyError, ConfigurationError, RateLimitError, TransportError
from oa_client._wire.call import Call

#: seconds before the first repetition, doubled before each further one; half of it is chance.
FIRST_DELAY = 0.5
#: seconds; the longest wait. A server that asks for more is not asked again.
LONGEST_DELAY = 30.0

_T = TypeVar("_T")
_log = logging.getLogger("oa_client")


class Retry:
    """
    Repeats calls.

    Args:
        max_retries: how often a call is repeated; 0 never.

    Raises:
        ConfigurationError: if that is not a whole number of 0 or more.
    """

    def __init__(self, max_retries: int) -> None:
        if not isinstance(max_retries, int) or isinstance(max_retries, bool) or max_retries < 0:
            raise ConfigurationError(f"max_retries must be a whole number of 0 or more, not {max_retries!r}")
        self._max_retries = max_retries

    def run(
        self, call: Call[Any], send: Callable[[], _T], left: Callable[[], float], wait: Callable[[float], bool]
    ) -> _T:
        """
        Send a call, and again while that is safe and may help.

        Args:
            call: what `send` sends.
            send: sends it once.
            left: tells how many seconds a wait may take.
            wait: waits for so many seconds, and returns whether that was interrupted.

        Raises:
            OAError: what `send` raised the last time.
        """
        delay = FIRST_DELAY
        for number in range(1, self._max_retries + 1):
            try:
                return send()
            except (APIError, TransportError) as error:
                pause = _wait(call, error, delay * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing
                if pause is None or pause >= left():
                    raise
                _log.info("%s; try %d of %d in %.1f s", error, number + 1, self._max_retries + 1, pause)
                if wait(pause):
                    raise
                delay = min(2 * delay, LONGEST_DELAY)
        return send()


def _wait(call: Call[Any], error: APIError | TransportError, delay: float) -> float | None:
    """Return the seconds to wait before the call is sent again, None if it must not be."""
    if isinstance(error, TransportError):
        return delay if error.is_unsent else None
    if isinstance(error, (RateLimitError, BusyError)) and error.status in (429, 503):
        wait = delay if error.retry_after is None else max(delay, error.retry_after)
        return wait if wait <= LONGEST_DELAY else None
    return delay if error.status in (502, 504) and call.is_read else None
