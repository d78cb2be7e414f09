"""What the people who ran the real server could set, seen from a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from oa_client.local import LocalServer, Settings
from tests.local.support import PATIENCE, Puppet, User


class Watch:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """The time, in seconds since 1970."""
        return self.now


@pytest.fixture
def watch() -> Watch:
    """The time of the server."""
    return Watch()


@pytest.fixture(params=["inference", "website"])
def serve(request: pytest.FixtureRequest, puppet: Puppet, watch: Watch) -> Any:
    """Make a server with the puppet and some settings, and its user on each surface in turn."""

    @contextmanager
    def serve(**settings: Any) -> Iterator[User]:
        server = LocalServer(puppet, settings=Settings(pending_event_interval=0.01, **settings))
        server._clock = watch
        with server:
            yield User(server, request.param)
            puppet.release()

    return serve


def told(user: User, response: Any) -> tuple[int, Any]:
    """The status and the reason of a refusal."""
    body = response.json()
    return response.status_code, body["message" if user.surface == "website" else "detail"]


def seen(events: Any, kind: str) -> dict[str, Any]:
    """The next event of a kind."""
    return next(event for event in events if event["event_type"] == kind)


def test_a_prompt_has_so_many_characters(serve: Any) -> None:
    """Code points count, not bytes; one more is refused, in an unknown chat too."""
    with serve(message_max_length=3) as user:
        chat_id = user.create()
        refused = [user.post_prompt(where, content="🙂🙂🙂🙂") for where in (chat_id, "unknown")]
        taken = user.post_prompt(chat_id, content="🙂🙂🙂")

        assert [told(user, one) for one in refused] == [(413, "Message content exceeds max length")] * 2
        assert taken.status_code == 200


def test_a_chat_has_so_many_messages(serve: Any, puppet: Puppet) -> None:
    """Prompts and answers count; the other of the two is refused as well."""
    with serve(chat_max_messages=2) as user:
        chat_id, answer_id = user.ask("hi")
        puppet.play("hi").finish("ho")
        parent_id = user.wait_for(chat_id, answer_id, "complete")["parent_id"]
        refused = [
            user.post_prompt(chat_id, parent_id=answer_id, content="more"),
            user.post_answer(chat_id, parent_id=parent_id),
        ]

        assert [told(user, one) for one in refused] == [(413, "Maximum number of messages reached for this chat")] * 2
        assert len(user.chat(chat_id).json()["messages"]) == 2


def test_too_many_requests_look_like_a_breakdown(serve: Any, watch: Watch) -> None:
    """Failed requests count, prompts do not; the window lasts a minute longer than is set, from the first one on."""
    with serve(rate_limit=(3, 4)) as user:
        other = User(user.server, user.surface, "other")
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="hi").json()["id"]
        statuses = [user.post_answer(chat_id, parent_id=prompt, model_config_name="gpt-5").status_code]
        watch.now += 3
        statuses += [user.post_answer(chat_id, parent_id=prompt).status_code for _ in range(2)]
        watch.now += 60.9
        refused = user.post_answer(chat_id, parent_id=prompt)
        others = other.ask("hi")
        watch.now += 0.2
        again = user.post_answer(chat_id, parent_id=prompt)

        assert statuses == [422, 200, 200]
        assert refused.status_code == 500
        if user.surface == "website":
            assert refused.json() == {"message": "Something went wrong"}
        else:
            assert refused.text == "Internal Server Error"
        assert all(others)
        assert again.status_code == 200


def test_a_full_queue_leaves_a_stub(serve: Any, puppet: Puppet) -> None:
    """It is refused with 503, stays in the chat, pending, and its stream has nothing but pending events."""
    with serve(work_queue_max_size=1) as user:
        chat_id, running = user.ask("hi")
        assert puppet.play("hi").started.wait(PATIENCE)
        parent_id = user.message(chat_id, running).json()["parent_id"]
        waiting = user.post_answer(chat_id, parent_id=parent_id).json()
        refused = user.post_answer(chat_id, parent_id=parent_id)
        stub = user.chat(chat_id).json()["messages"][-1]
        with user.events(chat_id, stub["id"]) as events:
            first = events.next()
            puppet.play("hi").finish("1")
            puppet.play("hi").finish("2")
            user.wait_for(chat_id, waiting["id"], "complete")
            later = [events.next() for _ in range(20)][-1]
        again = user.post_answer(chat_id, parent_id=parent_id)

        assert told(user, refused) == (503, "The server is currently busy. Please try again later.")
        assert (stub["state"], stub["parent_id"]) == ("pending", parent_id)
        assert first == {"event_type": "pending", "queue_position": 0, "queue_size": 1}
        assert later == {"event_type": "pending", "queue_position": 0, "queue_size": 0}
        assert again.status_code == 200


def test_unread_tokens_expire(serve: Any, puppet: Puppet, watch: Watch) -> None:
    """A late reader gets only those that came after the pause, and the message whole."""
    with serve(message_queue_expire=60) as user:
        chat_id, answer_id = user.ask("hi")
        play = puppet.play("hi")
        play.say_and_wait("a", "b")
        user.settle()
        watch.now += 61
        play.say_and_wait("c")
        with user.events(chat_id, answer_id) as events:
            text = seen(events, "token")["text"]
            play.finish()
            last = seen(events, "message")

        assert text == "c"
        assert last["message"]["content"] == "abc"


def test_tokens_expire_with_none_after_them(serve: Any, puppet: Puppet, watch: Watch) -> None:
    """Who comes after the pause finds nothing but the end."""
    with serve(message_queue_expire=60) as user:
        chat_id, answer_id = user.ask("hi")
        puppet.play("hi").say_and_wait("a")
        user.settle()
        watch.now += 61
        with user.events(chat_id, answer_id) as events:
            first = events.next()
            puppet.play("hi").finish()
            last = seen(events, "message")

        assert first["event_type"] == "pending"
        assert last["message"]["content"] == "a"


def test_the_place_in_the_queue_is_forgotten(serve: Any, puppet: Puppet, watch: Watch) -> None:
    """After the same time; the length of the queue is not."""
    with serve(message_queue_expire=60, assistant_message_timeout=0) as user:
        user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        waiting = user.ask("two")
        with user.events(*waiting) as events:
            before = events.next()
            watch.now += 61
            while (after := events.next())["queue_position"]:
                continue

        assert before == {"event_type": "pending", "queue_position": 1, "queue_size": 1}
        assert after == {"event_type": "pending", "queue_position": 0, "queue_size": 1}


def test_an_answer_that_waits_too_long_times_out(serve: Any, puppet: Puppet, watch: Watch) -> None:
    """
    Only when its turn comes: an error event, once; then pending events for ever, as for a cancelled one.

    The same prompt can be answered anew.
    """
    with serve(assistant_message_timeout=3) as user:
        running = user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        chat_id, answer_id = user.ask("two")
        watch.now += 3.1
        before = user.message(chat_id, answer_id).json()
        with user.events(chat_id, answer_id) as events:
            puppet.play("one").finish("1")
            last = seen(events, "error")
            rest = list(events)
        user.wait_for(*running, "complete")
        with user.events(chat_id, answer_id) as events:
            later = [events.next()["event_type"] for _ in range(3)]
        follow_up = user.post_prompt(chat_id, parent_id=answer_id, content="more")
        again = user.post_answer(chat_id, parent_id=before["parent_id"]).json()
        puppet.play("two").finish("2")
        user.wait_for(chat_id, again["id"], "complete")

        assert before["state"] == "pending"
        assert last["error"] == "Timeout"
        assert (last["message"]["state"], last["message"]["content"]) == ("timeout", None)
        assert rest == []
        assert later == ["pending"] * 3
        assert told(user, follow_up) == (400, "Parent message is not complete")


def test_a_cancelled_answer_times_out_too(serve: Any, puppet: Puppet, watch: Watch) -> None:
    """Its age is looked at before its state, as on the real server."""
    with serve(assistant_message_timeout=3) as user:
        user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        cancelled = user.ask("two")
        with user.events(*cancelled) as events:
            last = user.ask("three")
            watch.now += 3.1
            puppet.play("one").finish("1")
            error = seen(events, "error")
        user.wait_for(*last, "timeout")

        assert error["message"]["state"] == "timeout"


def test_only_some_models_are_allowed(serve: Any) -> None:
    """The list has no others, and the refusal names them as they were set, also those that are not here."""
    with serve(allowed_model_config_names=("OA_SFT_Llama_30B_6", "distilgpt2")) as user:
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="hi").json()["id"]
        answers = {
            name: user.post_answer(chat_id, parent_id=prompt, model_config_name=name)
            for name in ("puppet", "distilgpt2", "OA_SFT_Llama_30B_6")
        }
        path = "/api/chat/models" if user.surface == "website" else "/configs/model_configs"
        listed = [model["name"] for model in user.send("GET", path).json()]

        allowed = "Model puppet not in allowed models: OA_SFT_Llama_30B_6,distilgpt2"
        assert told(user, answers["puppet"]) == (422, allowed)
        assert told(user, answers["distilgpt2"]) == (422, "Model distilgpt2 not found")
        assert answers["OA_SFT_Llama_30B_6"].status_code == 200
        assert listed == ["OA_SFT_Llama_30B_6"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"message_max_length": 0}, "message_max_length must be 1 or more, or None, not 0"),
        ({"chat_max_messages": -1}, "chat_max_messages must be 1 or more, or None, not -1"),
        ({"work_queue_max_size": 0}, "work_queue_max_size must be 1 or more"),
        ({"rate_limit": (0, 600)}, "rate_limit must be 1 or more"),
        ({"rate_limit": (20, -1)}, "rate_limit must be a time"),
        ({"message_queue_expire": float("nan")}, "message_queue_expire must be a time, 0 or more, not nan"),
        ({"assistant_message_timeout": -1}, "assistant_message_timeout must be a time"),
        ({"refresh_token_minutes": -1}, "refresh_token_minutes must be a time"),
        ({"pending_event_interval": 0}, "must be above 0"),
        ({"ping_interval": 0}, "must be above 0"),
        ({"allowed_model_config_names": "lorem"}, "a collection of names"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    """Before anything is opened, with the name of the setting."""
    with pytest.raises(ValueError, match=reason):
        Settings(**settings)
