"""What users say about answers: votes, evaluations and reports."""

from __future__ import annotations

from typing import Any

import pytest

from oa_client.local import LocalServer
from tests.local.support import Puppet, User

UNKNOWN = "06b00000-0000-7000-8000-000000000000"


@pytest.fixture
def answer(user: User, puppet: Puppet) -> tuple[str, str]:
    """The ids of a chat and of a finished answer in it."""
    answer = user.ask("hi")
    puppet.play("hi").finish("hello")
    user.wait_for(*answer, "complete")
    return answer


def vote(user: User, chat_id: str, message_id: str, score: object) -> tuple[int, str]:
    """Vote: the status and the text of the answer."""
    if user.surface == "website":
        body = {"chat_id": chat_id, "message_id": message_id, "score": score}
        answer = user.send("POST", "/api/chat/vote", json=body)
    else:
        answer = user.send("POST", f"/chats/{chat_id}/messages/{message_id}/votes", json={"score": score})
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("score", "kept", "website"),
    [
        pytest.param(1, 1, True, id="1"),
        pytest.param(-1, -1, True, id="-1"),
        pytest.param(0, 0, True, id="0"),
        pytest.param(1.0, 1, True, id="1.0"),
        pytest.param("1", 1, False, id="text"),
        pytest.param(-0.5, 0, False, id="fraction"),
        pytest.param(True, 1, False, id="true"),
        pytest.param(2, None, False, id="2"),
        pytest.param(None, None, False, id="null"),
    ],
)
def test_a_vote(user: User, answer: tuple[str, str], score: object, kept: int | None, website: bool) -> None:
    """It is the message's score. The website takes three numbers, the inference server what can be made one."""
    vote(user, *answer, -1 if kept != -1 else 1)
    before = user.message(*answer).json()["score"]
    status, text = vote(user, *answer, score)

    if user.surface == "website":
        assert (status, text) == ((200, '""') if website else (400, "Invalid score"))
        assert user.message(*answer).json()["score"] == (kept if website else before)
    else:
        assert status == (200 if kept is not None else 500 if score == 2 else 422)
        assert user.message(*answer).json()["score"] == (before if kept is None else kept)


@pytest.mark.parametrize("whose", ["prompt", "unknown", "foreign"])
def test_a_vote_on_what_is_no_answer_of_ones_own(user: User, answer: tuple[str, str], whose: str) -> None:
    """A 500 without a reason, and the score stays."""
    chat_id, message_id = answer
    voter = User(user.server, user.surface, "other") if whose == "foreign" else user
    targets = {"prompt": user.message(*answer).json()["parent_id"], "unknown": UNKNOWN, "foreign": message_id}
    status, text = vote(voter, chat_id, targets[whose], 1)

    assert (status, text) == (500, "Internal Server Error" if user.surface == "website" else "")
    assert [message["score"] for message in user.chat(chat_id).json()["messages"]] == [0, 0]


def test_a_vote_does_not_look_at_the_chat(user: User, answer: tuple[str, str]) -> None:
    """Only the message counts."""
    assert vote(user, UNKNOWN, answer[1], 1)[0] == 200
    assert user.message(*answer).json()["score"] == 1


@pytest.mark.parametrize(
    ("ids", "inference"),
    [
        pytest.param([], 200, id="none"),
        pytest.param(["nothing", 5], 200, id="unknown ones"),
        pytest.param("x", 422, id="not a list"),
        pytest.param([None], 422, id="not an id"),
        pytest.param(None, 422, id="null"),
    ],
)
def test_an_evaluation(user: User, answer: tuple[str, str], ids: Any, inference: int) -> None:
    """The ids of the inferior messages are not checked; the website gives no reasons."""
    chat_id, message_id = answer
    if user.surface == "website":
        body = {"chat_id": chat_id, "message_id": message_id, "inferior_message_ids": ids}
        done = user.send("POST", "/api/chat/message_eval", json=body)

        assert (done.status_code, done.text) == ((200, '""') if inference == 200 else (500, "Internal Server Error"))
    else:
        path = f"/chats/{chat_id}/messages/{message_id}/message_evals"
        done = user.send("POST", path, json={"inferior_message_ids": ids})

        assert done.status_code == inference


def test_reports_are_kept_in_their_order(server: LocalServer, puppet: Puppet) -> None:
    """Each with an id of its own, on the message and in its chat, but not on a prompt."""
    user = User(server, "inference")
    chat_id, message_id = user.ask("hi")
    path = f"/chats/{chat_id}/messages/{{}}/reports"
    said = [("spam", "because"), ("offensive", ""), ("feedback", "good")]
    for report_type, reason in said:
        body = {"report_type": report_type, "reason": reason}
        assert user.send("POST", path.format(message_id), json=body).status_code == 200
    refused = user.send("POST", path.format(message_id), json={"report_type": ["spam"], "reason": "x"})
    prompt_id = user.message(chat_id, message_id).json()["parent_id"]
    on_prompt = user.send("POST", path.format(prompt_id), json={"report_type": "spam", "reason": "x"})
    reports = user.message(chat_id, message_id).json()["reports"]

    assert [(report["report_type"], report["reason"]) for report in reports] == said
    assert [list(report) for report in reports] == [["id", "report_type", "reason"]] * 3
    assert len({report["id"] for report in reports}) == 3
    assert user.chat(chat_id).json()["messages"][1]["reports"] == reports
    assert refused.status_code == 422
    assert (on_prompt.status_code, on_prompt.text) == (500, "")
