"""One answer on its way from the model to those who read it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oa_client.local._answers.plugins import Step
from oa_client.local._models.backends import Backend


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
        used_plugin: how the plugin was used; set before the first token.
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
        self.used_plugin: dict[str, Any] | None = None
        self.ghosts: set[asyncio.Task[None]] = set()
        self.ticket = 0  # its number among all that were ever in its queue
        self._place_expires = 0.0
        self._expire = expire
        self._expires = 0.0
        self._packets: deque[Packet] = deque()
        self._pieces: list[str] = []
        self._readers: deque[asyncio.Future[Packet]] = deque()  # who waits, the longest first

    def enqueue(self, ticket: int, now: float) -> None:
        """Give the job its number, which is forgotten after a time even if it still waits."""
        self.ticket = ticket
        self._place_expires = now + self._expire

    def place(self, dequeued: int, now: float) -> int:
        """Its place in the queue, out of which so many have been taken; 0 if it is out, or forgotten."""
        ticket = self.ticket if now < self._place_expires else 0
        return max(ticket - dequeued, 0)

    @property
    def empty(self) -> bool:
        """Whether there is nothing that nobody has read yet."""
        return not self._packets

    def put(self, packet: Packet, now: float) -> None:
        """Add a packet for whoever has waited longest, or reads first. Those that are too old by now are forgotten."""
        self.forget(now)
        self._expires = now + self._expire
        if isinstance(packet, Token):
            self._pieces.append(packet.text)
        self._packets.append(packet)
        self._serve()

    @property
    def text(self) -> str:
        """All that was put, read or not, fit for UTF-8: halves of a character that came in two pieces are joined."""
        return "".join(self._pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def forget(self, now: float) -> None:
        """Forget all packets, if the last one came too long ago."""
        if now >= self._expires:
            self._packets.clear()

    async def get(self, now: float) -> Packet:
        """Wait for a packet, which nobody else gets."""
        self.forget(now)
        reader: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._serve()
        try:
            packet = await reader
        except asyncio.CancelledError:
            if not reader.cancelled():  # it left after it had been served
                self._packets.appendleft(reader.result())
                self._serve()
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._readers.remove(reader)
        if isinstance(packet, End):
            self.release_ghosts()
        return packet

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self.cancelled.set()
        self.awaited.set()
        self.release_ghosts()

    def release_ghosts(self) -> None:
        """Nothing more will come: let those go who read for clients that have left."""
        self.over = True
        for ghost in self.ghosts:
            ghost.cancel()

    def _serve(self) -> None:
        # NOTE: each packet is handed over here. A queue that only wakes the reader would leave it to whoever
        # comes first, and then one that is quick to come back gets them all.
        while self._packets and self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(self._packets.popleft())
