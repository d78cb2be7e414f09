"""The life of a reply, from before its first call until nothing is left to do for it."""

from __future__ import annotations

import enum
from collections.abc import Callable

from oa_client._values.errors import APIError, OAError, TransportError
from oa_client._values.message import Message

#: Answers after which nothing is queued: the message that a 503 leaves behind is never worked on.
REFUSALS = (*range(200, 500), 503)
#: A proxy's words for not knowing what became of a request.
LOST_ANSWERS = (502, 504)


class State(enum.Enum):
    """How far a reply has come."""

    #: No answer was asked for, or it is known that the server did not take the request.
    NEW = enum.auto()
    #: Its chat is being made. Whoever leaves now still waits for the id, since nobody could delete the chat without it.
    CREATING = enum.auto()
    #: An answer was asked for. Until the server says so, it may have taken the request or not.
    ASKED = enum.auto()
    #: The server has said that there will be no answer, so the chat can be deleted whatever it holds.
    REFUSED = enum.auto()
    #: The server has named the answer, and may still cancel it for another one of the same account.
    QUEUED = enum.auto()
    #: The answer is not pending any more, so the next one may be asked for.
    WRITING = enum.auto()
    #: The answer is complete, or has failed, and will not change any more, so the chat can be deleted.
    FINAL = enum.auto()
    #: The message was handed over, and the chat is deleted, kept, or left to the clean-up.
    GONE = enum.auto()
    #: The user has left before that.
    LEFT = enum.auto()


class Life:
    """
    The state of one reply. It can be held for longer than the reply, since it holds no connection.

    The thread that works for the reply makes its progress; any thread may leave it. As each writes an attribute of its
    own, neither can undo what the other wrote, and nobody needs a lock.

    Attributes:
        progress: the state that it has reached, whether or not the user has left.
        is_left: whether the user has left it; stays true.
        message_id: the answer; None until the server has named it.
        message: the final message; None until the reader has all of its text.
    """

    __slots__ = ("_on_begun", "is_left", "message", "message_id", "progress")

    def __init__(self) -> None:
        self.progress = State.NEW
        self.is_left = False
        self.message_id: str | None = None
        self.message: Message | None = None
        self._on_begun: Callable[[], object] | None = None

    @property
    def state(self) -> State:
        """The state."""
        return State.LEFT if self.is_left and self.progress is not State.GONE else self.progress

    def leave(self) -> None:
        """Note that the user has left; from any thread."""
        self.is_left = True

    # Progress.

    def create(self) -> None:
        """Note that the chat is about to be made."""
        self.progress = State.CREATING

    def created(self) -> None:
        """Note that the call that makes the chat is over, with or without a chat."""
        self.progress = State.NEW

    def ask(self) -> None:
        """Note that an answer is about to be asked for."""
        self.progress = State.ASKED

    def fail(self, error: OAError) -> None:
        """Note that a call failed; this changes nothing once the server has named the answer."""
        if self.message_id is not None:
            return
        if isinstance(error, APIError):
            if error.status in REFUSALS:
                self.progress = State.REFUSED
            elif error.status not in LOST_ANSWERS:
                # What the server made of the request, it has made by now.
                self.progress = State.NEW
        elif isinstance(error, TransportError) and error.is_unsent:
            self.progress = State.NEW

    def take(self, message_id: str, on_begun: Callable[[], object] | None) -> None:
        """Note the answer that the server has named; `on_begun` is called once, when it is not pending any more."""
        self.message_id = message_id
        self._on_begun = on_begun
        self.progress = State.QUEUED

    def begin(self) -> None:
        """Note that the answer is not pending any more; may be called again."""
        if self.progress is State.QUEUED:
            self.progress = State.WRITING
            if self._on_begun is not None:
                self._on_begun()

    def settle(self, message: Message | None = None) -> None:
        """Note that the answer will not change any more, and the message if it is complete."""
        self.begin()
        self.message = message
        self.progress = State.FINAL

    def end(self) -> None:
        """Note that nothing is left to do."""
        self.progress = State.GONE
