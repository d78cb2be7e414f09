"""Chats and pages of them, from the server's JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oa_client import ChatInfo, ChatPage, ProtocolError
from tests.recorded import recorded_json, recorded_objects

FULL: dict[str, Any] = {
    "id": "c1",
    "created_at": "2026-11-22T15:27:58.624746",
    "modified_at": "2026-11-22T15:27:59",
    "title": "New title",
    "hidden": True,
    "allow_data_use": False,
    "active_thread_tail_message_id": "m1",
}
TIMES = st.none() | st.datetimes().map(datetime.isoformat) | st.text()
CHATS = st.fixed_dictionaries(
    {"id": st.text()},
    optional={
        **dict.fromkeys(["created_at", "modified_at"], TIMES),
        **dict.fromkeys(["title", "active_thread_tail_message_id"], st.none() | st.text()),
        **dict.fromkeys(["hidden", "allow_data_use"], st.booleans()),
        **dict.fromkeys(["novelty", "extra"], st.integers() | st.lists(st.text())),
    },
)


def test_every_field_of_a_chat() -> None:
    """A chat has every field of the protocol as it came, and its times as aware UTC times."""
    chat = ChatInfo.from_json(FULL)

    times = {
        "created_at": datetime(2026, 11, 22, 15, 27, 58, 624746, timezone.utc),
        "modified_at": datetime(2026, 11, 22, 15, 27, 59, 0, timezone.utc),
    }
    assert ChatInfo(**{**FULL, **times}) == chat
    assert {"extra", *FULL} == {item.name for item in fields(ChatInfo)}
    assert {} == chat.extra


def test_every_recorded_chat() -> None:
    """Each chat that the real servers sent is read without loss, and written as it came but for the form of times."""
    count = 0
    for data in recorded_objects("id", "allow_data_use"):
        chat = ChatInfo.from_json(data)
        count += 1
        times = {name: getattr(chat, name).isoformat() for name in ("created_at", "modified_at")}

        assert {**data, **times} == {**chat.to_json(), **({"messages": data["messages"]} if "messages" in data else {})}
        assert {} == chat.extra
    assert count > 100


def test_chat_with_messages() -> None:
    """The messages that come with one chat are no part of what is known of it."""
    assert ChatInfo("c1") == ChatInfo.from_json({"id": "c1", "messages": [{"id": "m1"}]})


def test_updated_chat() -> None:
    """A recorded chat has what was stored, a tail that is no message included."""
    tails = {
        (chat.title, chat.hidden, chat.active_thread_tail_message_id)
        for chat in map(ChatInfo.from_json, recorded_objects("allow_data_use", "messages", name="update_chat"))
    }

    assert ("", False, "nope") in tails
    assert {True, False} == {hidden for _, hidden, _ in tails}


@settings(deadline=None)
@given(CHATS)
def test_chat_to_json_and_back(data: dict[str, Any]) -> None:
    """What a chat is written as is JSON, and reads back to an equal one, whatever the server sent."""
    chat = ChatInfo.from_json(data)

    assert chat == ChatInfo.from_json(json.loads(json.dumps(chat.to_json())))


def test_unreadable_times() -> None:
    """A time that cannot be read is None and kept as it came, beside the fields that are not known."""
    chat = ChatInfo.from_json({**FULL, "created_at": 5, "modified_at": "yesterday", "novelty": 1})

    assert (None, None) == (chat.created_at, chat.modified_at)
    assert {"created_at": 5, "modified_at": "yesterday", "novelty": 1} == chat.extra


def test_half_a_surrogate_pair_in_the_title() -> None:
    """Half of a surrogate pair in the title is shown as the replacement character, so that it can be encoded."""
    assert "a\ufffd" == ChatInfo.from_json({"id": "c1", "title": "a\ud83d"}).title


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("id", None, id="id null"),
        pytest.param("id", 5, id="id number"),
        pytest.param("title", 1, id="title number"),
        pytest.param("hidden", None, id="hidden null"),
        pytest.param("hidden", 1, id="hidden number"),
        pytest.param("allow_data_use", "true", id="allow_data_use string"),
        pytest.param("active_thread_tail_message_id", {}, id="tail object"),
    ],
)
def test_wrongly_typed_field(name: str, value: Any) -> None:
    """A field of a wrong type is refused, and the error names it."""
    with pytest.raises(ProtocolError, match=rf"^chat: {name} "):
        ChatInfo.from_json({**FULL, name: value})


def test_missing_id() -> None:
    """A chat without an id is refused, and the error names the field."""
    with pytest.raises(ProtocolError, match=r"^chat: it has no id$"):
        ChatInfo.from_json({})


def test_every_recorded_page() -> None:
    """Each page that the real servers sent has its chats in their order, and its cursors as they came."""
    count = 0
    for data in recorded_json("list_chats"):
        if not isinstance(data, dict) or "chats" not in data:
            continue
        page = ChatPage.from_json(data)
        count += 1

        assert [chat["id"] for chat in data["chats"]] == [chat.id for chat in page.chats]
        assert (data["next"], data["prev"]) == (page.next, page.prev)
        assert {} == page.extra
    assert count > 10


def test_page_with_unknown_fields() -> None:
    """What this version does not know of a page is in `extra`; the cursors may be missing."""
    assert ChatPage(extra={"total": 5}) == ChatPage.from_json({"chats": [], "total": 5})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({}, "page of chats: it has no chats", id="no chats"),
        pytest.param({"chats": None}, "page of chats: chats ", id="chats null"),
        pytest.param({"chats": [], "next": 5}, "page of chats: next ", id="next number"),
        pytest.param({"chats": [], "prev": []}, "page of chats: prev ", id="prev list"),
        pytest.param({"chats": [5]}, "chat: expected an object", id="chat number"),
    ],
)
def test_malformed_page(data: Any, words: str) -> None:
    """A page of a wrong shape is refused, and the error names the field."""
    with pytest.raises(ProtocolError, match=f"^{words}"):
        ChatPage.from_json(data)
