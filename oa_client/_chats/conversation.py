"""
The state behind a `Chat`: where in the tree its next prompt goes.

The servers keep a chat as a tree and take each message's parent from the client. A prompt can only follow an answer
that is complete, and only one prompt of a chat has no parent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from oa_client._calls.engine import Engine
from oa_client._calls.exchange import Exchange
from oa_client._calls.reply import Opening, Outcome, Reply
from oa_client._calls.turns import Turns
from oa_client._chats.branch import OPEN_STATES, Branch, Doubt, End, Prompt, has_failed
from oa_client._chats.record import Record, find, id_of
from oa_client._transcripts.transcript import Transcript
from oa_client._transcripts.tree import Tree
from oa_client._values.argument import did_you_mean, show
from oa_client._values.errors import (
    APIError,
    ConfigurationError,
    OAError,
    TransportError,
    TransportTimeout,
    UnsupportedError,
)
from oa_client._values.fork import forget_in_children
from oa_client._values.message import Message
from oa_client._values.question import AnswerOptions, Messages, Question, check_id, read_options, read_question

EXPORT_FORMATS = ("json", "markdown")
_log = logging.getLogger("oa_client")


class Conversation(Record):
    """
    One chat, as this process knows it; for many threads.

    Args:
        engine: of the client.
        chat_id: of the chat.
        options: for each turn that does not name its own.
    """

    def __init__(self, engine: Engine, chat_id: str, options: AnswerOptions | None = None) -> None:
        super().__init__(engine, chat_id)
        self._options: AnswerOptions = options or {}
        #: None: it has to be looked for on the server.
        self._end: End | None = None
        # Not the reply itself, whose connection would then stay open for as long as the chat is held.
        self._outcome: Outcome | None = None
        self._branch = Branch()
        # The answers that were asked for here, and the prompts below which a full queue has left others.
        self._asked: set[str] = set()
        self._stubbed: set[str] = set()
        # Whether to tell the server of the branch in use: it knows of one, which may not be that any more.
        self._tells_tail = False
        # What has made the chat, and deletes it if nobody keeps it.
        self._maker: Exchange | None = None
        forget_in_children(self)
        self._forget()

    def _forget(self) -> None:
        """Begin with a lock that nobody holds; see `Forgetful`."""
        self._turns = Turns()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a chat cannot be pickled or copied: keep its id, and make another with client.open_chat(chat.id)"
        )

    @classmethod
    def create(cls, engine: Engine, options: AnswerOptions) -> Conversation:
        """Make a chat, which is deleted again unless `keep()` is called."""
        read_options(options)
        exchange = engine.exchange(keep=False)
        with engine.guard(exchange):
            made = cls(engine, exchange.create_chat(engine.workers), options)
        made._end = End()
        made._maker = exchange
        return made

    def keep(self) -> None:
        """Have the chat stay on the server."""
        if self._maker is not None:
            self._maker.keep_chat()
            self._maker = None

    @classmethod
    def open(cls, engine: Engine, chat_id: str, options: AnswerOptions) -> Conversation:
        """Find a chat on the server."""
        check_id("chat_id", chat_id)
        read_options(options)
        found = cls(engine, chat_id, options)
        tail = found.load().chat.active_thread_tail_message_id
        found._branch, found._tells_tail = Branch(tail), tail is not None
        return found

    # Turns.

    def ask(self, messages: Messages, parent: Message | str | None, options: AnswerOptions) -> Opening:
        """Say something at the end of the branch in use, or after another answer; see `Chat.stream`."""
        question = read_question(messages, options, self._options)
        parent_id = None if parent is None else id_of("parent", parent)
        if isinstance(parent, Message) and parent.role != "assistant":
            raise ConfigurationError("parent must be an answer, since only that can be followed by a prompt")

        def place(exchange: Exchange, text: str) -> Prompt:
            if parent_id is None:
                return self._post_next(exchange, text)
            self._tells_tail = True
            return self._post(exchange, parent_id, text)

        return self._opening(question, place)

    def regenerate(self, message: Message | str | None, options: AnswerOptions) -> Opening:
        """Have a prompt answered once more; see `Chat.regenerate`."""
        question = read_options(options, self._options)
        message_id = None if message is None else id_of("message", message)

        def place(exchange: Exchange, _: str) -> Prompt:
            if message_id is None:
                return self._last_prompt(exchange)
            tree = self._load_tree(exchange)
            found = find(tree, message_id)
            self._tells_tail = True
            return Prompt.of(found if found.role == "prompter" else find(tree, found.parent_id or ""))

        return self._opening(question, place, is_draft=True)

    def edit(self, message: Message | str, messages: Messages, options: AnswerOptions) -> Opening:
        """Say something else in the place of a prompt; see `Chat.edit`."""
        question = read_question(messages, options, self._options)
        id_of("message", message)
        if isinstance(message, Message):
            _check_can_be_edited(message)

        def place(exchange: Exchange, text: str) -> Prompt:
            old = message if isinstance(message, Message) else find(self._load_tree(exchange), message)
            self._tells_tail = True
            return self._post(exchange, _check_can_be_edited(old), text)

        return self._opening(question, place)

    def _opening(self, question: Question, place: Callable[[Exchange, str], Prompt], is_draft: bool = False) -> Opening:
        self.check_exists()

        def start(note: Callable[[Exchange], object]) -> Reply:
            engine = self._engine
            exchange = engine.exchange(keep=True)
            exchange.chat_id = self.id
            note(exchange)
            with engine.guard(exchange), self.explaining(exchange), self._turns.turn(exchange):
                return self._start(exchange, question, place, is_draft)

        return start

    def _start(
        self, exchange: Exchange, question: Question, place: Callable[[Exchange, str], Prompt], is_draft: bool
    ) -> Reply:
        """Begin a turn; nobody else is at it."""
        before = self._end, self._branch
        prompt: Prompt | None = None

        def post_prompt(exchange: Exchange, text: str) -> tuple[str, str]:
            nonlocal prompt
            prompt = place(exchange, text)
            # Until it is known what came of it.
            self._end, self._branch = None, Branch(prompt.id)
            return self.id, prompt.id

        try:
            reply = self._engine.start(exchange, question, post_prompt)
            self._outcome = reply.outcome
        finally:
            if prompt is not None:
                if exchange.was_busy:
                    self._stubbed.add(prompt.id)
                if exchange.message_id is not None:
                    self._asked.add(exchange.message_id)
                    self._end = End(prompt, exchange.message_id, is_open=True)
                    self._branch = Branch(exchange.message_id)
                elif exchange.was_refused and is_draft:
                    # The prompt may have an answer.
                    self._end, self._branch = before
                elif exchange.was_refused:
                    self._end = End(prompt)
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
                "the branch in use ends with the first prompt of this chat, and the servers take no other: "
                "regenerate() has it answered, parent= goes on after an answer that it has, and "
                "client.create_chat() makes a new chat"
            )
        return self._post(exchange, end.prompt.parent_id, text)

    def _post(self, exchange: Exchange, parent_id: str | None, text: str) -> Prompt:
        end, branch = self._end, self._branch
        doubt = Doubt(parent_id, text)
        if branch.doubt == doubt:
            taken = doubt.find(self._load_tree(exchange))
            if taken is not None:
                return Prompt.of(taken)
        self._end, self._branch = None, Branch(doubt=doubt)
        try:
            prompt_id = exchange.send(exchange.surface.post_prompt(self.id, parent_id, text))
        except (APIError, TransportError) as error:
            if (isinstance(error, APIError) and error.status < 500) or getattr(error, "is_unsent", False):
                # It was not taken. At 400 since the chat is not as it was, so that has to be looked at.
                self._end = None if isinstance(error, APIError) and error.status == 400 else end
                self._branch = branch
            raise
        return Prompt(prompt_id, parent_id, text)

    def _last_prompt(self, exchange: Exchange) -> Prompt:
        end = self._end or self._look(exchange)
        if end.prompt is None:
            raise ConfigurationError("the chat is empty: there is no prompt to be answered")
        return end.prompt

    def _settled_end(self, exchange: Exchange) -> End:
        """Return the end of the branch in use, once its answer is final; without `answer_id` if that has failed."""
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
            # The server says both that it has failed and that it has not.
            end = End(end.prompt)
        self._end = end
        return end

    def _look(self, exchange: Exchange) -> End:
        """Look on the server where the branch in use ends."""
        self._branch, tree, thread = self._find_branch(self._load(exchange))
        if not thread:
            return End()
        last = thread[-1]
        if last.role == "prompter":
            return End(Prompt.of(last))
        parent = tree.get(last.parent_id) if last.parent_id is not None else None
        prompt = None if parent is None else Prompt.of(parent)
        if has_failed(last):
            return End(prompt)
        return End(prompt, last.id, is_open=last.state != "complete")

    def _wait_for(self, exchange: Exchange, message_id: str) -> str:
        """Wait until an answer is final, within the limit for the first token, and return its state."""
        state = ""

        def is_final() -> bool:
            nonlocal state
            state = exchange.send(exchange.surface.get_message(self.id, message_id)).state
            return state not in OPEN_STATES

        try:
            exchange.wait_until(is_final)
        except TransportTimeout as error:
            raise TransportTimeout(
                f"the answer before this one, {message_id}, is still {state} ({error}): try again later, or if it "
                "never comes, have its prompt answered anew by regenerate(), or name another answer by parent=",
                phase=error.phase,
            ) from error
        return state

    def _tell_tail(self, exchange: Exchange, message_id: str) -> None:
        try:
            exchange.send(exchange.surface.update_chat(self.id, active_thread_tail_message_id=message_id))
        except OAError as error:
            # The reply is worth more.
            _log.warning("chat %s: the server does not know which branch is in use: %s", self.id, error)

    # The tree.

    def thread(self) -> list[Message]:
        """Return the branch in use, from the first prompt on."""

        def look(exchange: Exchange) -> list[Message]:
            thread = self._find_branch(self._load(exchange))[2]
            end = self._end
            if end is not None and thread and not end.has(thread[-1]):
                # Another client has gone on, so the next turn looks for the end as well.
                self._end = None
            return thread

        return self._run(look)

    def select(self, message: Message | str) -> None:
        """Have the branch in use end at a message; see `Chat.select`."""
        message_id = id_of("message", message)

        def select(exchange: Exchange) -> None:
            with self._turns.turn(exchange):
                # The server takes any string for the id of a message.
                find(self._load_tree(exchange), message_id)
                exchange.send(exchange.surface.update_chat(self.id, active_thread_tail_message_id=message_id))
                self._end, self._branch, self._tells_tail = None, Branch(message_id, ends_there=True), True

        self._run(select)

    def _find_branch(self, contents: Transcript) -> tuple[Branch, Tree, list[Message]]:
        """Return the branch in use, without a doubt, and the tree and the messages of it."""
        tree = Tree(message for message in contents.messages if not self._is_stub(message))
        branch = self._branch.resolve(tree)
        tail = tree.get(branch.tail or contents.chat.active_thread_tail_message_id or "")
        if tail is not None and branch.ends_there:
            return branch, tree, tree.path(tail.id)
        if tail is not None and tail.role != "prompter" and has_failed(tail):
            # Another draft beside it may be whole.
            tail = tree.get(tail.parent_id or "")
        tree.tail_id = None if tail is None else tail.id
        return branch, tree, tree.thread()

    def _is_stub(self, message: Message) -> bool:
        """Whether a message is what a full queue left behind: it looks as if it were coming, for ever."""
        return message.state == "pending" and message.parent_id in self._stubbed and message.id not in self._asked

    def export(self, format: str) -> str:
        """Return the chat as text; see `Chat.export`."""
        if format not in EXPORT_FORMATS:
            raise ConfigurationError(f"format is unknown: {show(format)}{did_you_mean(format, EXPORT_FORMATS)}")

        def export(exchange: Exchange) -> str:
            contents = self._load(exchange)
            thread = self._find_branch(contents)[2]
            if thread:
                # The branch in use is what is known here.
                chat = replace(contents.chat, active_thread_tail_message_id=thread[-1].id)
                contents = replace(contents, chat=chat, ends_at_tail=True)
            return contents.to_json() if format == "json" else contents.to_markdown()

        return self._run(export)


def ignore(_: object) -> None:
    """Be told of an exchange that nobody else could stop."""


def _check_can_be_edited(message: Message) -> str:
    """Return the parent of a prompt that can have another beside it."""
    if message.role != "prompter":
        raise ConfigurationError("only a prompt can be edited; regenerate() makes another answer")
    if message.parent_id is None:
        raise UnsupportedError(
            "the first prompt of a chat cannot be edited, as the servers take one for each chat: "
            "make a new chat with client.create_chat()"
        )
    return message.parent_id
