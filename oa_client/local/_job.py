"""One answer on its way from the model to those who read it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oa_client.local._backends import Backend
from oa_client.local._plugins import Step


@dataclass(frozen=True)
class Token:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """The last packet: the message as it was stored, and what went wrong."""

    message: dict[str, Any]
    error: str | None = None


Packet = Token | Step | End


class Job:
    """
    What the model is asked, and what it has said that nobody has read yet.

    Everything but the two events is for the event loop's thread only.

    Attributes:
        cancelled: set when nobody wants the answer any more.
        awaited: set when the first reader comes.
        over: whether the last packet has been read.
        ghosts: readers on behalf of clients that have left.

    Args:
        backend: who is to write it.
        expire: seconds after the last packet that unread ones are kept.
    """

    def __init__(
        self,
        message_id: str,
        backend: Backend,
        expire: float,
        messages: Sequence[Mapping[str, str]] = (),
        sampling: Mapping[str, Any] | None = None,
        plugin: Mapping[str, Any] | None = None,
    ) -> None:
        self.message_id = message_id
        self.backend = backend
        self.messages = messages
        self.sampling = sampling or {}
        self.plugin = plugin
        self.cancelled = threading.Event()
        self.awaited = threading.Event()
        self.over = False
        self.ghosts: set[asyncio.Task[None]] = set()
        self.ticket = 0  # its number among all that were ever in its queue
        self._place_expires = 0.0
        self._expire = expire
        self._expires = 0.0
        self._packets: asyncio.Queue[Packet] = asyncio.Queue()

    def enqueue(self, ticket: int, now: float) -> None:
        """Give the job its number, which is forgotten after a time even if it still waits."""
        self.ticket = ticket
        self._place_expires = now + self._expire

    def place(self, dequeued: int, now: float) -> int:
        """Its place in the queue, out of which so many have been taken; 0 if it is out, or forgotten."""
        ticket = self.ticket if now < self._place_expires else 0
        return max(ticket - dequeued, 0)

    def put(self, packet: Packet, now: float) -> None:
        """Add a packet for whoever reads first. Those that are too old by now are forgotten."""
        self.forget(now)
        self._expires = now + self._expire
        self._packets.put_nowait(packet)

    def forget(self, now: float) -> None:
        """Forget all packets, if the last one came too long ago."""
        if now >= self._expires:
            while not self._packets.empty():
                self._packets.get_nowait()

    async def get(self, now: float) -> Packet:
        """Wait for a packet, which nobody else gets."""
        self.forget(now)
        packet = await self._packets.get()
        if isinstance(packet, End):
            self.lay()
        return packet

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self.cancelled.set()
        self.awaited.set()
        self.lay()

    def lay(self) -> None:
        """Nothing more will come: let the ghosts go."""
        self.over = True
        for ghost in self.ghosts:
            ghost.cancel()
