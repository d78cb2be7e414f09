"""One connection to the server, and how long it may keep it waiting."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT = 20.0  # seconds that a request may take to come, its body included


class Connection(H11Protocol):
    """
    uvicorn's HTTP, but it does not wait for ever for a request, and tells of those that are nonsense where the
    rest of the package does.

    With `limit_concurrency` connections uvicorn answers 503, but that takes a request. Any more are cut off
    at once: each takes one of the files that the process can open.
    """

    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # NOTE: not as an argument of the server, which would silence the access log of every uvicorn in the process.
        self.access_log = False
        # Its own would write to the standard error of the program that this runs in, where no logging is set up.
        self.logger = logging.getLogger("oa_client.local")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Called once there is a connection."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Called when something has come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        """Called once the connection is over."""
        super().connection_lost(error)
        self._end_timer()

    def _watch(self) -> None:
        """
        Have the time run while a request is on its way.

        Between two requests nothing comes, so that none of this is called: uvicorn's own time runs then.
        """
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._end_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
