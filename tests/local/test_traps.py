"""What the real server does to clients that do not expect it, and what this one spares its other users."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from oa_client.local import LocalServer, Settings
from oa_client.local._answers.job import Job
from tests.local.recordings import Clock
from tests.local.support import PATIENCE, Events, Play, Puppet, User, workers_of


def tokens(events: Events, count: int) -> list[str]:
    """The texts of the next tokens."""
    found: list[str] = []
    while len(found) < count:
        if (event := events.next())["event_type"] == "token":
            found.append(event["text"])
    return found


def leave(user: User, answer: tuple[str, str], play: Play, text: str) -> None:
    """Read an answer up to one token, and leave."""
    with user.events(*answer) as events:
        play.say(text)
        assert tokens(events, 1) == [text]
    if user.surface == "website":
        user.until_haunted(answer[1], 1)
    else:
        user.until_nobody_reads()


@pytest.fixture
def patient(puppet: Puppet) -> Iterator[LocalServer]:
    """A server without pending events, on which readers keep their turn."""
    with LocalServer(puppet, settings=Settings(pending_event_interval=PATIENCE)) as server:
        yield server
        puppet.release()


@pytest.mark.parametrize(("readers", "heard"), [(1, "13579"), (2, "258"), (3, "37")])
def test_the_website_reads_on_for_those_who_have_left(
    patient: LocalServer, puppet: Puppet, readers: int, heard: str
) -> None:
    """Who comes back gets every second token, or every third after two have left, and so on; all are stored."""
    user = User(patient, "website")
    answer = user.ask("hi")
    play = puppet.play("hi")
    for number in range(readers):
        with user.events(*answer):
            user.settle()
        user.until_haunted(answer[1], number + 1)
    with user.events(*answer) as events:
        user.settle()
        for digit in "0123456789":
            # One by one: each goes to whoever has waited longest.
            play.say_and_wait(digit)
            user.settle()
        received = tokens(events, len(heard))
        play.finish()
        stored = user.wait_for(*answer, "complete")

    assert "".join(received) == heard
    assert stored["content"] == "0123456789"


def test_the_end_may_go_to_one_who_has_left(patient: LocalServer, puppet: Puppet) -> None:
    """Then nothing more comes, not even the end of the stream; the message is complete."""
    user = User(patient, "website")
    answer = user.ask("hi")
    play = puppet.play("hi")
    leave(user, answer, play, "a")
    with user.events(*answer) as events:
        user.settle()
        play.say_and_wait("b")
        user.settle()
        play.say_and_wait("c")
        assert tokens(events, 1) == ["c"]
        user.settle()
        play.finish()
        user.wait_for(*answer, "complete")
        patient.close()
        rest = list(events)

    assert rest == []


def test_the_inference_server_does_not(server: LocalServer, puppet: Puppet) -> None:
    """Who comes back there gets every token, however often readers have left."""
    user = User(server, "inference")
    answer = user.ask("hi")
    play = puppet.play("hi")
    for text in "abc":
        leave(user, answer, play, text)
    play.say("d", "e", "f")
    with user.events(*answer) as events:
        received = tokens(events, 3)
        play.finish("g")
        last = list(events)

    assert received == ["d", "e", "f"]
    assert [event["event_type"] for event in last] == ["token", "message"]


def test_head_eats_the_stream(server: LocalServer, puppet: Puppet) -> None:
    """On the website any method reads the events; HEAD shows none of them, and they are gone."""
    user = User(server, "website")
    answer = user.ask("hi")
    play = puppet.play("hi")
    play.say_and_wait("a", "b")
    head = user.send("HEAD", user.events_path(*answer))
    user.until(lambda: workers_of(server)._jobs[answer[1]].empty)
    with user.events(*answer) as events:
        first = events.next()

    assert head.status_code == 200
    assert first["event_type"] == "pending"


def test_nobody_reads_on_when_nothing_can_come(server: LocalServer, puppet: Puppet) -> None:
    """Readers for those who have left end with the answer, or with its chat."""
    user = User(server, "website")
    finished = user.ask("one")
    for number in range(2):
        with user.events(*finished):
            user.settle()
        user.until_haunted(finished[1], number + 1)
    puppet.play("one").finish("1")
    user.wait_for(*finished, "complete")
    deleted = user.ask("two")
    assert puppet.play("two").started.wait(PATIENCE)
    with user.events(*deleted):
        user.settle()
    user.until_haunted(deleted[1], 1)
    user.delete(deleted[0])
    user.settle()
    gc.collect()
    ids = {job.message_id for job in gc.get_objects() if isinstance(job, Job) and job.ghosts}

    assert ids & {finished[1], deleted[1]} == set()


def test_nobody_reads_on_in_a_cancelled_answer(server: LocalServer, puppet: Puppet) -> None:
    """Who reads for a client that has left goes when its turn has passed, and for who leaves later nobody comes."""
    user = User(server, "website")
    user.ask("one")
    assert puppet.play("one").started.wait(PATIENCE)
    cancelled = user.ask("two")
    with user.events(*cancelled) as events:
        events.next()
    user.until_haunted(cancelled[1], 1)
    last = user.ask("three")
    puppet.play("one").finish("1")
    puppet.play("three").finish("3")
    user.wait_for(*last, "complete")
    user.until_nobody_reads()
    for _ in range(3):
        with user.events(*cancelled) as events:
            events.next()

    user.until_nobody_reads()
    assert user.message(*cancelled).json()["state"] == "cancelled"


def test_nobody_reads_on_in_an_answer_that_was_never_queued(puppet: Puppet) -> None:
    """Nothing will come of what a full queue has left in the chat."""
    settings = Settings(pending_event_interval=0.01, work_queue_max_size=1)
    with LocalServer(puppet, settings=settings) as server:
        user = User(server, "website")
        chat_id, running = user.ask("hi")
        assert puppet.play("hi").started.wait(PATIENCE)
        parent_id = user.message(chat_id, running).json()["parent_id"]
        statuses = [user.post_answer(chat_id, parent_id=parent_id).status_code for _ in range(2)]
        stub = user.chat(chat_id).json()["messages"][-1]["id"]
        for _ in range(3):
            with user.events(chat_id, stub) as events:
                events.next()
        user.until_nobody_reads()
        puppet.release()

    assert statuses == [200, 503]


def test_nobody_reads_on_when_the_end_has_expired(puppet: Puppet) -> None:
    """The end of an answer that timed out is forgotten in its time, with all that was kept of it."""
    clock = Clock()
    settings = Settings(pending_event_interval=0.01, assistant_message_timeout=3, message_queue_expire=0.01)
    server = LocalServer(puppet, settings=settings)
    server._clock = clock
    with server:
        user = User(server, "website")
        running = user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        late = user.ask("two")
        clock.now += 4
        puppet.play("one").finish("1")
        user.wait_for(*running, "complete")
        user.wait_for(*late, "timeout")
        kept = late[1] in workers_of(server)._jobs
        clock.now += 1
        with user.events(*late) as events:
            events.next()
        user.until_nobody_reads()
        user.until(lambda: late[1] not in workers_of(server)._jobs)
        puppet.release()

    assert kept


def test_an_end_that_was_read_is_not_kept(puppet: Puppet) -> None:
    """Nothing is left in memory of an answer that timed out and whose error somebody has read."""
    clock = Clock()
    settings = Settings(pending_event_interval=0.01, assistant_message_timeout=3)
    server = LocalServer(puppet, settings=settings)
    server._clock = clock
    with server:
        user = User(server, "inference")
        user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        late = user.ask("two")
        clock.now += 4
        puppet.play("one").finish("1")
        with user.events(*late) as events:
            last = list(events)[-1]
        with user.events(*late) as events:
            again = events.next()
        jobs = list(workers_of(server)._jobs)
        puppet.release()

    assert (last["event_type"], again["event_type"]) == ("error", "pending")
    assert jobs == []


def test_the_website_rounds_the_seed(server: LocalServer, puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its JSON passes through JavaScript, its streams do not; the inference server gives it exactly."""
    seed = 17_893_467_231_902_874_229
    monkeypatch.setattr("oa_client.local._answers.assistant.secrets.randbelow", lambda limit: seed)
    user, direct = User(server, "website"), User(server, "inference")
    chat_id = user.create()
    prompt = user.post_prompt(chat_id, content="hi").json()["id"]
    asked = {"temperature": 1.0, "top_p": 0.95, "top_k": 10**400}
    answer = user.post_answer(chat_id, parent_id=prompt, sampling_parameters=asked)
    puppet.play("hi").finish("ho")
    with user.events(chat_id, answer.json()["id"]) as events:
        last = list(events)[-1]["message"]
    parameters = [message["work_parameters"] for message in (answer.json(), last)]
    exact = direct.message(chat_id, last["id"]).json()["work_parameters"]

    assert [one["seed"] for one in (*parameters, exact)] == [17_893_467_231_902_874_000, seed, seed]
    assert '"temperature":1,' in answer.text
    assert '"top_k":null,"top_p":0.95,' in answer.text


def test_whoever_reads_an_answer_of_a_deleted_chat_is_told_nothing(user: User, puppet: Puppet) -> None:
    """While it waits: pending events for ever, at its old place. Afterwards its message and its stream are 500."""
    running = user.ask("one")
    assert puppet.play("one").started.wait(PATIENCE)
    waiting = user.ask("two")
    with user.events(*waiting) as events:
        user.delete(waiting[0])
        seen = [events.next() for _ in range(5)]
        puppet.play("one").finish("1")
        user.wait_for(*running, "complete")
        while (later := events.next())["queue_size"]:
            continue
    again = [user.message(*waiting), user.send("GET", user.events_path(*waiting))]

    assert seen == [{"event_type": "pending", "queue_position": 1, "queue_size": 1}] * 5
    assert later == {"event_type": "pending", "queue_position": 0, "queue_size": 0}
    assert [response.status_code for response in again] == [500, 500]


def test_deleting_a_chat_harms_nobody_else(user: User, puppet: Puppet) -> None:
    """The real server drops the worker, and with it everybody's answers there; here the others go on."""
    puppet.slots = 2
    other = User(user.server, user.surface, "other")
    theirs = other.ask("theirs")
    mine = user.ask("mine")
    with other.events(*theirs) as events:
        puppet.play("theirs").say("a")
        assert tokens(events, 1) == ["a"]
        puppet.play("mine").say("b")
        user.delete(mine[0])
        puppet.play("mine").finish()
        puppet.play("theirs").finish("c")
        rest = [event["event_type"] for event in events]
    after = user.ask("after")
    puppet.play("after").finish("d")

    assert rest == ["token", "message"]
    assert user.wait_for(*after, "complete")["content"] == "d"


def test_a_cancelled_answer_hears_pending_events_for_ever(user: User, puppet: Puppet) -> None:
    """Before its turn has come and after it, on a stream that was open and on a new one."""
    user.ask("one")
    assert puppet.play("one").started.wait(PATIENCE)
    cancelled = user.ask("two")
    last = user.ask("three")
    puppet.play("one").finish("1")
    puppet.play("three").finish("3")
    user.wait_for(*last, "complete")
    with user.events(*cancelled) as events:
        seen = [events.next() for _ in range(5)]

    assert user.message(*cancelled).json()["state"] == "cancelled"
    assert seen == [{"event_type": "pending", "queue_position": 0, "queue_size": 0}] * 5


@pytest.mark.parametrize("surface", ["inference", "website"])
def test_two_readers_alternate(patient: LocalServer, puppet: Puppet, surface: str) -> None:
    """Each token goes to the one that has waited longer, and the end to one of them."""
    user = User(patient, surface)
    answer = user.ask("hi")
    play = puppet.play("hi")
    with user.events(*answer) as one, user.events(*answer) as two:
        user.settle()
        for digit in "0123":
            play.say_and_wait(digit)
            user.settle()
        received = tokens(one, 2), tokens(two, 2)
        play.finish()
        last = one.next()

    assert received == (["0", "2"], ["1", "3"])
    assert last["event_type"] == "message"


def test_a_stream_without_a_client_costs_nothing_after_close(puppet: Puppet) -> None:
    """A server closes with readers for those who have left."""
    with LocalServer(puppet, settings=Settings(pending_event_interval=0.01)) as server:
        user = User(server, "website")
        answer = user.ask("hi")
        leave(user, answer, puppet.play("hi"), "a")
        puppet.release()
