"""What a reply waits for."""

from __future__ import annotations

import enum


class Pause(enum.Enum):
    """What a reply that is not to wait for anything has come to."""

    #: It needs bytes from its socket; until `Reply.due`.
    BYTES = enum.auto()
    #: It has to make a call, and the thread that goes on with it waits for the answer.
    CALL = enum.auto()
    #: Its consumer is far behind. Said by those who read it, not by itself.
    ROOM = enum.auto()
    #: It waits for its turn to ask for an answer. Said by those who open it.
    TURN = enum.auto()
