"""The chat page's way to stop an answer, which neither surface has."""

from __future__ import annotations

import pytest
import requests

from oa_client.local import LocalServer
from tests.local.support import Puppet, User


def stop(user: User, message_id: str, method: str = "POST", **headers: str) -> requests.Response:
    """Ask for it as the page does."""
    cookies = {"next-auth.session-token": user.session}
    return requests.request(
        method, f"{user.server.url}/chat/stop?message_id={message_id}", cookies=cookies, headers=headers, timeout=30
    )


@pytest.mark.parametrize("plugins", [False, True])
def test_the_answer_ends_with_its_text_so_far(user: User, puppet: Puppet, plugins: bool) -> None:
    """Whoever reads it gets that as the last event; the model is cancelled, and the chat can go on."""
    question = "It is known that 6*7 = 42.\n\nWhat is 6*7?" if plugins else "What is 6*7?"
    play = puppet.play(question)
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, parent_id=None, content="What is 6*7?").json()
    listed = User(user.server, "website").send("GET", "/api/chat/plugins").json()
    answer = user.post_answer(chat_id, parent_id=prompt["id"], plugins=listed[:1] if plugins else []).json()
    play.say("4", "2")
    with user.events(chat_id, answer["id"]) as events:
        read = ""
        while read != "42":
            read += events.next().get("text", "")
        stopped = stop(user, answer["id"]).json()
        *_, last = events
    stored = user.message(chat_id, answer["id"]).json()

    assert (stored["state"], stored["content"]) == ("complete", "42")
    assert (stored["used_plugin"] is not None) == plugins
    assert (last["event_type"], last["message"]["content"], stopped["content"]) == ("message", "42", "42")
    assert play.cancelled is not None
    assert play.cancelled.is_set()
    assert user.post_prompt(chat_id, parent_id=answer["id"], content="And?").status_code == 200
    play.finish("!")
    play.ended.wait()
    user.settle()
    assert user.message(chat_id, answer["id"]).json() == stored


def test_an_answer_that_waits_is_never_begun(user: User, puppet: Puppet) -> None:
    """It is empty, and the next one gets its turn."""
    first = puppet.play("first")
    first_chat, first_id = user.ask("first")
    first.started.wait()
    chat_id, message_id = user.ask("second")
    stopped = stop(user, message_id).json()
    first.finish("1")
    user.wait_for(first_chat, first_id, "complete")
    puppet.play("third").finish("3")
    third_chat, third_id = user.ask("third")
    user.wait_for(third_chat, third_id, "complete")

    assert (stopped["state"], stopped["content"]) == ("complete", "")
    assert user.message(chat_id, message_id).json()["content"] == ""
    assert not puppet.play("second").started.is_set()


def test_a_finished_answer_stays_as_it_is(user: User, puppet: Puppet) -> None:
    """Stopping comes too late, and says what there is."""
    puppet.play("Why?").finish("so")
    chat_id, message_id = user.ask("Why?")
    before = user.wait_for(chat_id, message_id, "complete")

    assert stop(user, message_id).json()["content"] == "so"
    assert user.message(chat_id, message_id).json() == before


def test_nobody_else_can_stop_it(server: LocalServer, puppet: Puppet) -> None:
    """No other user, nobody without a session, and no page of another address."""
    play = puppet.play("Why?")
    user, other = User(server, "website"), User(server, "website", "jane")
    chat_id, message_id = user.ask("Why?")
    play.say_and_wait("Be")
    stranger = requests.post(f"{server.url}/chat/stop?message_id={message_id}", timeout=30)
    answers = [
        stop(other, message_id),
        stranger,
        stop(user, message_id, "GET"),
        stop(user, message_id, **{"Sec-Fetch-Site": "same-site"}),
        stop(user, message_id, Origin="http://127.0.0.1:1"),
        stop(user, "nothing"),
        stop(user, user.chat(chat_id).json()["messages"][0]["id"]),
    ]

    assert [answer.status_code for answer in answers] == [404, 403, 405, 403, 403, 404, 404]
    assert play.cancelled is not None
    assert not play.cancelled.is_set()
