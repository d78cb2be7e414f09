"""
The place of a chat's next prompt in its tree.

The servers keep a chat as a tree, and the client names each message's parent. A prompt can only follow a complete
answer, and only one prompt of a chat has no parent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator

from oa_client._calls.engine import Engine
from oa_client._calls.exchange import Exchange
from oa_client._calls.record import Outcome
from oa_client._calls.reply import Reply
from oa_client._calls.turns import Turn, Turns, wait_through
from oa_client._chats.branch import OPEN_STATES, Branch, BranchEnd, Prompt, UncertainPrompt, has_failed
from oa_client._transcripts.transcript import Transcript
from oa_client._transcripts.tree import Tree
from oa_client._values.errors import (
    APIError,
    ConfigurationError,
    OAError,
    TransportError,
    TransportTimeout,
    UnsupportedError,
)
from oa_client._values.message import Message
from oa_client._values.question import Question, check_id

_log = logging.getLogger("oa_client")

#: Posts the prompt of a turn, or finds it in the chat.
Placing = Callable[[Exchange, str], Prompt]


class Position:
    """
    The branch in use of a chat, and its end, as this process knows them. Many threads may use it.

    Args:
        engine: the client's engine.
        chat_id: the chat's id.
        is_empty: whether the chat is new; otherwise the server knows its end.

    Attributes:
        turns: decide whose turn it is.
    """

    def __init__(self, engine: Engine, chat_id: str, is_empty: bool) -> None:
        self._engine = engine
        self._chat_id = chat_id
        #: None: to be read from the server.
        self._end: BranchEnd | None = BranchEnd() if is_empty else None
        # Not the reply itself: its connection would stay open as long as the chat is held.
        self._outcome: Outcome | None = None
        self._branch = Branch()
        # The answers that this chat asked for, and the prompts below which a full queue has left other answers.
        self._asked: set[str] = set()
        self._stubbed: set[str] = set()
        # Whether to send the branch in use to the server, which may know another one.
        self._tells_tail = False
        self.turns = Turns()

    def begin_at(self, tail: str | None) -> None:
        """Use the branch through a message that the server names; None leaves the choice open."""
        self._branch, self._tells_tail = Branch(tail), tail is not None

    # The places for a turn's prompt.

    def after(self, parent_id: str | None) -> Placing:
        """Return a function that posts a prompt after an answer; None stands for the end of the branch in use."""

        def place(exchange: Exchange, text: str) -> Prompt:
            if parent_id is None:
                return self._post_next(exchange, text)
            self._tells_tail = True
            return self._post(exchange, parent_id, text)

        return place

    def again(self, message_id: str | None) -> Placing:
        """Return a function that finds the prompt that a message is or answers; None stands for the last prompt."""

        def place(exchange: Exchange, _: str) -> Prompt:
            if message_id is None:
                return self._last_prompt(exchange)
            tree = self.load_tree(exchange)
            found = find(tree, message_id)
            self._tells_tail = True
            return Prompt.of(found if found.role == "prompter" else find(tree, found.parent_id or ""))

        return place

    def beside(self, message: Message | str) -> Placing:
        """Return a function that posts a prompt in the place of another."""
        if isinstance(message, Message):
            _check_can_be_edited(message)

        def place(exchange: Exchange, text: str) -> Prompt:
            old = message if isinstance(message, Message) else find(self.load_tree(exchange), message)
            self._tells_tail = True
            return self._post(exchange, _check_can_be_edited(old), text)

        return place

    def start(
        self, exchange: Exchange, question: Question, place: Placing, is_draft: bool
    ) -> Generator[Turn, None, Reply]:
        """Wait for the turn, and begin it."""
        with self.turns.turn(exchange) as turn:
            yield from turn.come()
            return (yield from self._start(exchange, question, place, is_draft))

    def _start(
        self, exchange: Exchange, question: Question, place: Placing, is_draft: bool
    ) -> Generator[Turn, None, Reply]:
        before = self._end, self._branch
        prompt: Prompt | None = None

        def post_prompt(exchange: Exchange, text: str) -> tuple[str, str]:
            nonlocal prompt
            prompt = place(exchange, text)
            # Until the answer is final.
            self._end, self._branch = None, Branch(prompt.id)
            return self._chat_id, prompt.id

        try:
            reply = yield from self._engine.start(exchange, question, post_prompt)
            self._outcome = reply.outcome
        finally:
            if prompt is not None:
                if exchange.was_busy:
                    self._stubbed.add(prompt.id)
                if exchange.message_id is not None:
                    self._asked.add(exchange.message_id)
                    self._end = BranchEnd(prompt, exchange.message_id, is_open=True)
                    self._branch = Branch(exchange.message_id)
                elif exchange.was_refused and is_draft:
                    # The server may have taken the request for an answer.
                    self._end, self._branch = before
                elif exchange.was_refused:
                    self._end = BranchEnd(prompt)
        if self._tells_tail:
            self._tell_tail(exchange, reply.message_id)
        return reply

    def _post_next(self, exchange: Exchange, text: str) -> Prompt:
        """Post a prompt at the end of the branch in use, or find it there, without an answer."""
        end = self._settled_end(exchange)
        if end.answer_id is not None:
            return self._post(exchange, end.answer_id, text)
        if end.prompt is None:
            return self._post(exchange, None, text)
        if end.prompt.content == text:
            return end.prompt
        if end.prompt.parent_id is None:
            raise UnsupportedError(
                "the branch in use ends with the first prompt of this chat, and the servers take only one: "
                "regenerate() asks for its answer again, parent= continues from an answer that it has, and "
                "client.create_chat() makes a new chat"
            )
        return self._post(exchange, end.prompt.parent_id, text)

    def _post(self, exchange: Exchange, parent_id: str | None, text: str) -> Prompt:
        end, branch = self._end, self._branch
        uncertain = UncertainPrompt(parent_id, text)
        if branch.uncertain == uncertain:
            taken = uncertain.find(self.load_tree(exchange))
            if taken is not None:
                return Prompt.of(taken)
        self._end, self._branch = None, Branch(uncertain=uncertain)
        try:
            prompt_id = exchange.send(exchange.surface.post_prompt(self._chat_id, parent_id, text))
        except (APIError, TransportError) as error:
            if (isinstance(error, APIError) and error.status < 500) or getattr(error, "is_unsent", False):
                # The server did not take it. A 400 means that the chat has changed, so read it again.
                self._end = None if isinstance(error, APIError) and error.status == 400 else end
                self._branch = branch
            raise
        return Prompt(prompt_id, parent_id, text)

    def _last_prompt(self, exchange: Exchange) -> Prompt:
        end = self._end or self._look(exchange)
        if end.prompt is None:
            raise ConfigurationError("the chat is empty: ask something first")
        return end.prompt

    def _settled_end(self, exchange: Exchange) -> BranchEnd:
        """Return the end of the branch in use, once its answer is final; without `answer_id` if the answer failed."""
        end = self._end or self._look(exchange)
        failed: set[str] = set()
        while end.is_open and (answer_id := end.answer_id) is not None and answer_id not in failed:
            outcome = self._outcome
            if outcome is not None and outcome.message_id == answer_id and outcome.message is not None:
                state = outcome.message.state
            else:
                state = self._wait_for(exchange, answer_id)
            if state == "complete":
                end = end._replace(is_open=False)
            else:
                failed.add(answer_id)
                # The prompt may have another draft.
                end = self._look(exchange)
        if end.is_open:
            # The server reports both a failure and the opposite.
            end = BranchEnd(end.prompt)
        self._end = end
        return end

    def _look(self, exchange: Exchange) -> BranchEnd:
        """Read from the server where the branch in use ends."""
        self._branch, tree, thread = self._find_branch(self.load(exchange))
        if not thread:
            return BranchEnd()
        last = thread[-1]
        if last.role == "prompter":
            return BranchEnd(Prompt.of(last))
        parent = tree.get(last.parent_id) if last.parent_id is not None else None
        prompt = None if parent is None else Prompt.of(parent)
        if has_failed(last):
            return BranchEnd(prompt)
        return BranchEnd(prompt, last.id, is_open=last.state != "complete")

    def _wait_for(self, exchange: Exchange, message_id: str) -> str:
        """Wait until an answer is final, within the limit for the first token, and return its state."""
        state = ""

        def is_final() -> bool:
            nonlocal state
            state = exchange.send(exchange.surface.get_message(self._chat_id, message_id)).state
            return state not in OPEN_STATES

        try:
            exchange.wait_until(is_final)
        except TransportTimeout as error:
            raise TransportTimeout(
                f"the answer before this one, {message_id}, is still {state} ({error}): try again later, or if it "
                "never comes, ask for another with regenerate(), or continue from another answer with parent=",
                phase=error.phase,
            ) from error
        return state

    def _tell_tail(self, exchange: Exchange, message_id: str) -> None:
        try:
            exchange.send(exchange.surface.update_chat(self._chat_id, active_thread_tail_message_id=message_id))
        except OAError as error:
            # The reply matters more.
            _log.warning("chat %s: the branch in use could not be stored on the server: %s", self._chat_id, error)

    # The tree.

    def load(self, exchange: Exchange) -> Transcript:
        """Return the chat with its messages."""
        return exchange.send(exchange.surface.get_chat(self._chat_id))

    def load_tree(self, exchange: Exchange) -> Tree:
        """Return the messages as a tree."""
        return Tree(self.load(exchange).messages)

    def thread(self, exchange: Exchange) -> list[Message]:
        """Return the branch in use, from the first prompt on."""
        thread = self.thread_of(self.load(exchange))
        end = self._end
        if end is not None and thread and not end.has(thread[-1]):
            # Another client has continued the chat, so the next turn reads the end again too.
            self._end = None
        return thread

    def thread_of(self, contents: Transcript) -> list[Message]:
        """Return the branch in use, out of the chat's messages."""
        return self._find_branch(contents)[2]

    def select(self, exchange: Exchange, message_id: str) -> None:
        """End the branch in use at a message."""
        with self.turns.turn(exchange) as turn:
            wait_through(turn.come())
            # The server takes any string for the id of a message.
            find(self.load_tree(exchange), message_id)
            exchange.send(exchange.surface.update_chat(self._chat_id, active_thread_tail_message_id=message_id))
            self._end, self._branch, self._tells_tail = None, Branch(message_id, ends_there=True), True

    def _find_branch(self, contents: Transcript) -> tuple[Branch, Tree, list[Message]]:
        """Return the branch in use without an uncertain prompt, its tree and its messages."""
        tree = Tree(message for message in contents.messages if not self.is_stub(message))
        branch = self._branch.resolve(tree)
        tail = tree.get(branch.tail or contents.chat.active_thread_tail_message_id or "")
        if tail is not None and branch.ends_there:
            return branch, tree, tree.path(tail.id)
        if tail is not None and tail.role != "prompter" and has_failed(tail):
            # Another draft of the prompt may be complete.
            tail = tree.get(tail.parent_id or "")
        tree.tail_id = None if tail is None else tail.id
        return branch, tree, tree.thread()

    def is_stub(self, message: Message) -> bool:
        """Return whether a full queue left the message behind: it stays pending and never comes."""
        return message.state == "pending" and message.parent_id in self._stubbed and message.id not in self._asked


def id_of(name: str, message: Message | str) -> str:
    """Return the id of a message, given as the message or its id; raise ConfigurationError for anything else."""
    message_id = message.id if isinstance(message, Message) else message
    check_id(name, message_id)
    return message_id


def find(tree: Tree, message_id: str) -> Message:
    """Return a message of a chat; raise ConfigurationError if it is missing."""
    message = tree.get(message_id)
    if message is None:
        raise ConfigurationError(f"this chat has no message {message_id!r}")
    return message


def _check_can_be_edited(message: Message) -> str:
    """Return the parent of a prompt that can be edited."""
    if message.role != "prompter":
        raise ConfigurationError("only a prompt can be edited; regenerate() makes another answer")
    if message.parent_id is None:
        raise UnsupportedError(
            "the first prompt of a chat cannot be edited, because the servers take one for each chat: "
            "make a new chat with client.create_chat()"
        )
    return message.parent_id
