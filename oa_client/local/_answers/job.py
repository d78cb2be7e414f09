"""One answer on its way from the model to its readers."""

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
class TokenPacket:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class LastPacket:
    """The last packet: the stored message, and the error, if any."""

    message: dict[str, Any]
    error: str | None = None


Packet = TokenPacket | Step | LastPacket


class Job:
    """
    An answer to be written: the messages for the model, and its packets that nobody has read yet.

    Only the event loop's thread may use it, except the two events.

    Attributes:
        cancelled: set when nobody needs the answer any more.
        awaited: set when the first reader comes.
        over: whether the last packet has been read.
        used_plugin: the use of the plugin; set before the first token.
        ghosts: readers in the place of clients that have left.

    Args:
        backend: writes the answer.
        expire: seconds that unread packets are kept after the last one.
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
        self.ticket = 0  # its number among all jobs that were ever in its queue
        self._place_expires = 0.0
        self._expire = expire
        self._expires = 0.0
        self._packets: deque[Packet] = deque()
        self._pieces: list[str] = []
        self._readers: deque[asyncio.Future[Packet]] = deque()  # the waiting readers, the longest first

    def enqueue(self, ticket: int, now: float) -> None:
        """Give the job its number; after a time it is forgotten, even if the job still waits."""
        self.ticket = ticket
        self._place_expires = now + self._expire

    def place(self, dequeued: int, now: float) -> int:
        """Return its place in the queue, from which so many jobs have been taken; 0 if it has left, or is forgotten."""
        ticket = self.ticket if now < self._place_expires else 0
        return max(ticket - dequeued, 0)

    @property
    def empty(self) -> bool:
        """Return whether all packets have been read."""
        return not self._packets

    def put(self, packet: Packet, now: float) -> None:
        """Add a packet for the longest waiting reader, or else the next one; forget packets that are too old."""
        self.forget(now)
        self._expires = now + self._expire
        if isinstance(packet, TokenPacket):
            self._pieces.append(packet.text)
        self._packets.append(packet)
        self._serve()

    @property
    def text(self) -> str:
        """Return the whole text, read or not, fit for UTF-8: a character that came in two halves is joined."""
        return "".join(self._pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def forget(self, now: float) -> None:
        """Forget all packets if the last one came too long ago."""
        if now >= self._expires:
            self._packets.clear()

    async def get(self, now: float) -> Packet:
        """Wait for a packet, which no other reader gets."""
        self.forget(now)
        reader: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._serve()
        try:
            packet = await reader
        except asyncio.CancelledError:
            if not reader.cancelled():  # it left after it had got a packet
                self._packets.appendleft(reader.result())
                self._serve()
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._readers.remove(reader)
        if isinstance(packet, LastPacket):
            self.release_ghosts()
        return packet

    def cancel(self) -> None:
        """Mark the answer as no longer needed."""
        self.cancelled.set()
        self.awaited.set()
        self.release_ghosts()

    def release_ghosts(self) -> None:
        """Nothing more will come: end the readers for clients that have left."""
        self.over = True
        for ghost in self.ghosts:
            ghost.cancel()

    def _serve(self) -> None:
        # NOTE: each packet goes to one reader here. If a queue only woke a reader, a faster reader could take all
        # packets.
        while self._packets and self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(self._packets.popleft())
