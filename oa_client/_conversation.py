"""
The state behind a `Chat`: where in the tree its next prompt goes.

The servers keep a chat as a tree and take each message's parent from the client. A prompt can only follow an answer
that is complete, and only one prompt of a chat has no parent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from ._cleanup import blocking_state
from ._engine import Engine
from ._errors import (
    APIError,
    ConfigurationError,
    NotFoundError,
    OAError,
    RateLimitError,
    TransportError,
    UnsupportedError,
)
from ._exchange import Exchange
from ._fork import forget_in_children
from ._models import Message, did_you_mean, show
from ._question import AnswerOptions, Messages, Question, check_id, check_text, read_question
from ._stream import Outcome, Reply
from ._transcript import Transcript
from ._tree import Tree
from ._turns import Turns
from ._wire import is_gone

#: Opens a reply; is given a function to be told of the exchange.
Opening = Callable[[Callable[[Exchange], object]], Reply]
ReportType = Literal["spam", "offensive", "feedback"]

EXPORT_FORMATS = ("json", "markdown")
REPORT_TYPES = ("spam", "offensive", "feedback")
#: characters; the server refuses a longer title from a user, though it makes longer ones of first prompts.
TITLE_LIMIT = 100
#: States in which an answer is still to come.
_OPEN_STATES = frozenset({"pending", "in_progress"})

_T = TypeVar("_T")
_log = logging.getLogger("oa_client")


@dataclass(frozen=True, slots=True)
class _Prompt:
    id: str
    parent_id: str | None
    content: str | None


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A prompt of which it is not known whether the server took it; nobody has asked for an answer to it."""

    parent_id: str | None
    text: str

    def find(self, tree: Tree) -> Message | None:
        """Return the prompt if it was taken."""
        for message in reversed(tree.children(self.parent_id)):
            if message.role == "prompter" and message.content == self.text and not tree.children(message.id):
                return message
        return None


@dataclass(frozen=True, slots=True)
class _Branch:
    """
    Which branch is in use.

    Attributes:
        tail: the message that it runs through; None is the one that the server knows of.
        ends_there: whether it ends there; else it goes on to the newest messages below.
        doubt: a prompt that may be its last, instead.
    """

    tail: str | None = None
    ends_there: bool = False
    doubt: _Doubt | None = None

    def resolve(self, tree: Tree) -> _Branch:
        """Return the branch without a doubt."""
        if self.doubt is None:
            return self
        prompt = self.doubt.find(tree)
        if prompt is not None:
            return _Branch(prompt.id)
        return _Branch(self.doubt.parent_id, ends_there=self.doubt.parent_id is not None)


@dataclass(frozen=True, slots=True)
class _End:
    """
    The end of the branch in use.

    Attributes:
        prompt: the last one; None if the chat is empty.
        answer_id: its answer; None if there is none and none is coming.
        is_open: whether it is not known that the answer is complete.
    """

    prompt: _Prompt | None = None
    answer_id: str | None = None
    is_open: bool = False


class Conversation:
    """
    One chat, as this process knows it; for many threads.

    Args:
        engine: of the client.
        chat_id: of the chat.
        options: for each turn that does not name its own.
    """

    def __init__(self, engine: Engine, chat_id: str, options: AnswerOptions | None = None) -> None:
        self.id = chat_id
        self._engine = engine
        self._options: AnswerOptions = options or {}
        #: None: it has to be looked for on the server.
        self._end: _End | None = None
        # Not the reply itself, whose connection would then stay open for as long as the chat is held.
        self._outcome: Outcome | None = None
        self._branch = _Branch()
        # The answers that were asked for here, and the prompts below which a full queue has left others.
        self._asked: set[str] = set()
        self._stubbed: set[str] = set()
        # Whether to tell the server of the branch in use: it knows of one, which may not be that any more.
        self._tells_tail = False
        self._is_deleted = False
        # What has made the chat, and deletes it if nobody keeps it.
        self._maker: Exchange | None = None
        forget_in_children(self)
        self._forget()

    def _forget(self) -> None:
        """Begin with a lock that nobody holds; see `Forgetful`."""
        self._turns = Turns()

    @classmethod
    def create(cls, engine: Engine, options: AnswerOptions) -> Conversation:
        """Make a chat, which is deleted again unless `keep()` is called."""
        read_question(None, options)
        exchange = engine.exchange(keep=False)
        with engine.guard(exchange):
            made = cls(engine, exchange.create_chat(engine.workers), options)
        made._end = _End()
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
        read_question(None, options)
        found = cls(engine, chat_id, options)
        tail = found.load().chat.active_thread_tail_message_id
        found._branch, found._tells_tail = _Branch(tail), tail is not None
        return found

    # Turns.

    def ask(self, messages: Messages, parent: Message | str | None, options: AnswerOptions) -> Opening:
        """Say something at the end of the branch in use, or after another answer; see `Chat.stream`."""
        question = read_question(messages, options, self._options)
        parent_id = None if parent is None else _id_of("parent", parent)
        if isinstance(parent, Message) and parent.role != "assistant":
            raise ConfigurationError("parent must be an answer, since only that can be followed by a prompt")

        def place(exchange: Exchange, text: str) -> _Prompt:
            if parent_id is None:
                return self._post_next(exchange, text)
            self._tells_tail = True
            return self._post(exchange, parent_id, text)

        return self._opening(question, place)

    def regenerate(self, message: Message | str | None, options: AnswerOptions) -> Opening:
        """Have a prompt answered once more; see `Chat.regenerate`."""
        question = read_question(None, options, self._options)
        message_id = None if message is None else _id_of("message", message)

        def place(exchange: Exchange, _: str) -> _Prompt:
            if message_id is None:
                return self._last_prompt(exchange)
            tree = self._load_tree(exchange)
            found = _find(tree, message_id)
            self._tells_tail = True
            return _as_prompt(found if found.role == "prompter" else _find(tree, found.parent_id or ""))

        return self._opening(question, place, is_draft=True)

    def edit(self, message: Message | str, messages: Messages, options: AnswerOptions) -> Opening:
        """Say something else in the place of a prompt; see `Chat.edit`."""
        question = read_question(messages, options, self._options)
        _id_of("message", message)
        if isinstance(message, Message):
            _check_can_be_edited(message)

        def place(exchange: Exchange, text: str) -> _Prompt:
            old = message if isinstance(message, Message) else _find(self._load_tree(exchange), message)
            self._tells_tail = True
            return self._post(exchange, _check_can_be_edited(old), text)

        return self._opening(question, place)

    def _opening(
        self, question: Question, place: Callable[[Exchange, str], _Prompt], is_draft: bool = False
    ) -> Opening:
        self._check_exists()

        def start(note: Callable[[Exchange], object]) -> Reply:
            engine = self._engine
            exchange = engine.exchange(keep=True)
            exchange.chat_id = self.id
            note(exchange)
            with engine.guard(exchange), self._explaining(exchange), self._turns.turn(exchange):
                return self._start(exchange, question, place, is_draft)

        return start

    def _start(
        self, exchange: Exchange, question: Question, place: Callable[[Exchange, str], _Prompt], is_draft: bool
    ) -> Reply:
        """Begin a turn; nobody else is at it."""
        before = self._end, self._branch
        prompt: _Prompt | None = None

        def post_prompt(exchange: Exchange, text: str) -> tuple[str, str]:
            nonlocal prompt
            prompt = place(exchange, text)
            # Until it is known what came of it.
            self._end, self._branch = None, _Branch(prompt.id)
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
                    self._end = _End(prompt, exchange.message_id, is_open=True)
                    self._branch = _Branch(exchange.message_id)
                elif exchange.was_refused and is_draft:
                    # The prompt may have an answer.
                    self._end, self._branch = before
                elif exchange.was_refused:
                    self._end = _End(prompt)
        if self._tells_tail:
            self._tell_tail(exchange, reply.message_id)
        return reply

    def _post_next(self, exchange: Exchange, text: str) -> _Prompt:
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
                "the first prompt of this chat was not answered, and the servers take one for each chat: "
                "regenerate() has it answered, client.create_chat() makes a new chat"
            )
        return self._post(exchange, end.prompt.parent_id, text)

    def _post(self, exchange: Exchange, parent_id: str | None, text: str) -> _Prompt:
        end, branch = self._end, self._branch
        doubt = _Doubt(parent_id, text)
        if branch.doubt == doubt:
            taken = doubt.find(self._load_tree(exchange))
            if taken is not None:
                return _as_prompt(taken)
        self._end, self._branch = None, _Branch(doubt=doubt)
        try:
            prompt_id = exchange.send(exchange.surface.post_prompt(self.id, parent_id, text))
        except (APIError, TransportError) as error:
            if (isinstance(error, APIError) and error.status < 500) or getattr(error, "is_unsent", False):
                # It was not taken. At 400 since the chat is not as it was, so that has to be looked at.
                self._end = None if isinstance(error, APIError) and error.status == 400 else end
                self._branch = branch
            raise
        return _Prompt(prompt_id, parent_id, text)

    def _last_prompt(self, exchange: Exchange) -> _Prompt:
        end = self._end or self._look(exchange)
        if end.prompt is None:
            raise ConfigurationError("the chat is empty: there is no prompt to be answered")
        return end.prompt

    def _settled_end(self, exchange: Exchange) -> _End:
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
                end = replace(end, is_open=False)
            else:
                failed.add(answer_id)
                # The prompt may have another draft.
                end = self._look(exchange)
        if end.is_open:
            # The server says both that it has failed and that it has not.
            end = _End(end.prompt)
        self._end = end
        return end

    def _look(self, exchange: Exchange) -> _End:
        """Look on the server where the branch in use ends."""
        self._branch, tree, thread = self._find_branch(self._load(exchange))
        if not thread:
            return _End()
        last = thread[-1]
        if last.role == "prompter":
            return _End(_as_prompt(last))
        parent = tree.get(last.parent_id) if last.parent_id is not None else None
        prompt = None if parent is None else _as_prompt(parent)
        if _has_failed(last):
            return _End(prompt)
        return _End(prompt, last.id, is_open=last.state != "complete")

    def _wait_for(self, exchange: Exchange, message_id: str) -> str:
        """Wait until an answer is final, within the limit for the first token, and return its state."""
        state = ""

        def is_final() -> bool:
            nonlocal state
            state = exchange.send(exchange.surface.get_message(self.id, message_id)).state
            return state not in _OPEN_STATES

        exchange.wait_until(is_final)
        return state

    def _tell_tail(self, exchange: Exchange, message_id: str) -> None:
        try:
            exchange.send(exchange.surface.update_chat(self.id, active_thread_tail_message_id=message_id))
        except OAError as error:
            # The reply is worth more.
            _log.warning("chat %s: the server does not know which branch is in use: %s", self.id, error)

    # The tree.

    def load(self) -> Transcript:
        """Return all that the chat has."""
        return self._run(self._load)

    def tree(self) -> Tree:
        """Return the messages as a tree."""
        return self._run(self._load_tree)

    def thread(self) -> list[Message]:
        """Return the branch in use, from the first prompt on."""
        return self._run(lambda exchange: self._find_branch(self._load(exchange))[2])

    def branches(self, message: Message | str) -> list[Message]:
        """Return a message and those beside it."""
        message_id = _id_of("message", message)
        tree = self.tree()
        _find(tree, message_id)
        return tree.siblings(message_id)

    def select(self, message: Message | str) -> None:
        """Have the branch in use end at a message; see `Chat.select`."""
        message_id = _id_of("message", message)

        def select(exchange: Exchange) -> None:
            with self._turns.turn(exchange):
                # The server takes any string for the id of a message.
                _find(self._load_tree(exchange), message_id)
                exchange.send(exchange.surface.update_chat(self.id, active_thread_tail_message_id=message_id))
                self._end, self._branch, self._tells_tail = None, _Branch(message_id, ends_there=True), True

        self._run(select)

    def _load(self, exchange: Exchange) -> Transcript:
        return exchange.send(exchange.surface.get_chat(self.id))

    def _load_tree(self, exchange: Exchange) -> Tree:
        return Tree(self._load(exchange).messages)

    def _find_branch(self, contents: Transcript) -> tuple[_Branch, Tree, list[Message]]:
        """Return the branch in use, without a doubt, and the tree and the messages of it."""
        tree = Tree(message for message in contents.messages if not self._is_stub(message))
        branch = self._branch.resolve(tree)
        tail = tree.get(branch.tail or contents.chat.active_thread_tail_message_id or "")
        if tail is not None and branch.ends_there:
            return branch, tree, tree.path(tail.id)
        if tail is not None and tail.role != "prompter" and _has_failed(tail):
            # Another draft beside it may be whole.
            tail = tree.get(tail.parent_id or "")
        tree.tail_id = None if tail is None else tail.id
        return branch, tree, tree.thread()

    def _is_stub(self, message: Message) -> bool:
        """Whether a message is what a full queue left behind: it looks as if it were coming, for ever."""
        return message.state == "pending" and message.parent_id in self._stubbed and message.id not in self._asked

    # The rest.

    def export(self, format: str) -> str:
        """Return the chat as text; see `Chat.export`."""
        if format not in EXPORT_FORMATS:
            raise ConfigurationError(f"format is unknown: {show(format)}{did_you_mean(format, EXPORT_FORMATS)}")

        def export(exchange: Exchange) -> str:
            contents = self._load(exchange)
            # The branch in use is what is known here.
            branch, _, thread = self._find_branch(contents)
            tail = branch.tail or contents.chat.active_thread_tail_message_id
            chat = replace(contents.chat, active_thread_tail_message_id=tail)
            if format == "json":
                return replace(contents, chat=chat).to_json()
            return Transcript(chat, tuple(thread)).to_markdown()

        return self._run(export)

    def update(self, **changes: Any) -> None:
        """Change fields of the chat."""
        self._run(lambda exchange: exchange.send(exchange.surface.update_chat(self.id, **changes)))

    def rename(self, title: str) -> None:
        """Give the chat a title; see `Chat.rename`."""
        if not isinstance(title, str) or len(title) > TITLE_LIMIT:
            raise ConfigurationError(f"title must be a string of at most {TITLE_LIMIT} characters")
        check_text("title", title)
        self.update(title=title)

    def delete(self) -> bool:
        """Delete the chat, now or when that does no harm; see `Chat.delete`."""

        def delete(exchange: Exchange) -> bool:
            surface = exchange.surface
            messages = self._load(exchange).messages
            is_free = blocking_state(message for message in messages if not self._is_stub(message)) is None
            if is_free:
                exchange.send(surface.delete_chat(self.id))
            else:
                exchange.send(surface.update_chat(self.id, hidden=True))
                self._engine.delete_later(self.id)
            self._is_deleted = True
            return is_free

        return self._run(delete)

    def vote(self, message: Message | str, score: int) -> None:
        """Vote for an answer; see `Chat.vote`."""
        message_id = _answer_id("message", message)
        if type(score) is not int or score not in (-1, 0, 1):
            raise ConfigurationError("score must be 1 (good), -1 (bad) or 0 (neither)")
        self._run(lambda exchange: exchange.send(exchange.surface.vote(self.id, message_id, score)))

    def evaluate(self, message: Message | str, inferior: Sequence[Message | str]) -> None:
        """Say that a draft is better than others; see `Chat.evaluate`."""
        message_id = _answer_id("message", message)
        if isinstance(inferior, (str, Message)) or not isinstance(inferior, Sequence) or not inferior:
            raise ConfigurationError("inferior must be a list of the other drafts, and not empty")
        ids = [_answer_id(f"inferior[{index}]", item) for index, item in enumerate(inferior)]
        if message_id in ids:
            raise ConfigurationError("inferior has the message itself")
        self._run(lambda exchange: exchange.send(exchange.surface.evaluate(self.id, message_id, ids)))

    def report(self, message: Message | str, reason: str, report_type: str) -> None:
        """Report an answer; see `Chat.report`."""
        message_id = _answer_id("message", message)
        check_text("reason", reason)
        if not reason:
            raise ConfigurationError("reason is empty: say what is wrong")
        if report_type not in REPORT_TYPES:
            near = did_you_mean(report_type, REPORT_TYPES)
            raise ConfigurationError(f"report_type is none of the server's: {show(report_type)}{near}")
        self._run(lambda exchange: exchange.send(exchange.surface.report(self.id, message_id, report_type, reason)))

    def _check_exists(self) -> None:
        if self._is_deleted:
            raise ConfigurationError("the chat was deleted: make a new one with client.create_chat()")

    def _run(self, function: Callable[[Exchange], _T]) -> _T:
        self._check_exists()

        def run(exchange: Exchange) -> _T:
            exchange.chat_id = self.id
            with self._explaining(exchange):
                return function(exchange)

        return self._engine.run(run)

    @contextmanager
    def _explaining(self, exchange: Exchange) -> Iterator[None]:
        """Tell a chat that is not there from a server in trouble, where one answer is used for both."""
        try:
            yield
        except APIError as error:
            if error.status not in (404, 500) or isinstance(error, RateLimitError):
                raise
            try:
                is_missing = is_gone(exchange.surface, self.id, exchange.send)
            except OAError:
                # A 404 may stand for the trouble that this tells of; a 500 is as good as this.
                if error.status == 404 or exchange.stopped:
                    raise
                is_missing = False
            if not is_missing:
                raise
            said = f": {error.detail}" if error.detail else ""
            raise NotFoundError(
                f"there is no chat {self.id} here, or it is another user's{said}",
                status=error.status,
                detail=error.detail,
                method=error.method,
                path=error.path,
                response=error.response,
            ) from error


def ignore(_: object) -> None:
    """Be told of an exchange that nobody else could stop."""


def _id_of(name: str, message: Message | str) -> str:
    message_id = message.id if isinstance(message, Message) else message
    check_id(name, message_id)
    return message_id


def _answer_id(name: str, message: Message | str) -> str:
    if isinstance(message, Message) and message.role != "assistant":
        raise ConfigurationError(f"{name} must be an answer, not a prompt")
    return _id_of(name, message)


def _find(tree: Tree, message_id: str) -> Message:
    message = tree.get(message_id)
    if message is None:
        raise ConfigurationError(f"there is no message {message_id!r} in this chat")
    return message


def _as_prompt(message: Message) -> _Prompt:
    return _Prompt(message.id, message.parent_id, message.content)


def _has_failed(answer: Message) -> bool:
    """Whether an answer is not complete and never will be."""
    if answer.state in _OPEN_STATES:
        # One that should have come long ago does not come any more.
        return blocking_state([answer]) is None
    return answer.state != "complete"


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
