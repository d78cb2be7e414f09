"""
A proxy on loopback that spoils what goes through it.

`FaultyProxy` passes every request on to a server and hands its answer back as it comes. A test replaces `handle` by a
handler that lets an answer go wrong at a byte of its choice, or by one of `scripted`: `reply`, `stall`, `in_turn` and
`cut_after` fit as they are. Nothing here imports the client, and nothing waits by the clock.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import closing
from urllib.parse import urlsplit

from tests.scripted import Connection, Disconnected, Handler, Request, ScriptedServer

#: What is done to a connection: `Connection.reset`, `Connection.close`, `Connection.wait_until_left` (silence) …
Deed = Callable[[Connection], None]


class FaultyProxy(ScriptedServer):
    """
    A proxy before one server.

        with OpenAssistantScript("website") as script, FaultyProxy(script.url) as proxy:
            proxy.handle = in_turn(proxy.spoil(b'"Hel', Connection.reset), proxy.pass_on)

    As every `ScriptedServer` it is loud: `close` raises what went wrong in a handler, and that a fault never came.

    Attributes:
        handle: what is done with each request; `pass_on` at first.
    """

    def __init__(self, upstream: str, *, timeout: float = 20.0) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._unspoilt: list[str] = []
        self.handle: Handler = self.pass_on
        # The acceptor starts last: a handler sees a whole object.
        super().__init__(lambda connection, request: self.handle(connection, request), timeout=timeout)

    def pass_on(self, connection: Connection, request: Request) -> None:
        """Hand the server's answer back as it comes."""
        with closing(self._answer(connection, request)) as pieces:
            for piece in pieces:
                connection.send(piece)

    def drip(self, connection: Connection, request: Request) -> None:
        """Hand the server's answer back byte by byte, each in a segment of its own."""
        with closing(self._answer(connection, request)) as pieces:
            for piece in pieces:
                for byte in piece:
                    connection.send(bytes([byte]))

    def spoil(self, behind: bytes | int, deed: Deed) -> Handler:
        """
        Return a handler that hands an answer back to some point, and does something else there.

        Args:
            behind: bytes of the answer, head included, that still go through; or how many.
            deed: what happens then. The server's connection is closed only after it.
        """
        name = f"the fault behind {behind!r} never came"
        self._unspoilt.append(name)

        def handle(connection: Connection, request: Request) -> None:
            sent = b""
            with closing(self._answer(connection, request)) as pieces:
                for piece in pieces:
                    seen = sent + piece
                    end = behind if isinstance(behind, int) else seen.find(behind) + len(behind)
                    is_there = len(seen) >= end if isinstance(behind, int) else behind in seen
                    connection.send(seen[len(sent) : end] if is_there else piece)
                    sent = seen
                    if is_there:
                        self._unspoilt.remove(name)
                        deed(connection)
                        raise Disconnected

        return handle

    def die(self, connection: Connection) -> None:
        """End as a server that is killed: the connection is reset, and new ones are refused."""
        self.refuse()
        connection.reset()

    def close(self) -> None:
        """
        End every connection and thread; idempotent.

        Raises:
            Exception: what a handler raised, the first one.
            AssertionError: if a handler does not come to its end, or a fault of `spoil` never came.
        """
        super().close()
        if self._unspoilt:
            raise AssertionError(self._unspoilt[0])

    def _answer(self, connection: Connection, request: Request) -> Generator[bytes, None, None]:
        """Send a request on, and yield the server's answer as it comes, until the client leaves."""
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "connection"]
        # Its end is then the end of the connection.
        lines = [f"{request} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "connection: close", "", ""]
        with socket.create_connection(self._upstream, self.timeout) as upstream:
            upstream.sendall("\r\n".join(lines).encode("latin-1") + request.body)
            while True:
                connection.wait_for(upstream)
                try:
                    piece = upstream.recv(1 << 16)
                except ConnectionResetError as error:
                    connection.reset()
                    raise Disconnected from error
                if not piece:
                    return
                yield piece
