"""A connection to the server, with limits for slow clients."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: seconds that a request may take to come, its body included
REQUEST_TIMEOUT = 20.0


class Connection(H11Protocol):
    """
    uvicorn's HTTP, but with a time limit for requests, and with the package's own log for malformed ones.

    Above `limit_concurrency` uvicorn answers 503, but only to a request. This class closes further connections at once,
    because each takes one of the files that the process can open.
    """

    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # NOTE: not an argument of the server, which would silence the access log of every uvicorn in the process.
        self.access_log = False
        # If the program sets up no logging, uvicorn's log would write to its standard error.
        self.logger = logging.getLogger("oa_client.local")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin with a new connection."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Take the bytes that have come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        """End with the connection."""
        super().connection_lost(error)
        self._end_timer()

    def _watch(self) -> None:
        """
        Run the timer while a request is arriving.

        Between two requests nothing calls this, and uvicorn's own timer runs.
        """
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._end_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
