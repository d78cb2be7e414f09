"""A recording in which streams go on side by side, played again in its order: who leaves when, and who hears what."""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import requests

from oa_client.local import LocalServer
from tests.local.recordings import Actor, Clock, Replay
from tests.local.support import PATIENCE, Play, User, workers_of
from tests.local.told import comparable, framed, load

Step = Mapping[str, Any]

COUNTED = re.compile(r"t0( t\d+)*")
"""The final text of an answer of which every token is known, whether somebody heard it or not."""


UNSERVED = "Carper_RLHF_13B_1"
"""The model that had no worker."""

UNSERVED_ID = "CarperAI/vicuna-13b-fine-tuned-rlhf"


class Stage:
    """
    A backend that begins each answer with a new play, which the performance takes from `begun`.

    Attributes:
        blockers: plays that go on so that other answers have to wait.
    """

    description = ""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.begun: queue.SimpleQueue[tuple[str, Play]] = queue.SimpleQueue()
        self.blockers: list[Play] = []
        self._plays: list[Play] = []
        self._is_over = False

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Say what the performance says."""
        play = Play()
        self._plays.append(play)
        if self._is_over:
            play.finish()
        self.begun.put((messages[-1]["content"], play))
        return play.read()

    def close(self) -> None:
        """Nothing to give back."""

    def release(self) -> None:
        """End each answer, now and later, so that its thread ends."""
        self._is_over = True
        for play in list(self._plays):
            play.finish()


class Reader:
    """One stream, as it comes."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self.content = b""
        self._chunks = response.iter_content(None)
        self._read = 0

    def next(self) -> dict[str, Any] | None:
        """The next event, None at the end."""
        while True:
            while (end := self.content.find(b"\r\n\r\n", self._read)) < 0:
                if (chunk := next(self._chunks, None)) is None:
                    return None
                self.content += chunk
            block, self._read = self.content[self._read : end], end + 4
            if block.startswith(b"data: {"):
                event: dict[str, Any] = json.loads(block[6:])
                return event

    def next_but_pending(self) -> dict[str, Any] | None:
        """The next event that says something."""
        while (event := self.next()) is not None and event["event_type"] == "pending":
            continue
        return event


@dataclass
class Answer:
    """An answer of the recording: what is still to be said, by the model that is begun with `play`."""

    left: list[str] = field(default_factory=list)
    error: str | None = None
    play: Play | None = None
    over: bool = False


class Performance(Replay):
    """
    Plays one recording.

    Args:
        served: the model that was served.
        unserved: the one that had no worker.
    """

    def __init__(self, server: LocalServer, clock: Clock, served: Stage, unserved: Stage, name: str) -> None:
        super().__init__(server, clock, Actor(), name, frozenset())
        self._served = served
        self._unserved = unserved
        self._users = {"": self.user}
        self._readers: dict[int, Reader] = {}
        self._open_streams: set[int] = set()
        self._left: list[str] = []  # ids of the answers whose readers have left
        self._made: list[str] = []  # ids of answers, in their order in the queue
        self._answers: dict[str, Answer] = {}
        self._scenes: list[tuple[float, int, Callable[[], None]]] = []
        self._plan()

    def play(self) -> None:
        """Do all that was done, in the same order, and compare what is seen."""
        for time, _, scene in sorted(self._scenes, key=lambda scene: scene[:2]):
            self._clock.now = self._clock.START + time
            scene()
        for reader in self._readers.values():
            reader.response.close()

    def _plan(self) -> None:
        heard: dict[str, list[tuple[float, str]]] = {}
        for number, step in enumerate(self._all):
            self._scenes.append((step["t_start"], 3, partial(self._open, number, step)))
            if (id := _stream_of(step)) is None:
                continue
            answer = self._answers.setdefault(id, Answer())
            for time, event in _timed_events(step["response"]):
                self._scenes.append((time, 1, partial(self._hear, number, step, event)))
                if event["event_type"] == "token":
                    heard.setdefault(id, []).append((time, event["text"]))
                answer.error = event.get("error", answer.error)
            self._scenes.append((step["t_end"], 2, partial(self._leave, number, step)))
        for id, tokens in heard.items():
            said = _with_the_unheard(tokens, self._about.get(id, {}).get("content") or "")
            self._answers[id].left = [text for _, text in said]
            self._scenes += [(time, 0, partial(self._say, id)) for time, _ in said]

    def _open(self, number: int, step: Step) -> None:
        """Send a request, and compare what it gets but for the events of a stream."""
        self._speak_for(step["label"])
        if step["request"]["line"].startswith("GET"):
            for told in _messages_of(step):
                self._bring_about(told)
        if _stream_of(step) is None:
            self._end_unheard(step)
            answer = self.compare(step, self.send(step), frozenset())
            if step["request"]["line"].startswith("DELETE"):
                self._fall_silent()
            if isinstance(answer, dict) and answer.get("state") == "pending":
                id = next(told["id"] for told in _messages_of(step))
                self._answers.setdefault(id, Answer())
                if id not in self._made:
                    self._made.append(id)
            return
        reader = self._readers[number] = Reader(self.send(step, stream=True))
        self._open_streams.add(number)
        self.compare_head(step, reader.response)
        self.user.settle()

    def _hear(self, number: int, step: Step, expected: Mapping[str, Any]) -> None:
        """Compare one event, after bringing it about."""
        reader, answer = self._readers[number], self._answers[_stream_of(step) or ""]
        if expected["event_type"] == "pending":
            event = reader.next()
            for _ in range(500):
                if event == expected or event is None or event["event_type"] != "pending":
                    break
                event = reader.next()
            assert event == expected, step["label"]
            return
        if answer.over and expected["event_type"] == "token":  # of a deleted chat
            return
        if expected["event_type"] in ("message", "error"):
            self._end(_stream_of(step) or "")
        event = reader.next_but_pending()
        self.learn(expected, event)
        assert comparable(expected, self.ids) == comparable(event, {}), step["label"]
        if expected["event_type"] == "token":
            assert event == expected, step["label"]

    def _leave(self, number: int, step: Step) -> None:
        """Leave a stream, or make sure that it is over."""
        reader, id = self._readers[number], _stream_of(step) or ""
        if step["response"]["ended"] == "complete":
            assert reader.next() is None, step["label"]
        else:
            self._left.append(id)
        assert framed(reader.content.decode()[: reader._read]), step["label"]
        reader.response.close()
        self._open_streams.discard(number)
        if self.user.surface == "website":
            self.user.until_haunted(self.ids[id], sum(one == id for one in self._left))
        else:
            self.user.until(lambda: len(workers_of(self.server)._readers) <= len(self._open_streams))

    def _say(self, id: str) -> None:
        """Have the model say the next token."""
        answer = self._answers[id]
        if answer.left and not answer.over:
            self._play_of(id).say_and_wait(answer.left.pop(0))
            self.user.settle()

    def _end(self, id: str) -> None:
        """Have the model say what is left, and end."""
        answer = self._answers[id]
        if answer.over:
            return
        answer.over = True
        if answer.error == "Timeout":  # which comes when the model could begin
            for play in self._stage_of(id).blockers:
                play.finish()
            return
        play = self._play_of(id)
        play.say(*answer.left)
        if answer.error is not None:
            play.say(RuntimeError(answer.error))
        play.finish()

    def _play_of(self, id: str) -> Play:
        """The model that writes an answer, which is begun now at the latest."""
        answer, stage = self._answers[id], self._stage_of(id)
        while answer.play is None:
            for play in stage.blockers:
                play.finish()
            prompt, play = stage.begun.get(timeout=PATIENCE)
            if prompt == "crowd":
                play.finish()
                continue
            waiting = [self._answers[made] for made in self._made_for(stage) if self._state(made) == "in_progress"]
            next(one for one in waiting if one.play is None).play = play
        return answer.play

    def _stage_of(self, id: str) -> Stage:
        """The model that an answer was asked of."""
        parameters = self._about.get(id, {}).get("work_parameters") or {}
        name = parameters.get("model_config", {}).get("model_id", "")
        return self._unserved if name == UNSERVED_ID else self._served

    def _model_of(self, message_id: str) -> str:
        return self._stage_of(message_id).name

    def _made_for(self, stage: Stage) -> list[str]:
        """The ids of a model's answers, in their order in the queue."""
        return [made for made in self._made if self._stage_of(made) is stage]

    def _state(self, id: str) -> str:
        stored = self.server._database
        assert stored is not None
        row = stored.execute("SELECT state FROM message WHERE id = ?", (self.ids[id],)).fetchone()
        return str(row[0]) if row else "deleted"

    def _bring_about(self, told: Mapping[str, Any]) -> None:
        """Bring an answer into the state that the next request finds."""
        id = told["id"]
        if told["role"] != "assistant":
            return
        if id not in self.ids:
            self._answers.setdefault(id, Answer())
            self._prepare(told["chat_id"], id, {"request": {"line": "/events"}})
        if told["state"] == "in_progress":
            self._play_of(id)
        elif told["state"] == "cancelled" and self._state(id) != "cancelled":
            self.user.ask("another")
        elif told["state"] in ("complete", "aborted_by_worker"):
            if told["state"] == "aborted_by_worker":
                self._answers[id].error = self._answers[id].error or "it failed"
            self._end(id)
            self.user.wait_for(self.ids[told["chat_id"]], self.ids[id], told["state"])

    def _end_unheard(self, step: Step) -> None:
        """End the answer whose events are asked for in vain: its end came before."""
        id = _answer_in(step)
        if "/events" in step["request"]["line"] and id in self._answers and self._state(id) != "deleted":
            self._end(id)
            self.user.wait_for(self.ids[self._about[id]["chat_id"]], self.ids[id], "complete")

    def _fall_silent(self) -> None:
        """Say nothing more in chats that were deleted."""
        for id in self._made:
            answer = self._answers[id]
            if self._state(id) == "deleted":
                answer.over = True
                if answer.play is not None:
                    answer.play.finish()

    def _speak_for(self, label: str) -> None:
        name = label[:6] if label.startswith("user ") else ""
        if name not in self._users:
            self._users[name] = User(self.server, self.user.surface, name)
        self.user = self._users[name]

    def _prepare(self, chat_id: str | None, message_id: str | None, step: Step) -> None:
        if message_id is None or message_id not in self._answers or message_id in self.ids:
            super()._prepare(chat_id, message_id, step)
            return
        now = self._clock.now
        if not self._made:  # this was before the recording began
            self._clock.now = self._clock.START
        self._block(message_id)
        super()._prepare(chat_id, message_id, step)
        self._made.append(message_id)
        self._clock.now = now

    def _block(self, id: str) -> None:
        """Keep the model busy if the recording has an answer wait, and no other one is before it."""
        stage = self._stage_of(id)
        if any(not self._answers[made].over for made in self._made_for(stage)):
            return
        ahead = self._ahead(id)
        if ahead is None:
            return
        for number in range(1 + ahead):
            User(self.server, self.user.surface, f"crowd {number}").ask("crowd", model=stage.name)
        stage.blockers.append(stage.begun.get(timeout=PATIENCE)[1])

    def _ahead(self, id: str) -> int | None:
        """How many answers waited before this one, None if it did not wait itself."""
        for step in self._all:
            if _stream_of(step) == id:
                _, event = _timed_events(step["response"])[0]
                if event["event_type"] == "pending" and event["queue_size"]:
                    return int(event["queue_position"] or event["queue_size"]) - 1
                return None
        told = [one for step in self._all for one in _messages_of(step) if one["id"] == id]
        return 0 if told[0]["state"] == "pending" else None

    def _finish(self, chat_id: str, message_id: str) -> None:
        """Answers end when they do in the recording."""


def has_pending_events(name: str) -> bool:
    """Whether a reader of a recording was told that it had to wait."""
    steps = [step for step in load(name)["steps"] if "response" in step]
    return any(event["event_type"] == "pending" for step in steps for _, event in _timed_events(step["response"]))


def _stream_of(step: Step) -> str | None:
    """The id of the answer whose events a step reads, None if it does not get any."""
    if "/events" not in step["request"]["line"] or not _timed_events(step["response"]):
        return None
    return _answer_in(step)


def _answer_in(step: Step) -> str:
    """The id of the message in a request."""
    found = re.search(r"(?:messages/|message_id=)([^/&\s]+)", step["request"]["line"])
    return found[1] if found else ""


def _timed_events(response: Mapping[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    """The events of a recorded stream, each with the time of the chunk in which it ended."""
    found = []
    text = ""
    for chunk in response["body_chunks"]:
        text += chunk["data"]
        *blocks, text = text.split("\r\n\r\n")
        found += [(chunk["t"], json.loads(block[6:])) for block in blocks if block.startswith("data: {")]
    return found


def _messages_of(step: Step) -> Iterator[Mapping[str, Any]]:
    """The one message that a step gets, if it is not a stream."""
    body = "".join(chunk["data"] for chunk in step["response"]["body_chunks"])
    if body.startswith('{"id"'):
        message = json.loads(body)
        if "parent_id" in message:
            yield message


def _with_the_unheard(heard: list[tuple[float, str]], content: str) -> list[tuple[float, str]]:
    """The tokens that were heard, and at even intervals between them those that were not."""
    heard = sorted(heard, key=lambda token: token[0])
    if not COUNTED.fullmatch(content):
        return heard
    texts = [f"{word} " for word in content.split()]
    times = {text: time for time, text in heard}
    first, last = (min(times.values()), max(times.values()))
    pace = (last - first) / (len(times) - 1) if len(times) > 1 else 0.01
    told: list[tuple[float, str]] = []
    for index, text in enumerate(texts):
        if text in times:
            told.append((times[text], text))
            continue
        before = told[-1][0] if told else first
        later = [(place, times[one]) for place, one in enumerate(texts) if place > index and one in times]
        if later:
            place, after = later[0]
            told.append((before + (after - before) / (place - index + 1), text))
        else:
            told.append((before + pace, text))
    return told
