"""
The branch of a chat in which its next prompt goes.

The servers keep a chat as a tree, and the client names each message's parent. A prompt can only follow a complete
answer, and only one prompt of a chat has no parent.
"""

from __future__ import annotations

import logging

from oa_client._calls.exchange import Exchange
from oa_client._calls.life import Life, State
from oa_client._calls.turns import Turns, wait_through
from oa_client._chats.branch import OPEN_STATES, Branch, BranchEnd, Prompt, UncertainPrompt, has_failed
from oa_client._transcripts.transcript import Transcript
from oa_client._transcripts.tree import Tree
from oa_client._values.errors import (
    APIError,
    ConfigurationError,
    OAError,
    TransportError,
    TransportTimeout,
)
from oa_client._values.message import Message
from oa_client._wire.call import check_id

_log = logging.getLogger("oa_client")


class Position:
    """
    The branch in use of a chat, and its end, as this process knows them. Many threads may use it.

    Args:
        chat_id: the chat's id.
        is_empty: whether the chat is new; otherwise the server knows its end.

    Attributes:
        chat_id: as given.
        turns: decide whose turn it is.
        tells_tail: whether to send the branch in use to the server, which may know another one.
    """

    def __init__(self, chat_id: str, is_empty: bool) -> None:
        self.chat_id = chat_id
        #: None: to be read from the server.
        self._end: BranchEnd | None = BranchEnd() if is_empty else None
        # Not the reply itself: its connection would stay open as long as the chat is held.
        self._life: Life | None = None
        self._branch = Branch()
        # The answers that this chat asked for, and the prompts below which a full queue has left other answers.
        self._asked: set[str] = set()
        self._stubbed: set[str] = set()
        self.tells_tail = False
        self.turns = Turns()

    def begin_at(self, tail: str | None) -> None:
        """Use the branch through a message that the server names; None leaves the choice open."""
        self._branch, self.tells_tail = Branch(tail), tail is not None

    # For whoever has the turn.

    def settled_end(self, exchange: Exchange) -> BranchEnd:
        """Return the end of the branch in use, once its answer is final; without `answer_id` if the answer failed."""
        end = self._end or self._end_of(exchange.send(exchange.surface.get_chat(self.chat_id)))
        failed: set[str] = set()
        while end.is_open and (answer_id := end.answer_id) is not None and answer_id not in failed:
            life, state = self._life, ""
            if life is not None and life.message_id == answer_id and life.message is not None:
                state = life.message.state
            try:
                for _ in () if state else exchange.looks():
                    state = exchange.send(exchange.surface.get_message(self.chat_id, answer_id)).state
                    if state not in OPEN_STATES:
                        break
            except TransportTimeout as error:
                raise TransportTimeout(
                    f"the answer before this one, {answer_id}, is still {state} ({error}): try again later, or if it "
                    "never comes, ask for another with regenerate(), or continue from another answer with parent=",
                    phase=error.phase,
                ) from error
            if state == "complete":
                end = end._replace(is_open=False)
            else:
                failed.add(answer_id)
                # The prompt may have another draft.
                end = self._end_of(exchange.send(exchange.surface.get_chat(self.chat_id)))
        if end.is_open:
            # The server reports both a failure and the opposite.
            end = BranchEnd(end.prompt)
        self._end = end
        return end

    def last_prompt(self, exchange: Exchange) -> Prompt | None:
        """Return the last prompt of the branch in use; None if the chat is empty."""
        end = self._end or self._end_of(exchange.send(exchange.surface.get_chat(self.chat_id)))
        return end.prompt

    def _end_of(self, contents: Transcript) -> BranchEnd:
        """Return where the branch in use ends, out of the chat's messages."""
        self._branch, tree, thread = self._find_branch(contents)
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

    def post(self, exchange: Exchange, parent_id: str | None, text: str) -> Prompt:
        """Post a prompt after an answer, or find it there if the server may have taken it before."""
        end, branch = self._end, self._branch
        uncertain = UncertainPrompt(parent_id, text)
        if branch.uncertain == uncertain:
            taken = uncertain.find(Tree(exchange.send(exchange.surface.get_chat(self.chat_id)).messages))
            if taken is not None:
                return Prompt.of(taken)
        self._end, self._branch = None, Branch(uncertain=uncertain)
        try:
            prompt_id = exchange.send(exchange.surface.post_prompt(self.chat_id, parent_id, text))
        except (APIError, TransportError) as error:
            if (isinstance(error, APIError) and error.status < 500) or getattr(error, "is_unsent", False):
                # The server did not take it. A 400 means that the chat has changed, so read it again.
                self._end = None if isinstance(error, APIError) and error.status == 400 else end
                self._branch = branch
            raise
        return Prompt(prompt_id, parent_id, text)

    def go_to(self, prompt: Prompt) -> tuple[BranchEnd | None, Branch]:
        """Lead the branch in use through a prompt, until its answer is final; return the branch before that."""
        before = self._end, self._branch
        self._end, self._branch = None, Branch(prompt.id)
        return before

    def note(self, exchange: Exchange, prompt: Prompt, before: tuple[BranchEnd | None, Branch] | None) -> None:
        """
        Note what has become of the request for a prompt's answer.

        Args:
            exchange: of the request.
            prompt: that was to be answered.
            before: the branch to go back to if the server refused; None stays at the prompt.
        """
        life = exchange.life
        if exchange.was_busy:
            self._stubbed.add(prompt.id)
        if life.message_id is not None:
            self._asked.add(life.message_id)
            self._life = life
            self._end, self._branch = BranchEnd(prompt, life.message_id, is_open=True), Branch(life.message_id)
        elif life.progress is State.REFUSED:
            self._end, self._branch = before or (BranchEnd(prompt), self._branch)

    def tell_tail(self, exchange: Exchange) -> None:
        """Send the branch in use to the server."""
        tail = exchange.life.message_id
        try:
            exchange.send(exchange.surface.update_chat(self.chat_id, active_thread_tail_message_id=tail))
        except OAError as error:
            # The reply matters more.
            _log.warning("chat %s: the branch in use could not be stored on the server: %s", self.chat_id, error)

    # The tree.

    def load(self, exchange: Exchange) -> Transcript:
        """Return the chat with its messages."""
        return exchange.send(exchange.surface.get_chat(self.chat_id))

    def load_tree(self, exchange: Exchange) -> Tree:
        """Return the messages as a tree."""
        return Tree(exchange.send(exchange.surface.get_chat(self.chat_id)).messages)

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
            exchange.send(exchange.surface.update_chat(self.chat_id, active_thread_tail_message_id=message_id))
            self._end, self._branch, self.tells_tail = None, Branch(message_id, ends_there=True), True

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
