"""Answers: the queue, the events, and what stops them."""

from __future__ import annotations

import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from oa_client.local import LocalServer, Settings
from oa_client.local._models.registry import BACKENDS
from tests.local.support import PATIENCE, Events, Puppet, User


def test_an_answer_is_streamed_piece_by_piece(user: User, puppet: Puppet) -> None:
    """Each piece is there as soon as it is written, empty ones too, and the message ends the stream."""
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    with user.events(chat_id, answer_id) as events:
        texts = []
        for piece in ("Hello", "", " wörld", "\n\r\u2028data: x"):
            play.say(piece)
            event = events.next()
            while event["event_type"] == "pending":
                event = events.next()
            texts.append(event["text"])
        play.finish()
        last = list(events)

    assert texts == ["Hello", "", " wörld", "\n\r\u2028data: x"]
    assert [event["event_type"] for event in last] == ["message"]
    assert last[0]["message"]["content"] == "Hello wörld\n\r\u2028data: x"
    assert last[0]["message"] == {
        **user.message(chat_id, answer_id).json(),
        "work_parameters": last[0]["message"]["work_parameters"],
    }


def test_content_is_null_until_the_answer_is_complete(user: User, puppet: Puppet) -> None:
    """An answer in progress shows nothing of its text."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").say("Hello")
    with user.events(chat_id, answer_id) as events:
        while events.next()["event_type"] == "pending":
            continue
        before = user.message(chat_id, answer_id).json()
        puppet.play("hi").finish()
        list(events)

    assert (before["state"], before["content"]) == ("in_progress", None)
    assert user.message(chat_id, answer_id).json()["state"] == "complete"


def test_halves_of_a_character_are_joined_in_the_message(user: User, puppet: Puppet) -> None:
    """Surrogates pass as they come, and the message holds the whole character, or U+FFFD for a lone half."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").finish("\ud83d", "\ude42", "\ud83d")
    with user.events(chat_id, answer_id) as events:
        received = [event for event in events if event["event_type"] != "pending"]

    assert [event.get("text") for event in received] == ["\ud83d", "\ude42", "\ud83d", None]
    assert received[-1]["message"]["content"] == "🙂\ufffd"
    assert user.message(chat_id, answer_id).json()["content"] == "🙂\ufffd"


def test_the_model_is_asked_the_thread_from_its_root(user: User, puppet: Puppet) -> None:
    """The system text comes first, then the turns that lead to the prompt, without its siblings."""
    chat_id, first = user.ask("one")
    puppet.play("one").finish("1")
    user.wait_for(chat_id, first, "complete")
    fork = user.post_prompt(chat_id, parent_id=first, content="fork").json()
    prompt = user.post_prompt(chat_id, parent_id=first, content="two").json()
    answer = user.post_answer(
        chat_id,
        parent_id=prompt["id"],
        system_prompt="Be brief.",
        user_profile="A cook",
        user_response_instructions="In rhyme",
        sampling_parameters={"temperature": 0.5},
    ).json()
    play = puppet.play("two")
    assert play.started.wait(PATIENCE)
    play.finish()
    user.wait_for(chat_id, answer["id"], "complete")

    assert fork["parent_id"] == first
    assert play.messages == [
        {"role": "system", "content": "Be brief.\nAbout the user: A cook\nHow to answer: In rhyme"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    assert play.sampling == {
        "top_k": None,
        "top_p": None,
        "typical_p": None,
        "temperature": 0.5,
        "repetition_penalty": None,
        "max_new_tokens": 1024,
    }


def test_those_who_wait_are_told_their_place(user: User, puppet: Puppet) -> None:
    """The answer being written is at 0; drafts behind it count from 1, and move up when it is done."""
    chat_id, first = user.ask("hi")
    assert puppet.play("hi").started.wait(PATIENCE)
    parent_id = user.message(chat_id, first).json()["parent_id"]
    drafts = [user.post_answer(chat_id, parent_id=parent_id).json()["id"] for _ in range(2)]
    with (
        user.events(chat_id, first) as events,
        user.events(chat_id, drafts[0]) as events_1,
        user.events(chat_id, drafts[1]) as events_2,
    ):
        places = [stream.next() for stream in (events, events_1, events_2)]
        puppet.play("hi").finish("done")
        while (moved := events_2.next())["queue_position"] == 2:
            continue

    assert places == [
        {"event_type": "pending", "queue_position": 0, "queue_size": 2},
        {"event_type": "pending", "queue_position": 1, "queue_size": 2},
        {"event_type": "pending", "queue_position": 2, "queue_size": 2},
    ]
    assert moved == {"event_type": "pending", "queue_position": 1, "queue_size": 1}


def test_each_model_has_a_queue_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a model's answers nor those that wait for it keep another one's waiting, or count as before them."""
    models = small, big = Puppet(slots=2), Puppet()
    small.name, big.name = "small", "big"
    monkeypatch.setitem(BACKENDS, "two", lambda: models)
    with LocalServer("two", settings=Settings(pending_event_interval=0.01, work_queue_max_size=1)) as server:
        users = [User(server, "inference", f"user {number}") for number in range(5)]
        users[0].ask("one", model="small")
        assert small.play("one").started.wait(PATIENCE)
        running = users[1].ask("two", model="big")
        assert big.play("two").started.wait(PATIENCE)
        waiting = users[2].ask("three", model="big")
        beside = users[3].ask("four", model="small")
        assert small.play("four").started.wait(PATIENCE)
        next_one = users[4].ask("five", model="small")
        with (
            users[1].events(*running) as events,
            users[2].events(*waiting) as events_1,
            users[3].events(*beside) as events_2,
            users[4].events(*next_one) as events_3,
        ):
            places = [stream.next() for stream in (events, events_1, events_2, events_3)]
        for puppet in models:
            puppet.release()

    assert [(place["queue_position"], place["queue_size"]) for place in places] == [(0, 1), (1, 1), (0, 1), (1, 1)]


def test_pending_events_stop_with_the_first_packet(user: User, puppet: Puppet) -> None:
    """A reader that has seen a token hears no pending event afterwards, while one who waits does."""
    chat_id, answer_id = user.ask("hi")
    parent_id = user.message(chat_id, answer_id).json()["parent_id"]
    draft = user.post_answer(chat_id, parent_id=parent_id).json()
    with user.events(chat_id, answer_id) as events, user.events(chat_id, draft["id"]) as other:
        assert events.next()["event_type"] == "pending"
        puppet.play("hi").say("a")
        while events.next()["event_type"] == "pending":
            continue
        # Longer than the first reader would have to wait for another one.
        other_saw = [other.next()["event_type"] for _ in range(20)]
        puppet.play("hi").finish()
        rest = [event["event_type"] for event in events]

    assert set(other_saw) == {"pending"}
    assert rest == ["message"]


def test_a_second_reader_goes_on_where_the_first_has_left(user: User, puppet: Puppet) -> None:
    """What was read does not come again, what was not waits; the model writes on while nobody reads."""
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    with user.events(chat_id, answer_id) as events:
        play.say("a")
        while (event := events.next())["event_type"] == "pending":
            continue
    user.settle()
    play.finish("b", "c")
    # The end waits, so that the answer cannot be over before the second reader is there.
    assert event["text"] == "a"
    assert play.ended.wait(PATIENCE)
    assert user.wait_for(chat_id, answer_id, "complete")["content"] == "abc"


def test_unread_pieces_wait_for_the_next_reader(server: LocalServer, puppet: Puppet) -> None:
    """A second reader of an unfinished answer gets exactly the pieces that the first one did not: see test_traps."""
    user = User(server, "inference")
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    with user.events(chat_id, answer_id) as events:
        play.say("a")
        while events.next()["event_type"] == "pending":
            continue
    user.until_nobody_reads()
    play.say("b", "c")
    with user.events(chat_id, answer_id) as events:
        received = [events.next(), events.next()]
        play.finish("d")
        received += list(events)

    texts = [event["text"] for event in received if event["event_type"] == "token"]
    assert texts == ["b", "c", "d"]
    assert received[-1]["message"]["content"] == "abcd"


def test_two_readers_share_the_pieces(user: User, puppet: Puppet) -> None:
    """Each piece goes to one of them, and only one gets the end."""
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    received: dict[str, list[str]] = {"a": [], "b": []}
    ended = threading.Event()

    def read(name: str, events: Events) -> None:
        try:
            for event in events:
                if event["event_type"] != "pending":
                    received[name].append(event.get("text", "the end"))
            ended.set()
        except Exception:  # the server closes while the other one still waits
            return

    with user.events(chat_id, answer_id) as one, user.events(chat_id, answer_id) as two:
        threads = [threading.Thread(target=read, args=pair) for pair in (("a", one), ("b", two))]
        for thread in threads:
            thread.start()
        play.finish(*"0123456789")
        assert ended.wait(PATIENCE)
        user.server.close()
        for thread in threads:
            thread.join(PATIENCE)

    both = received["a"] + received["b"]
    assert sorted(both) == [*"0123456789", "the end"]
    assert [received[name] for name in "ab"] == [
        sorted(received[name], key=lambda text: "9z" if text == "the end" else text) for name in "ab"
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(RuntimeError("out of memory"), "out of memory", id="with a text"),
        pytest.param(KeyError(), "KeyError", id="without a text"),
        pytest.param(b"bytes", "the model wrote bytes instead of text", id="something else than text"),
    ],
)
def test_an_error_of_the_model_ends_the_answer(user: User, puppet: Puppet, error: object, text: str) -> None:
    """It becomes the error event, and the message is aborted with no content."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").say("a", error)
    with user.events(chat_id, answer_id) as events:
        received = [event for event in events if event["event_type"] != "pending"]

    assert [event["event_type"] for event in received] == ["token", "error"]
    assert received[1]["error"] == text
    assert received[1]["message"]["state"] == "aborted_by_worker"
    assert user.message(chat_id, answer_id).json()["content"] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_an_error_too(user: User, puppet: Puppet) -> None:
    """A backend that ends its thread aborts its answer and frees its slot."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").say(SystemExit())
    with user.events(chat_id, answer_id) as events:
        last = list(events)[-1]
    again = user.ask("again")
    puppet.play("again").finish("yes")

    assert (last["event_type"], last["error"]) == ("error", "the model stopped without a reason")
    assert user.wait_for(*again, "complete")["content"] == "yes"


def test_a_finished_answer_has_no_events(user: User, puppet: Puppet) -> None:
    """Read or not, they are gone when the answer is complete: 204, or an empty 200 on the website."""
    chat_id, answer_id = user.ask("hi")
    puppet.play("hi").finish("unread")
    user.wait_for(chat_id, answer_id, "complete")
    response = user.send("GET", user.events_path(chat_id, answer_id))

    assert response.status_code == (200 if user.surface == "website" else 204)
    assert response.content == b""


def test_deleting_the_chat_stops_the_model_within_one_token(user: User, puppet: Puppet) -> None:
    """The model writes one more piece at most, nobody hears it, and the slot is free again."""
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    with user.events(chat_id, answer_id) as events:
        play.say("a")
        while events.next()["event_type"] == "pending":
            continue
        user.delete(chat_id)
        play.say("b", "c")
        assert play.ended.wait(PATIENCE)
        again = user.ask("again")
        puppet.play("again").finish("yes")
        user.wait_for(*again, "complete")
        left = play.lines.qsize()
        user.server.close()
        heard = list(events)

    assert left == 1
    assert heard == []
    assert play.cancelled is not None
    assert play.cancelled.is_set()


def test_a_waiting_answer_of_a_deleted_chat_is_dropped(user: User, puppet: Puppet) -> None:
    """It is never begun, and the next one is."""
    first = user.ask("one")
    assert puppet.play("one").started.wait(PATIENCE)
    waiting = user.ask("two")
    user.delete(waiting[0])
    puppet.play("one").finish("1")
    user.wait_for(*first, "complete")
    third = user.ask("three")
    puppet.play("three").finish("3")
    user.wait_for(*third, "complete")

    assert not puppet.play("two").started.is_set()


def test_closing_the_server_stops_the_model_within_one_token(user: User, puppet: Puppet) -> None:
    """Close waits for the model, which writes one more piece at most, and what waits is never begun."""
    chat_id, answer_id = user.ask("hi")
    play = puppet.play("hi")
    parent_id = user.message(chat_id, answer_id).json()["parent_id"]
    with user.events(chat_id, answer_id) as events:
        play.say("a")
        while events.next()["event_type"] == "pending":
            continue
        user.post_answer(chat_id, parent_id=parent_id)
        closing = threading.Thread(target=user.server.close)
        closing.start()
        assert play.cancelled is not None
        assert play.cancelled.wait(PATIENCE)
        play.say("b", "c")
        closing.join(PATIENCE)

        assert not closing.is_alive()
        assert play.ended.is_set()
        assert play.lines.qsize() == 1
        assert list(events) == []


def test_close_is_prompt_with_readers_attached() -> None:
    """A reader that waits, and one that has stopped reading, do not hold the server up."""
    puppet = Puppet(slots=2)
    with LocalServer(puppet) as server:
        user = User(server, "inference")
        waiting = user.ask("waiting")
        assert puppet.play("waiting").started.wait(PATIENCE)
        stuck = user.ask("stuck")
        address = urlsplit(server.url)
        request = (
            f"GET {user.events_path(*stuck)} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {server.token}\r\n\r\n"
        )
        with user.events(*waiting), socket.create_connection((str(address.hostname), address.port or 0)) as reader:
            reader.sendall(request.encode())
            assert reader.recv(12) == b"HTTP/1.1 200"
            play = puppet.play("stuck")
            play.finish(*["x" * 1_000_000] * 30)
            assert play.ended.wait(PATIENCE)
            user.wait_for(*stuck, "complete")
            puppet.release()
            begun = time.monotonic()
            server.close()
            took = time.monotonic() - begun

    assert took < 5


def test_a_second_question_cancels_the_first_while_it_waits(user: User, puppet: Puppet) -> None:
    """Pending answers to other prompts are cancelled and never begun; drafts and those in progress go on."""
    first = user.ask("one")
    assert puppet.play("one").started.wait(PATIENCE)
    second = user.ask("two")
    third = user.ask("three")
    parent_id = user.message(*third).json()["parent_id"]
    draft: tuple[str, str] = (third[0], user.post_answer(third[0], parent_id=parent_id).json()["id"])
    states = [user.message(*answer).json()["state"] for answer in (first, second, third, draft)]
    with user.events(*second) as events:
        before = events.next()
        puppet.play("one").finish("1")
        puppet.play("three").finish("3")
        puppet.play("three").finish("3")
        for chat_id, answer_id in (first, third, draft):
            user.wait_for(chat_id, answer_id, "complete")
        while (after := events.next())["queue_size"]:
            continue

    assert states == ["in_progress", "cancelled", "pending", "pending"]
    assert before == {"event_type": "pending", "queue_position": 1, "queue_size": 3}
    assert after == {"event_type": "pending", "queue_position": 0, "queue_size": 0}
    assert not puppet.play("two").started.is_set()


def test_a_stream_pings() -> None:
    """Comments come in between, whatever else flows."""
    puppet = Puppet()
    with LocalServer(puppet, settings=Settings(pending_event_interval=60, ping_interval=0.01)) as server:
        user = User(server, "inference")
        with user.events(*user.ask("hi")) as events:
            line = next(line for line in events.response.iter_lines(chunk_size=1) if line)
            puppet.play("hi").finish()

    assert line.startswith(b": ping - ")
