"""The connection below the framing: where an answer can be broken off at any byte."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from oa_client.local._surfaces.connection import Connection

_AT_ONCE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

Play = Callable[[ASGIApp, Scope, Receive, Send, "Line"], Awaitable[None]]
"""Answers a request, by an application or in its place."""


class Line:
    """The connection of a request, until the client has left."""

    def __init__(self, protocol: Protocol, receive: Receive) -> None:
        self._protocol = protocol
        self._receive = receive

    def write(self, data: bytes) -> None:
        """Put bytes on the wire, behind what was sent."""
        self._protocol.transport.write(data)

    async def hang_up(self, how: Literal["close", "reset"]) -> None:
        """End the connection: FIN behind what was written, or RST."""
        transport = self._protocol.transport
        if how == "reset" and not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()
        transport.close()
        await self.hold()

    async def hold(self, seconds: float | None = None) -> bool:
        """Wait until the client has left or the server closes; return whether, when it is for so many seconds."""
        self._protocol.hold()
        with anyio.move_on_after(seconds):
            while (await self._receive())["type"] != "http.disconnect":
                continue
            return True
        return False


class Protocol(Connection):
    """The local server's HTTP, with a play in front of the application."""

    play: Play

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        app = cast(ASGIApp, self.app)
        self._is_held = False  # the answer waits for the client to leave
        self._stops = False

        async def played(scope: Scope, receive: Receive, send: Send) -> None:
            self._is_held = False
            await type(self).play(app, scope, receive, send, Line(self, receive))

        self.app = cast(Any, played)

    def hold(self) -> None:
        """Keep the client until it leaves, or the server stops."""
        self._is_held = True
        if self._stops:
            self.transport.abort()

    def shutdown(self) -> None:
        """Called when the server stops: an answer that is held has no end to wait for."""
        self._stops = True
        if self._is_held:
            self.transport.abort()
        else:
            super().shutdown()


def protocol_of(play: Play) -> type[asyncio.Protocol]:
    """A protocol class with a play."""
    return type("Protocol", (Protocol,), {"play": staticmethod(play)})
