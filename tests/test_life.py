"""How far a reply has come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oa_client import APIError, BusyError, OAError, RequestError, TransportError
from oa_client._calls.life import Life, State


def api_error(kind: type[APIError], status: int) -> APIError:
    """An answer of the server that is an error."""
    return kind("no", status=status, detail="no", method="POST", path="/")


def unsent() -> TransportError:
    """An error before anything was sent."""
    error = TransportError("no")
    error.is_unsent = True
    return error


@pytest.mark.parametrize(
    ("error", "progress"),
    [
        pytest.param(TransportError("lost"), State.ASKED, id="no answer"),
        pytest.param(api_error(APIError, 502), State.ASKED, id="a proxy lost it"),
        pytest.param(unsent(), State.NEW, id="not sent"),
        pytest.param(api_error(APIError, 500), State.NEW, id="trouble"),
        pytest.param(api_error(RequestError, 400), State.REFUSED, id="refused"),
        pytest.param(api_error(BusyError, 503), State.REFUSED, id="full"),
    ],
)
def test_request_that_failed(error: OAError, progress: State) -> None:
    """An error says whether the server may have taken the request, unless it has named the answer before."""
    life = Life()
    life.ask()
    life.fail(error)
    assert progress is life.progress

    life.take("m1", None)
    life.fail(error)
    assert State.QUEUED is life.progress


@pytest.mark.parametrize("end", [Life.begin, Life.settle])
def test_answer_that_is_not_pending(end: Callable[[Life], None]) -> None:
    """Others may ask as soon as an answer is written, or final, and are told once."""
    told: list[None] = []
    life = Life()
    life.take("m1", lambda: told.append(None))
    assert [] == told

    end(life)
    life.settle()
    assert [None] == told


def test_leaving() -> None:
    """A user can leave at any time before the end, which keeps how far the reply has come, and nothing undoes it."""
    life = Life()
    life.ask()
    life.leave()
    life.take("m1", None)
    states = [life.state, life.progress]
    for step in (life.settle, life.end):
        step()
        states.append(life.state)

    assert [State.LEFT, State.QUEUED, State.LEFT, State.GONE] == states
