"""A conversation that the server keeps, blocking."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from oa_client._blocking.stream import Stream
from oa_client._chats.conversation import Conversation, ignore
from oa_client._chats.record import ReportType
from oa_client._values.chat import ChatInfo
from oa_client._values.message import Message
from oa_client._values.question import AnswerOptions, Messages

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack


class Chat:
    """
    A conversation that the server keeps; `Client.create_chat` and `Client.open_chat` make it.

    ```python
    chat = client.create_chat(system_prompt="Answer in one sentence.")
    print(chat.ask("My name is Ada."))
    print(chat.ask("What is my name?"))
    ```

    A chat is a tree: a prompt can have several answers (drafts), and an answer several prompts after it. What is in
    use is one branch of it, from the first prompt on; each turn goes on at its end.

    A turn that is interrupted, or fails, leaves the chat usable. While its answer is still being written, the next
    turn waits for that. If no answer came of it, the same text asks again on the same prompt, and another text makes
    a prompt beside it. A draft that fails leaves the prompt its other ones.

    It may be used from many threads: turns that go on at the end come one after the other, drafts side by side. It
    needs no closing. The options that it was made with hold for each turn that does not name its own.

    Raises:
        NotFoundError: by every method, if the chat is not there or is another user's.
        ConfigurationError: by every method, if an argument is wrong, the chat was deleted, or the client is closed.
        APIError, TransportError, ProtocolError: by every method, as `Client.stream`.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    @property
    def id(self) -> str:
        """What `Client.open_chat` takes; opaque."""
        return self._conversation.id

    def stream(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> Stream:
        """
        Say something, and return the reply while it is written.

        Args:
            messages: what to say; a list as `Client.stream` takes it is flattened into one prompt.
            parent: the answer to say it after, or its id; None is the end of the branch in use.
            **options: for this turn; see `AnswerOptions`.

        Raises:
            UnsupportedError: if the branch in use ends with the chat's first prompt and this is another: the servers
                take one first prompt for each chat. `regenerate` has it answered.
            TransportTimeout: if an answer that is still being written is not final within `Timeout.first_token`. One
                that never will be, as a full queue can leave it, `regenerate` and `parent` get around.
            OAError: as `Client.stream`, and as iterating.
        """
        return Stream(self._conversation.ask(messages, parent, options)(ignore))

    def ask(
        self, messages: Messages, *, parent: Message | str | None = None, **options: Unpack[AnswerOptions]
    ) -> Message:
        """Say something, wait, and return the final message; arguments and errors are those of `stream`."""
        with self.stream(messages, parent=parent, **options) as stream:
            return stream.finish()

    def regenerate(self, message: Message | str | None = None, **options: Unpack[AnswerOptions]) -> Stream:
        """
        Have a prompt answered once more, and return the reply, as `stream`; the branch in use ends with it.

        Args:
            message: the prompt, or one of its answers, or the id of either; None is the last prompt.
            **options: for this turn; see `AnswerOptions`.
        """
        return Stream(self._conversation.regenerate(message, options)(ignore))

    def edit(self, message: Message | str, messages: Messages, **options: Unpack[AnswerOptions]) -> Stream:
        """
        Say something in the place of a prompt, and return the reply, as `stream`; the branch in use ends with it.

        The old prompt, and what came after it, stays as another branch.

        Args:
            message: the prompt, or its id.
            messages: what to say instead.
            **options: for this turn; see `AnswerOptions`.

        Raises:
            UnsupportedError: if it is the first prompt: the servers take one for each chat.
        """
        return Stream(self._conversation.edit(message, messages, options)(ignore))

    def info(self) -> ChatInfo:
        """Return the title and the other fields of the chat."""
        return self._conversation.load().chat

    def messages(self) -> list[Message]:
        """Return all messages of all branches: parents before children, and otherwise the oldest first."""
        return self._conversation.tree().messages

    def thread(self) -> list[Message]:
        """
        Return the branch in use, from the first prompt on.

        It runs through the message that was last asked for or selected here, or else on the server, and where that
        leaves a choice, through the newest message that is complete. An answer that failed counts, unless it was
        selected, only where there is no other.
        """
        return self._conversation.thread()

    def branches(self, message: Message | str) -> list[Message]:
        """Return a message and those that stand beside it: the drafts of one prompt, or the edits of one."""
        return self._conversation.branches(message)

    def select(self, message: Message | str) -> None:
        """
        Have the branch in use end at a message: the next turn follows it, if it is an answer.

        The server is told, so that the website shows that branch, and `thread` of whoever opens the chat next runs
        through it.
        """
        self._conversation.select(message)

    def rename(self, title: str) -> None:
        """Give the chat a title, of at most 100 characters."""
        self._conversation.rename(title)

    def hide(self) -> None:
        """Leave the chat out of lists."""
        self._conversation.update(hidden=True)

    def show(self) -> None:
        """Have the chat in lists again."""
        self._conversation.update(hidden=False)

    def allow_data_use(self, allowed: bool = True) -> None:
        """Opt in to the use of the chat for training (True), or out of it (False); a new chat is in."""
        self._conversation.allow_data_use(allowed)

    def delete(self) -> bool:
        """
        Delete the chat, for good.

        While an answer of it is queued or being written, that would do harm: the real server then aborts or loses
        answers of others. The chat is then hidden, and deleted in the background; `Client.close` waits for that, and
        says which could not be deleted. An answer that was cancelled or has timed out may be in the queue for a day
        yet: its chat is hidden, and `Client.close` says so.

        Returns:
            whether it is gone already.
        """
        return self._conversation.delete()

    def export(self, format: Literal["json", "markdown"] = "json") -> str:
        """
        Return the chat as text, which `Transcript.parse` reads.

        Args:
            format: "json" has everything; "markdown" is for people, and has the branch in use.
        """
        return self._conversation.export(format)

    def vote(self, message: Message | str, score: int) -> None:
        """Say that an answer is good (1), bad (-1) or neither (0)."""
        self._conversation.vote(message, score)

    def evaluate(self, message: Message | str, inferior: Sequence[Message | str]) -> None:
        """Say that a draft is better than others; the servers do not check that those are of the same prompt."""
        self._conversation.evaluate(message, inferior)

    def report(self, message: Message | str, reason: str, report_type: ReportType = "feedback") -> None:
        """
        Report an answer to those who run the server.

        Raises:
            UnsupportedError: on the website, which takes no reports.
        """
        self._conversation.report(message, reason, report_type)
