"""Conversations that the server keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar, get_args

from oa_client._blocking.stream import Stream
from oa_client._calls.cleanup import blocking_state
from oa_client._calls.engine import Engine
from oa_client._calls.exchange import Exchange
from oa_client._calls.place import Place
from oa_client._calls.reply import Opening
from oa_client._calls.turns import wait_through
from oa_client._chats.absence import explaining_absence
from oa_client._chats.places import After, Again, Beside
from oa_client._chats.position import Position, find, id_of
from oa_client._transcripts.tree import Tree
from oa_client._values.argument import did_you_mean, show
from oa_client._values.chat import ChatInfo
from oa_client._values.errors import ConfigurationError
from oa_client._values.message import Message
from oa_client._values.options import AnswerOptions, name_options
from oa_client._values.question import Messages, Question, check_text, read_options, read_question
from oa_client._wire.call import Call, check_id
from oa_client._wire.surface import Surface

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack

ReportType = Literal["spam", "offensive", "feedback"]
REPORT_TYPES = get_args(ReportType)
EXPORT_FORMATS = ("json", "markdown")
#: characters; the server refuses a longer title from a user, though it makes longer ones from first prompts.
TITLE_LIMIT = 100

_T = TypeVar("_T")


class Chat:
    """
    A conversation that the server keeps; made by `Client.create_chat` and `Client.open_chat`.

    ```python
    chat = client.create_chat(system_prompt="Answer in one sentence.")
    print(chat.ask("My name is Ada."))
    print(chat.ask("What is my name?"))
    ```

    A chat is a tree: a prompt can have several answers (drafts), and an answer several prompts after it. One branch,
    from the first prompt on, is in use, and each turn continues its end.

    A turn that is interrupted, or fails, leaves the chat usable. The next turn waits while the server still writes the
    answer. If the prompt got no answer, the same text asks for one again, and another text becomes a prompt beside it.
    If a draft fails, the prompt keeps its other drafts.

    Many threads may use it: turns at the end of the branch run one after the other, drafts side by side. You need not
    close it. Its options apply to each turn that does not name its own.

    Raises:
        NotFoundError: by every method, if the chat is not there or is another user's.
        ConfigurationError: by every method, if an argument is wrong, the chat was deleted, or the client is closed.
        APIError, TransportError, ProtocolError: by every method, as `Client.stream`.
    """

    def __init__(
        self, engine: Engine, chat_id: str, options: AnswerOptions | None = None, maker: Exchange | None = None
    ) -> None:
        self._engine = engine
        self._id = chat_id
        self._options: AnswerOptions = options or {}
        # The exchange that made the chat, and deletes it unless `_keep()` is called.
        self._maker = maker
        self._position = Position(chat_id, is_empty=maker is not None)
        self._is_deleted = False

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a chat cannot be pickled or copied: keep its id, and make another with client.open_chat(chat.id)"
        )

    @classmethod
    def _create(cls, engine: Engine, options: AnswerOptions) -> Chat:
        """Make a chat; it is deleted again unless `_keep()` is called."""
        read_options(options)
        exchange = engine.exchange(keep=False)
        with engine.guard(exchange):
            return cls(engine, exchange.create_chat(), options, exchange)

    def _keep(self) -> None:
        """Let the chat stay on the server."""
        if self._maker is not None:
            self._maker.keep_chat()
            self._maker = None

    @classmethod
    def _open(cls, engine: Engine, chat_id: str, options: AnswerOptions) -> Chat:
        """Find a chat on the server."""
        check_id("chat_id", chat_id)
        read_options(options)
        found = cls(engine, chat_id, options)
        found._position.begin_at(found.info().active_thread_tail_message_id)
        return found

    @property
    def id(self) -> str:
        """The id for `Client.open_chat`; opaque."""
        return self._id

    @name_options
    def stream(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> Stream:
        """
        Say something, and return the reply while it is written.

        Args:
            messages: the prompt; a list, as `Client.stream` takes it, is flattened into one prompt.
            parent: the answer to continue from, or its id; None continues the end of the branch in use.
            **options: for this turn; see `AnswerOptions`.

        Raises:
            UnsupportedError: if the branch in use ends with the chat's first prompt and the text differs: the servers
                take one first prompt for each chat. `regenerate` asks for its answer again.
            TransportTimeout: if the answer before it is not final within `Timeout.first_token`. A full queue can leave
                an answer that never will be: use `regenerate` or `parent` then.
            OAError: as `Client.stream`, and as iterating the stream.
        """
        return Stream(wait_through(self._asking(messages, parent, options)(ignore)))

    @name_options
    def ask(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> Message:
        """Say something, wait, and return the final message; arguments and errors are those of `stream`."""
        with Stream(wait_through(self._asking(messages, parent, options)(ignore))) as stream:
            return stream.finish()

    @name_options
    def regenerate(self, message: Message | str | None = None, **options: Unpack[AnswerOptions]) -> Stream:
        """
        Ask for another answer to a prompt, and return it as `stream` does; the branch in use then ends with it.

        Args:
            message: the prompt, or one of its answers, or the id of either; None is the last prompt.
            **options: for this turn; see `AnswerOptions`.
        """
        return Stream(wait_through(self._regenerating(message, options)(ignore)))

    @name_options
    def edit(self, message: Message | str, messages: Messages, **options: Unpack[AnswerOptions]) -> Stream:
        """
        Replace a prompt, and return the reply as `stream` does; the branch in use then ends with it.

        The old prompt and all that followed it stay as another branch.

        Args:
            message: the prompt, or its id.
            messages: the new prompt.
            **options: for this turn; see `AnswerOptions`.

        Raises:
            UnsupportedError: if it is the first prompt: the servers take one for each chat.
        """
        return Stream(wait_through(self._editing(message, messages, options)(ignore)))

    def info(self) -> ChatInfo:
        """Return the title and the other fields of the chat."""
        return self._send(lambda surface: surface.get_chat(self.id)).chat

    def messages(self) -> list[Message]:
        """Return all messages of all branches: parents before children, and otherwise the oldest first."""
        return Tree(self._send(lambda surface: surface.get_chat(self.id)).messages).messages

    def thread(self) -> list[Message]:
        """
        Return the branch in use, from the first prompt on.

        It runs through the message that was last asked for or selected here, or else on the server. Where that leaves a
        choice, it takes the newest complete message, and a failed answer only if there is no other.
        """
        with self._exchanging() as exchange:
            return self._position.thread(exchange)

    def branches(self, message: Message | str) -> list[Message]:
        """Return a message and its alternatives: the drafts of one prompt, or the edits of one."""
        message_id = id_of("message", message)
        tree = Tree(self._send(lambda surface: surface.get_chat(self.id)).messages)
        find(tree, message_id)
        return tree.siblings(message_id)

    def select(self, message: Message | str) -> None:
        """
        End the branch in use at a message; if it is an answer, the next turn follows it.

        The server stores the choice: the website then shows that branch, and so does `thread` after `Client.open_chat`.
        """
        message_id = id_of("message", message)
        with self._exchanging() as exchange:
            self._position.select(exchange, message_id)

    def rename(self, title: str) -> None:
        """Give the chat a title, of at most 100 characters."""
        if not isinstance(title, str) or len(title) > TITLE_LIMIT:
            raise ConfigurationError(f"title must be a string of at most {TITLE_LIMIT} characters")
        check_text("title", title)
        self._send(lambda surface: surface.update_chat(self.id, title=title))

    def hide(self) -> None:
        """Leave the chat out of lists."""
        self._send(lambda surface: surface.update_chat(self.id, hidden=True))

    def show(self) -> None:
        """Show the chat in lists again."""
        self._send(lambda surface: surface.update_chat(self.id, hidden=False))

    def allow_data_use(self, allowed: bool = True) -> None:
        """Opt in to the use of the chat for training (True), or out of it (False); a new chat is in."""
        if not isinstance(allowed, bool):
            raise ConfigurationError(f"allowed must be True or False, not {show(allowed)}")
        self._send(lambda surface: surface.update_chat(self.id, allow_data_use=allowed))

    def delete(self) -> bool:
        """
        Delete the chat, for good.

        While an answer in it is queued or being written, deleting would make the real server abort or lose other users'
        answers. So the chat is hidden, and deleted in the background; `Client.close` waits for that, and returns the
        chats that it could not delete. A cancelled answer may stay in the queue for a day: its chat stays hidden, and
        `Client.close` returns it too.

        Returns:
            whether the chat is already gone.
        """
        with self._exchanging() as exchange:
            surface = exchange.surface
            messages = self._position.load(exchange).messages
            is_free = blocking_state(message for message in messages if not self._position.is_stub(message)) is None
            if is_free:
                exchange.send(surface.delete_chat(self.id))
            else:
                exchange.send(surface.update_chat(self.id, hidden=True))
                self._engine.delete_later(self.id)
            self._is_deleted = True
            return is_free

    def export(self, format: Literal["json", "markdown"] = "json") -> str:
        """
        Return the chat as text for `Transcript.parse`.

        Args:
            format: "json" has everything; "markdown" is for people, and has the branch in use.
        """
        if format not in EXPORT_FORMATS:
            raise ConfigurationError(f"format is unknown: {show(format)}{did_you_mean(format, EXPORT_FORMATS)}")
        contents = self._send(lambda surface: surface.get_chat(self.id))
        thread = self._position.thread_of(contents)
        if thread:
            # This process may know of a newer branch in use than the server.
            chat = replace(contents.chat, active_thread_tail_message_id=thread[-1].id)
            contents = replace(contents, chat=chat, ends_at_tail=True)
        return contents.to_json() if format == "json" else contents.to_markdown()

    def vote(self, message: Message | str, score: int) -> None:
        """Say that an answer is good (1), bad (-1) or neither (0)."""
        message_id = _answer_id("message", message)
        if type(score) is not int or score not in (-1, 0, 1):
            raise ConfigurationError("score must be 1 (good), -1 (bad) or 0 (neither)")
        self._send(lambda surface: surface.vote(self.id, message_id, score))

    def evaluate(self, message: Message | str, inferior: Sequence[Message | str]) -> None:
        """Say that a draft is better than others; the servers do not check that they answer the same prompt."""
        message_id = _answer_id("message", message)
        if isinstance(inferior, (str, Message)) or not isinstance(inferior, Sequence) or not inferior:
            raise ConfigurationError("inferior must be a list of the other drafts, and not empty")
        ids = [_answer_id(f"inferior[{index}]", item) for index, item in enumerate(inferior)]
        if message_id in ids:
            raise ConfigurationError("inferior lists the message itself: name the drafts that are not as good")
        self._send(lambda surface: surface.evaluate(self.id, message_id, ids))

    def report(self, message: Message | str, reason: str, report_type: ReportType = "feedback") -> None:
        """
        Report an answer to those who run the server.

        Raises:
            UnsupportedError: on the website, which takes no reports.
        """
        message_id = _answer_id("message", message)
        check_text("reason", reason)
        if not reason:
            raise ConfigurationError("reason is empty: say what is wrong")
        if report_type not in REPORT_TYPES:
            near = did_you_mean(report_type, REPORT_TYPES)
            raise ConfigurationError(f"report_type {show(report_type)} is unknown to the server{near}")
        self._send(lambda surface: surface.report(self.id, message_id, report_type, reason))

    # Turns; both the blocking and the async chat open their replies with these.

    def _asking(self, messages: Messages, parent: Message | str | None, options: AnswerOptions) -> Opening:
        question = read_question(messages, options, self._options)
        return self._opening(question, After(self._position, parent))

    def _regenerating(self, message: Message | str | None, options: AnswerOptions) -> Opening:
        return self._opening(read_options(options, self._options), Again(self._position, message))

    def _editing(self, message: Message | str, messages: Messages, options: AnswerOptions) -> Opening:
        question = read_question(messages, options, self._options)
        return self._opening(question, Beside(self._position, message))

    def _opening(self, question: Question, place: Place) -> Opening:
        self._check_exists()
        return partial(self._engine.open, question, place)

    # Calls.

    @contextmanager
    def _exchanging(self) -> Iterator[Exchange]:
        self._check_exists()
        with self._engine.exchanging() as exchange:
            exchange.chat_id = self.id
            with explaining_absence(exchange, self.id):
                yield exchange

    def _send(self, make_call: Callable[[Surface], Call[_T]]) -> _T:
        with self._exchanging() as exchange:
            return exchange.send(make_call(exchange.surface))

    def _check_exists(self) -> None:
        if self._is_deleted:
            raise ConfigurationError("the chat was deleted: make a new one with client.create_chat()")


def ignore(_: object) -> None:
    """Take no note of the exchange: here nobody else could stop it."""


def _answer_id(name: str, message: Message | str) -> str:
    """Return the id of an answer; raise ConfigurationError if it is not one."""
    if isinstance(message, Message) and message.role != "assistant":
        raise ConfigurationError(f"{name} must be an answer, not a prompt")
    return id_of(name, message)
