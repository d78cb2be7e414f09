"""How long a reply may keep its reader waiting."""

from __future__ import annotations

import contextlib
import math
from time import monotonic

import pytest

from oa_client import Timeout, TransportTimeout
from oa_client._calls.clock import Clock

LIMITS = Timeout(first_token=10, idle=4, total=100)


def asked(timeout: Timeout) -> Clock:
    """A clock that counts for the first token."""
    clock = Clock(timeout)
    clock.ask()
    return clock


def test_new_clock() -> None:
    """A clock starts with the limit for all alone; that for the first token comes with the question."""
    clock = Clock(LIMITS)
    before = clock.left
    clock.ask()

    assert (100, "first_token", 10, 100, 10) == (
        before,
        clock.phase,
        clock.phase_left,
        clock.total_left,
        clock.left,
    )


def test_clock_without_limits() -> None:
    """Without limits there is always infinitely much left, and no check fails."""
    clock = asked(Timeout(first_token=None, idle=None, total=None))
    clock.spend(1e9)
    clock.check()
    clock.token()
    clock.spend(1e9)
    clock.event()
    clock.check()

    assert (math.inf, math.inf, math.inf) == (clock.left, clock.phase_left, clock.total_left)


def test_the_nearer_limit_counts() -> None:
    """What is left is the smaller of the phase's and the total."""
    clock = asked(Timeout(first_token=10, total=3))

    assert 3 == clock.left


def test_ask_starts_anew() -> None:
    """Asking for the answer gives the first token its whole time, and the total none."""
    clock = asked(LIMITS)
    clock.spend(9)
    clock.ask()

    assert (10, 91) == (clock.phase_left, clock.total_left)


def test_events_before_the_first_token() -> None:
    """An event before the first token gives no more time."""
    clock = asked(LIMITS)
    clock.spend(9)
    clock.event()

    assert ("first_token", 1) == (clock.phase, clock.phase_left)


def test_first_token() -> None:
    """The first token starts the limit between events."""
    clock = asked(LIMITS)
    clock.spend(9)
    clock.token()

    assert ("idle", 4, 91) == (clock.phase, clock.phase_left, clock.total_left)


def test_events_after_the_first_token() -> None:
    """Each event after the first token starts the limit between events anew."""
    clock = asked(LIMITS)
    clock.token()
    clock.spend(3)
    clock.event()

    assert (4, 97) == (clock.phase_left, clock.total_left)


def test_waiting_counts() -> None:
    """Time inside `waiting` is counted in the phase and in the total alike."""
    clock = asked(LIMITS)
    with clock.waiting():
        started = monotonic()
        while monotonic() == started:
            pass

    assert 0 < 10 - clock.phase_left < 10
    assert math.isclose(10 - clock.phase_left, 100 - clock.total_left, abs_tol=1e-6)


def test_waiting_counts_when_it_fails() -> None:
    """Time inside `waiting` is counted also if it ends with an error."""
    clock = asked(LIMITS)
    with contextlib.suppress(KeyError), clock.waiting():
        started = monotonic()
        while monotonic() == started:
            pass
        raise KeyError

    assert clock.total_left < 100


def test_time_outside_waiting_does_not_count() -> None:
    """Time that the consumer takes is not counted."""
    clock = asked(LIMITS)
    started = monotonic()
    while monotonic() == started:
        pass
    clock.check()

    assert (10, 100) == (clock.phase_left, clock.total_left)


@pytest.mark.parametrize(
    ("timeout", "tokens", "seconds", "phase", "words"),
    [
        pytest.param(LIMITS, 0, 10, "first_token", "no token came in 10 s", id="first token"),
        pytest.param(LIMITS, 1, 4, "idle", "nothing but pings came in 4 s", id="idle"),
        pytest.param(Timeout(first_token=10, total=2.5), 0, 2.5, "total", "not complete in 2.5 s", id="total"),
        pytest.param(Timeout(idle=10, total=2.5), 1, 3, "total", "not complete in 2.5 s", id="total after a token"),
        pytest.param(Timeout(first_token=5, total=5), 0, 5, "total", "not complete in 5 s", id="both at once"),
    ],
)
def test_passed_limit(timeout: Timeout, tokens: int, seconds: float, phase: str, words: str) -> None:
    """A limit that is reached raises an error that names it and says how long it was."""
    clock = asked(timeout)
    if tokens:
        clock.token()
    clock.spend(seconds)

    with pytest.raises(TransportTimeout) as caught:
        clock.check()
    assert phase == caught.value.phase
    assert words in str(caught.value)
    assert f"Timeout.{phase}" in str(caught.value)


def test_limit_that_is_not_reached() -> None:
    """A moment before its limit a clock raises nothing."""
    clock = asked(LIMITS)
    clock.spend(9.999)
    clock.check()

    assert clock.left > 0
