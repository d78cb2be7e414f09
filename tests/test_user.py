"""Who is signed in, from both servers' answers."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from oa_client import ProtocolError, User

NO_USERS: list[Any] = [None, [], 5, True]
SESSION: dict[str, Any] = {
    "user": {
        "name": "Ada",
        "email": "ada@example.org",
        "image": None,
        "role": "general",
        "isNew": False,
        "tosAcceptanceDate": "2026-11-01T00:00:00",
    },
    "expires": "2026-12-22T15:00:00.000Z",
    "inference": {"isAuthenticated": True},
}


def test_user_of_the_website() -> None:
    """A session is read into its user and its end; the rest of both is in `extra`."""
    extra = {
        "isNew": False,
        "tosAcceptanceDate": "2026-11-01T00:00:00",
        "inference": {"isAuthenticated": True},
    }
    end = datetime(2026, 12, 22, 15, tzinfo=timezone.utc)

    assert User(None, "Ada", "ada@example.org", None, "general", end, extra) == User.from_json(SESSION)


def test_user_of_the_inference_server() -> None:
    """A bare string is the id, and nothing else is known."""
    assert User("u1") == User.from_json("u1")


def test_user_with_an_id_on_the_website() -> None:
    """An id is taken where a website tells one, and every other field may be missing."""
    assert User("u1") == User.from_json({"user": {"id": "u1"}})


def test_source_is_not_changed() -> None:
    """Reading a session leaves the JSON object as it was."""
    before = {**SESSION, "user": dict(SESSION["user"])}
    User.from_json(SESSION)

    assert before == SESSION


@pytest.mark.parametrize("value", [pytest.param("soon", id="word"), pytest.param(5, id="number")])
def test_unreadable_end(value: Any) -> None:
    """A session's end that cannot be read is None, and kept under its name."""
    user = User.from_json({"user": {}, "expires": value})

    assert User(extra={"expires": value}) == user


def test_end_that_is_null() -> None:
    """A session without an end leaves nothing in `extra`."""
    assert User() == User.from_json({"user": {}, "expires": None})


def test_field_of_our_name() -> None:
    """A server's field that has the name of one of ours does no harm."""
    assert {"expires_at": 5} == User.from_json({"user": {"expires_at": 5}}).extra


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({}, "session: it has no user", id="not signed in"),
        pytest.param({"expires": "x"}, "session: it has no user", id="no user"),
        pytest.param({"user": None}, "session: user ", id="user null"),
        pytest.param({"user": "u1"}, "session: user ", id="user string"),
        *(
            pytest.param({"user": {name: 5}}, f"user: {name} ", id=f"{name} number")
            for name in ("id", "name", "email", "image", "role")
        ),
        *(
            pytest.param(value, f"user: expected an id or a session, not {type(value).__name__}", id=repr(value))
            for value in NO_USERS
        ),
    ],
)
def test_malformed_user(data: Any, words: str) -> None:
    """What is neither an id nor a session with a user is refused, and the error says what came."""
    with pytest.raises(ProtocolError, match=f"^{words}"):
        User.from_json(data)
