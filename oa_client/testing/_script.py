"""What is to be answered and what goes wrong, and what was seen: for the test's threads and the server's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oa_client.local._answers.work import WRITING
from oa_client.local._surfaces.fields import read_boolean
from oa_client.testing._answer import Answer, Reply
from oa_client.testing._faults import CallFault, ErrorEvent, Pause, Queued, Refuse
from oa_client.testing._routes import Request, Route

Function = Callable[[Sequence[Mapping[str, str]]], "str | Reply"]
"""Answers: it is given the messages, each `{"role", "content"}`, from the first to the one to be answered."""


@dataclass(frozen=True)
class Failure:
    """What goes wrong with a call, and whether the server does all the same what it is called for."""

    route: Route
    fault: CallFault
    carried_out: bool

    @property
    def leaves_stub(self) -> bool:
        """Whether the call is refused as by a full queue, which leaves an answer that is never written."""
        is_busy = isinstance(self.fault, Refuse) and self.fault.status == 503
        return is_busy and self.route == "assistant_message" and not self.carried_out


@dataclass(frozen=True)
class SeenChat:
    """
    A chat that a client has made.

    Attributes:
        id: its id.
        hidden: whether it is hidden now.
        deleted: whether it is deleted.
        settled: whether no answer in it is, or may be, in the server's queue: then it may be deleted.
        was_left: whether it is neither deleted, nor was hidden while it could not be deleted.
    """

    id: str
    hidden: bool
    deleted: bool
    settled: bool
    was_left: bool


@dataclass
class _Chat:
    hidden: bool = False
    deleted: bool = False
    excused: bool = False  # it was hidden when it could not be deleted


class Script:
    """
    The backend of a server whose answers a test decides, and its memory.

    An answer is written when somebody looks: when its events are opened, or it is asked for.
    """

    def __init__(self) -> None:
        self.name = "scripted"
        self.description = "Not a model: it says what a test tells it to"
        self.slots = 10_000  # an answer that stalls keeps no other waiting
        self._changed = threading.Condition()
        self._replies: deque[Reply] = deque()
        self._function: Function | None = None
        self._failures: list[Failure] = []
        self._answers: dict[str, Answer] = {}
        self._chats: dict[str, _Chat] = {}
        self._requests: list[Request] = []
        self._prompts: list[str] = []
        self._unscripted: list[str] = []
        self._errors: list[Exception] = []
        self._ended = False

    # What the test says.

    def add_reply(self, reply: Reply) -> None:
        """Give this reply after those that are queued."""
        with self._changed:
            self._replies.append(reply)

    def set_function(self, function: Function) -> None:
        """Give what a function returns when no reply is queued."""
        with self._changed:
            self._function = function

    def add_failure(self, failure: Failure, times: int) -> None:
        """Have the next calls of a route go wrong."""
        with self._changed:
            self._failures += [failure] * times

    def resume(self) -> None:
        """End the pauses of all answers that were asked for."""
        with self._changed:
            for answer in self._answers.values():
                answer.resumed = True
            self._changed.notify_all()

    def end(self) -> None:
        """Write no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # What the test sees.

    @property
    def requests(self) -> list[Request]:
        """All requests."""
        with self._changed:
            return list(self._requests)

    @property
    def prompts(self) -> list[str]:
        """All texts that were posted."""
        with self._changed:
            return list(self._prompts)

    @property
    def chats(self) -> list[SeenChat]:
        """All chats, the oldest first."""
        with self._changed:
            return [self._show_chat(chat_id, chat) for chat_id, chat in self._chats.items()]

    def complaints(self, *, unused: bool = True) -> list[str]:
        """
        What the test and the program did not agree about.

        Args:
            unused: also what never came.
        """
        with self._changed:
            found = [f"nobody scripted an answer to {prompt!r}: oa_server.reply(…) does" for prompt in self._unscripted]
            found += [f"the function of oa_server.replies() raised {error!r}" for error in self._errors]
            if unused:
                found += [f"nobody asked for the reply {reply.text!r}" for reply in self._replies]
                found += [
                    f"nobody read the events of the answer {answer.reply.text!r}, so {answer.fault!r} never came"
                    for answer in self._answers.values()
                    if answer.reply is not None and answer.fault is not None and not answer.opened
                ]
                found += [f"{failure.fault!r} of {failure.route} never came" for failure in self._failures]
            return found

    # What the server does, on its event loop.

    def see(self, request: Request) -> Failure | None:
        """Note a request, and return what goes wrong with it."""
        with self._changed:
            self._requests.append(request)
            for index, failure in enumerate(self._failures):
                if failure.route == request.route:
                    return self._failures.pop(index)
            return None

    def learn(self, request: Request, data: Any, *, was_told: bool = True, is_stub: bool = False) -> None:
        """
        Note that a call was carried out.

        Args:
            request: the call.
            data: its answer.
            was_told: whether the client gets to know.
            is_stub: whether an answer is one that is never written.
        """
        with self._changed:
            chat = self._chats.get(request.chat_id, _Chat())
            match request.route:
                case "create_chat" if was_told:  # or nobody could delete it
                    self._chats[data["id"]] = _Chat()
                case "prompter_message":
                    self._prompts.append(data["content"])
                case "assistant_message":
                    self._ask(data, is_stub=is_stub)
                case "update_chat" if (hidden := _hidden(request.json)) is not None:
                    chat.hidden = hidden
                    chat.excused = hidden and not self._is_settled(request.chat_id)
                    for answer in self._in_chat(request.chat_id):
                        answer.released = answer.released or hidden
                case "delete_chat":
                    chat.deleted = True
            self._changed.notify_all()

    def answer(self, message_id: str) -> Answer | None:
        """The answer with this id."""
        with self._changed:
            return self._answers.get(message_id)

    def open(self, answer: Answer) -> None:
        """Note that the events of an answer were opened."""
        with self._changed:
            answer.opened = answer.wanted = True
            self._changed.notify_all()

    def show(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message as it looks from outside to somebody who looks."""
        with self._changed:
            if (answer := self._answers.get(message["id"])) is None:
                return message
            answer.wanted = True
            self._changed.notify_all()
            return answer.show(message)

    # What a backend does, in a thread for each answer.

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Yield the tokens of the reply, once somebody wants them."""
        if (answer := self._wait(WRITING.get(), cancelled)) is None:
            return
        if answer.is_stub:
            return
        reply = self._resolve(answer, messages)
        after = reply.fault.after if isinstance(reply.fault, ErrorEvent | Pause) else None
        try:
            yield from reply.pieces[:after]
            if isinstance(reply.fault, ErrorEvent):
                raise RuntimeError(reply.fault.text)
            if after is not None:
                with self._changed:
                    self._changed.wait_for(lambda: answer.resumed or answer.released or self._is_over(cancelled))
                yield from reply.pieces[after:]
        finally:
            answer.over = True

    def close(self) -> None:
        """Nothing to give back."""

    def _wait(self, answer_id: str, cancelled: threading.Event) -> Answer | None:
        """Wait until somebody looks; None if nobody will."""

        def is_due() -> bool:
            # The request that asks for it may not be over yet.
            return (answer_id in self._answers and self._answers[answer_id].wanted) or self._is_over(cancelled)

        with self._changed:
            self._changed.wait_for(is_due)
            return None if self._is_over(cancelled) else self._answers[answer_id]

    def _is_over(self, cancelled: threading.Event) -> bool:
        return self._ended or cancelled.is_set()

    def _resolve(self, answer: Answer, messages: Sequence[Mapping[str, str]]) -> Reply:
        if answer.reply is not None:
            return answer.reply
        if (function := self._function) is None:
            prompt = messages[-1]["content"]
            with self._changed:
                self._unscripted.append(prompt)
            answer.over = True
            raise LookupError(f"the test has no reply to {prompt!r}")
        try:
            said = function(messages)
            answer.reply = said if isinstance(said, Reply) else Reply(said)
        except Exception as error:
            with self._changed:
                self._errors.append(error)
            answer.over = True
            raise
        return answer.reply

    # What is done while the lock is held.

    def _ask(self, message: dict[str, Any], *, is_stub: bool) -> None:
        reply = self._replies.popleft() if self._replies and not is_stub else None
        answer = Answer(message, reply, is_stub=is_stub)
        for other in self._answers.values():
            waits = other.is_stub or (isinstance(other.fault, Queued) and not other.released)
            if waits and other.parent_id != answer.parent_id:
                other.superseded = True
        self._answers[answer.id] = answer

    def _in_chat(self, chat_id: str) -> list[Answer]:
        return [answer for answer in self._answers.values() if answer.chat_id == chat_id]

    def _is_settled(self, chat_id: str) -> bool:
        return all(answer.is_settled for answer in self._in_chat(chat_id))

    def _show_chat(self, chat_id: str, chat: _Chat) -> SeenChat:
        settled = self._is_settled(chat_id)
        was_left = not chat.deleted and not (chat.hidden and (chat.excused or not settled))
        return SeenChat(chat_id, chat.hidden, chat.deleted, settled, was_left)


def _hidden(changes: Any) -> bool | None:
    """Whether changes that the server has taken hide a chat or show it, None if they do neither."""
    value = changes.get("hidden") if isinstance(changes, dict) else None
    return None if value is None else read_boolean(value)
