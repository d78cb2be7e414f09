"""A scripted reply, and an answer that is given with it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from oa_client.local._storage.records import FINISHED
from oa_client.testing._faults import AnswerFault, Cancelled, Cut, Drop, ErrorEvent, Pings, Queued, Stall, TimedOut


@dataclass(frozen=True)
class Reply:
    """
    What the server answers.

    Attributes:
        text: the whole answer, as the final message has it.
        tokens: the pieces in which it comes; words by default. If they do not add up to the text, the
            final message differs from what came, as it can on a real server.
        fault: what goes wrong on the way.

    Raises:
        TypeError: if one of them is of another kind.
        ValueError: if the fault would come behind more tokens than there are.
    """

    text: str
    tokens: Sequence[str] | None = None
    fault: AnswerFault | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"the text of a reply is a str, not {type(self.text).__name__}")
        if self.tokens is not None:
            if isinstance(self.tokens, str) or not all(isinstance(token, str) for token in self.tokens):
                raise TypeError("the tokens of a reply are a list of str")
            object.__setattr__(self, "tokens", tuple(self.tokens))
        if self.fault is not None and not isinstance(self.fault, get_args(AnswerFault)):
            words = "that is for a call: use fail()" if hasattr(self.fault, "status") else "see AnswerFault"
            raise TypeError(f"{self.fault!r} cannot happen to an answer; {words}")
        after = getattr(self.fault, "after", 0)
        if after > len(self.pieces):
            raise ValueError(f"{self.fault!r} would come behind {after} tokens, and the reply has {len(self.pieces)}")

    @property
    def pieces(self) -> tuple[str, ...]:
        """The tokens."""
        if self.tokens is not None:
            return tuple(self.tokens)
        return tuple(re.findall(r"\s*\S+(?:\s+\Z)?|\s+\Z", self.text))


class Answer:
    """
    An answer that was asked for, and how it looks from outside.

    The server below writes all of it at once, whatever goes wrong here; so what it says of the answer
    is changed on the way out.

    Attributes:
        reply: what is answered; None until a function has said it, and if there is none.
        is_stub: whether a full queue has left it in its chat, where it is never written.
        wanted: whether somebody has looked, so that it can be written.
        over: whether the server below has written it.
        opened: whether its events were opened.
        struck: whether its fault has come.
        superseded: whether another request has taken its place in the queue.
        released: whether nobody waits for it any more, so that it need not be kept unfinished.
        resumed: whether the test has ended its pause.
    """

    def __init__(self, message: Mapping[str, Any], reply: Reply | None, *, is_stub: bool = False) -> None:
        self.id: str = message["id"]
        self.chat_id: str = message["chat_id"]
        self.parent_id: str = message["parent_id"]
        self.message = dict(message)
        self.reply = reply
        self.is_stub = is_stub
        self.wanted = self.over = self.opened = self.struck = self.superseded = self.released = self.resumed = False

    @property
    def fault(self) -> AnswerFault | None:
        """What goes wrong."""
        return self.reply.fault if self.reply else None

    @property
    def limit(self) -> float:
        """How many tokens come before its stream goes wrong by our doing; infinite if it does not."""
        if self.is_stub:
            return 0
        match self.fault:
            case Drop(after=after) | Cut(after=after) | Stall(after=after) | Pings(after=after):
                return after
            case Queued() | Cancelled() | TimedOut():
                return 0
        return math.inf

    @property
    def is_settled(self) -> bool:
        """Whether its chat may be deleted."""
        # The server sets "timeout" when it takes the answer off its queue.
        return self.is_stub or self.state("complete" if self.over else "pending") in {*FINISHED, "timeout"}

    @property
    def looks_finished(self) -> bool:
        """Whether it is as good as finished, though it may not have been written yet."""
        return self.state("complete") in FINISHED

    @property
    def is_being_read(self) -> bool:
        """Whether only its first reader hears what becomes of it."""
        return self.opened and self.limit < math.inf and not (self.struck and self.looks_finished)

    def state(self, actual: str) -> str:
        """The state that is shown, while the server below has another."""
        if self.is_stub:
            return "cancelled" if self.superseded else "pending"
        match self.fault:
            case Cancelled():
                return "cancelled"
            case Queued():
                return "cancelled" if self.superseded else actual if self.released else "pending"
            case TimedOut():
                return "timeout" if self.struck else "pending"
            case Drop(then=then) | Cut(then=then) | Stall(then=then) | Pings(then=then) if then != "complete":
                if self.released:
                    return actual
                return "aborted_by_worker" if then == "aborted" and self.struck else "in_progress"
        return actual

    def show(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message as it looks from outside."""
        state = self.state(message["state"])
        content = message["content"] if state == message["state"] else None
        if state == "complete" and self.reply is not None and not isinstance(self.fault, ErrorEvent):
            content = self.reply.text
        return {**message, "state": state, "content": content}
