"""What can go wrong, as values: `Drop(after=2)` says what happens, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Then = Literal["complete", "unfinished", "aborted"]
"""
What becomes of an answer whose stream goes wrong: the server has it whole when the fault comes
("complete"), it is being written until its chat is hidden, as the model then has nobody to keep
waiting ("unfinished"), or the server gives it up when the fault comes ("aborted").
"""


@dataclass(frozen=True)
class _Placed:
    """
    A fault behind some tokens.

    Raises:
        ValueError: if a field has an impossible value.
    """

    after: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.after, int) or isinstance(self.after, bool) or self.after < 0:
            raise ValueError(f"after is a number of tokens, 0 or more, not {self.after!r}")


@dataclass(frozen=True)
class Drop(_Placed):
    """
    The connection ends.

    Attributes:
        after: how many tokens come before. A call that is dropped has none.
        how: "close" (as a server that is killed: no last chunk), "reset" (tokens that the client has not
            read yet may be lost), or "end" (in good order, but without the last event).
        then: what becomes of the answer, see `Then`.
    """

    how: Literal["close", "reset", "end"] = "close"
    then: Then = "complete"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("how", self.how, ("close", "reset", "end"))
        _check("then", self.then, get_args(Then))


@dataclass(frozen=True)
class Cut(_Placed):
    """
    The connection is closed in the middle of something.

    Attributes:
        after: how many tokens come before.
        inside: of what: "chunk" (the transfer's), "event" (a whole chunk with half an event), or
            "character" (a byte of one that has two in UTF-8).
        then: what becomes of the answer, see `Then`.
    """

    inside: Literal["chunk", "event", "character"] = "chunk"
    then: Then = "complete"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("inside", self.inside, ("chunk", "event", "character"))
        _check("then", self.then, get_args(Then))


@dataclass(frozen=True)
class Stall(_Placed):
    """
    Not one byte more, until the client leaves or the server closes.

    Attributes:
        after: how many tokens come before. A call that stalls has none.
        then: what becomes of the answer, see `Then`.
    """

    then: Then = "unfinished"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("then", self.then, get_args(Then))


@dataclass(frozen=True)
class Pings(_Placed):
    """
    Nothing but pings, until the client leaves or the server closes.

    Attributes:
        after: how many tokens come before.
        every: seconds between two pings, where the real server has 15: less than the client's `Timeout.read`.
        then: what becomes of the answer, see `Then`.
    """

    every: float = 0.05
    then: Then = "unfinished"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.every, (int, float)) or not self.every > 0:
            raise ValueError(f"every is a number of seconds, more than 0, not {self.every!r}")
        _check("then", self.then, get_args(Then))


@dataclass(frozen=True)
class Pause(_Placed):
    """
    The model thinks: nothing comes until `OAServer.resume()`, and then the rest.

    So a test can look at what a program does with half an answer. The pause ends, too, when the chat
    is hidden or deleted, or the server closes.

    Attributes:
        after: how many tokens come before.
    """


@dataclass(frozen=True)
class ErrorEvent:
    """
    The model fails: the stream ends with an error event, and the answer is given up.

    Attributes:
        text: the words of the event.
        after: how many tokens come before.
    """

    text: str
    after: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise ValueError(f"text is the words of the error, not {self.text!r}")
        _Placed(self.after)


@dataclass(frozen=True)
class Queued:
    """
    The answer stays in the queue: pending events, one each second, until the client leaves.

    Another answer that is asked for to another prompt cancels it, as on the real server.
    """


@dataclass(frozen=True)
class Cancelled:
    """Another request took the answer's place, of which its stream is told nothing: as `Queued` for ever."""


@dataclass(frozen=True)
class TimedOut:
    """The answer waited too long in the queue: an error event, and its state is "timeout"."""


@dataclass(frozen=True)
class Refuse:
    """
    A call is refused, in the words of the surface.

    One of 503 to "assistant_message" is that of a full queue, which leaves an answer in the chat that
    stays pending and is never written.

    Attributes:
        status: of HTTP, 200 to 599.
        detail: what the server says: a text, or a list of what is wrong; None for what goes with the status.
        retry_after: of the header of this name: seconds, or a date as in HTTP.

    Raises:
        ValueError: if a field has an impossible value.
    """

    status: int
    detail: str | list[object] | None = None
    retry_after: float | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise ValueError(f"status is one of HTTP, 200 to 599, not {self.status!r}")
        if self.detail is not None and not isinstance(self.detail, (str, list)):
            raise ValueError(f"detail is a text or a list, not {self.detail!r}")
        if isinstance(self.retry_after, (int, float)) and not self.retry_after >= 0:
            raise ValueError(f"retry_after is a number of seconds, 0 or more, not {self.retry_after!r}")
        if isinstance(self.retry_after, str) and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", self.retry_after):
            raise ValueError(f"retry_after is what a header can hold, not {self.retry_after!r}")


@dataclass(frozen=True)
class RateLimit:
    """
    Too many answers were asked for, as the real server says it: a plain 500.

    As it was meant, it is `Refuse(429, retry_after=…)`.
    """


AnswerFault = Drop | Cut | Stall | Pings | Pause | ErrorEvent | Queued | Cancelled | TimedOut
"""What can go wrong with an answer, for `OAServer.reply`."""

CallFault = Refuse | RateLimit | Drop | Stall
"""What can go wrong with any call, for `OAServer.fail`."""


def _check(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
