"""A chat as the server has it: what it holds, and what can be changed or said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from oa_client._calls.cleanup import blocking_state
from oa_client._calls.engine import Engine
from oa_client._calls.exchange import Exchange
from oa_client._transcripts.transcript import Transcript
from oa_client._transcripts.tree import Tree
from oa_client._values.argument import did_you_mean, show
from oa_client._values.errors import APIError, ConfigurationError, NotFoundError, OAError, RateLimitError, reworded
from oa_client._values.message import Message
from oa_client._values.question import check_id, check_text
from oa_client._wire.surface import is_gone

ReportType = Literal["spam", "offensive", "feedback"]

REPORT_TYPES = ("spam", "offensive", "feedback")
#: characters; the server refuses a longer title from a user, though it makes longer ones of first prompts.
TITLE_LIMIT = 100

_T = TypeVar("_T")


class Record:
    """
    One chat on the server; for many threads.

    Args:
        engine: of the client.
        chat_id: of the chat.
    """

    def __init__(self, engine: Engine, chat_id: str) -> None:
        self.id = chat_id
        self._engine = engine
        self._is_deleted = False

    def load(self) -> Transcript:
        """Return all that the chat has."""
        return self._run(self._load)

    def tree(self) -> Tree:
        """Return the messages as a tree."""
        return self._run(self._load_tree)

    def branches(self, message: Message | str) -> list[Message]:
        """Return a message and those beside it."""
        message_id = id_of("message", message)
        tree = self.tree()
        find(tree, message_id)
        return tree.siblings(message_id)

    def update(self, **changes: Any) -> None:
        """Change fields of the chat."""
        self._run(lambda exchange: exchange.send(exchange.surface.update_chat(self.id, **changes)))

    def rename(self, title: str) -> None:
        """Give the chat a title; see `Chat.rename`."""
        if not isinstance(title, str) or len(title) > TITLE_LIMIT:
            raise ConfigurationError(f"title must be a string of at most {TITLE_LIMIT} characters")
        check_text("title", title)
        self.update(title=title)

    def allow_data_use(self, allowed: bool) -> None:
        """Opt in to the use for training, or out of it; see `Chat.allow_data_use`."""
        if not isinstance(allowed, bool):
            raise ConfigurationError(f"allowed must be True or False, not {show(allowed)}")
        self.update(allow_data_use=allowed)

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
        message_id = answer_id("message", message)
        if type(score) is not int or score not in (-1, 0, 1):
            raise ConfigurationError("score must be 1 (good), -1 (bad) or 0 (neither)")
        self._run(lambda exchange: exchange.send(exchange.surface.vote(self.id, message_id, score)))

    def evaluate(self, message: Message | str, inferior: Sequence[Message | str]) -> None:
        """Say that a draft is better than others; see `Chat.evaluate`."""
        message_id = answer_id("message", message)
        if isinstance(inferior, (str, Message)) or not isinstance(inferior, Sequence) or not inferior:
            raise ConfigurationError("inferior must be a list of the other drafts, and not empty")
        ids = [answer_id(f"inferior[{index}]", item) for index, item in enumerate(inferior)]
        if message_id in ids:
            raise ConfigurationError("inferior has the message itself")
        self._run(lambda exchange: exchange.send(exchange.surface.evaluate(self.id, message_id, ids)))

    def report(self, message: Message | str, reason: str, report_type: str) -> None:
        """Report an answer; see `Chat.report`."""
        message_id = answer_id("message", message)
        check_text("reason", reason)
        if not reason:
            raise ConfigurationError("reason is empty: say what is wrong")
        if report_type not in REPORT_TYPES:
            near = did_you_mean(report_type, REPORT_TYPES)
            raise ConfigurationError(f"report_type is none of the server's: {show(report_type)}{near}")
        self._run(lambda exchange: exchange.send(exchange.surface.report(self.id, message_id, report_type, reason)))

    def check_exists(self) -> None:
        if self._is_deleted:
            raise ConfigurationError("the chat was deleted: make a new one with client.create_chat()")

    def _run(self, function: Callable[[Exchange], _T]) -> _T:
        self.check_exists()

        def run(exchange: Exchange) -> _T:
            exchange.chat_id = self.id
            with self.explaining(exchange):
                return function(exchange)

        return self._engine.run(run)

    @contextmanager
    def explaining(self, exchange: Exchange) -> Iterator[None]:
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
            raise reworded(
                error,
                NotFoundError,
                f"there is no chat {self.id} here, or it is another user's{said}",
            ) from error

    def _load(self, exchange: Exchange) -> Transcript:
        return exchange.send(exchange.surface.get_chat(self.id))

    def _load_tree(self, exchange: Exchange) -> Tree:
        return Tree(self._load(exchange).messages)

    def _is_stub(self, message: Message) -> bool:
        """Whether it is known of a message that it only looks as if it were coming."""
        return False


def id_of(name: str, message: Message | str) -> str:
    """Return the id of a message that is given by itself or by its id; ConfigurationError if it is neither."""
    message_id = message.id if isinstance(message, Message) else message
    check_id(name, message_id)
    return message_id


def answer_id(name: str, message: Message | str) -> str:
    """Return the id of an answer; ConfigurationError if it is none."""
    if isinstance(message, Message) and message.role != "assistant":
        raise ConfigurationError(f"{name} must be an answer, not a prompt")
    return id_of(name, message)


def find(tree: Tree, message_id: str) -> Message:
    """Return a message of a chat; ConfigurationError if it is not there."""
    message = tree.get(message_id)
    if message is None:
        raise ConfigurationError(f"there is no message {message_id!r} in this chat")
    return message
