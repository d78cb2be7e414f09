"""uvicorn in a thread of its own: the part of the server that needs the `local` extra."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Sequence

import uvicorn

if sys.platform != "win32":
    import resource

from oa_client.local._answers.work import BackendWorkers
from oa_client.local._errors import LocalServerError
from oa_client.local._models.backends import Backend
from oa_client.local._models.models import Models
from oa_client.local._settings import Settings
from oa_client.local._storage.accounts import Accounts
from oa_client.local._storage.clock import Clock
from oa_client.local._storage.database import Database
from oa_client.local._storage.store import Store
from oa_client.local._surfaces.app import create_app
from oa_client.local._surfaces.connection import Connection
from oa_client.local._surfaces.host import BACKLOG, Host

MOST_CONNECTIONS = 4000  # with so many all requests are answered with 503; any more are cut off
FILES_LEFT = 128  # of those that the process may open: connections do not get them
ACCEPTED_AT_ONCE = 16  # connections in one turn of the loop, which are open before any of them can be counted
GRACE = 0.5  # seconds that open answers have to end by themselves when the server stops


class Serving:
    """
    A server that runs from its making until `stop`.

    Args:
        backends: at least one; the first answers by default.
        listener: a socket that listens on the host already, so that who connects early waits in its
            backlog. It is closed with the server.
        protocol: what speaks HTTP on each connection, in the place of `Connection`.

    Raises:
        LocalServerError: if the event loop cannot be had.
    """

    def __init__(
        self,
        listener: socket.socket,
        backends: Sequence[Backend],
        database: Database,
        accounts: Accounts,
        settings: Settings,
        *,
        host: Host,
        debug_login: bool,
        clock: Clock,
        protocol: type[asyncio.Protocol] | None = None,
    ) -> None:
        # Accepted sockets inherit it. asyncio sets it by itself only where the socket names TCP as its protocol, which
        # those do not: without it an answer's body waits 40 ms for the acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        self._backends = backends
        self._database = database
        self._accounts = accounts
        self._host = host
        self._debug_login = debug_login
        self._settings = settings
        self._clock = clock
        self._protocol = protocol
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="oa-client local server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise LocalServerError(f"the local server did not start: {self._error}") from self._error

    def stop(self) -> None:
        """Stop the generations, end the streams, and wait for every thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._workers.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self._error = error
        finally:
            self._listener.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        store = Store(self._database, self._clock)
        self._workers = BackendWorkers(self._loop, store, self._settings, self._clock)
        app = create_app(
            self._workers,
            Models(self._backends, self._settings.allowed_model_config_names),
            self._accounts,
            store,
            self._settings,
            root=self._host.url(self._listener.getsockname()[1]),
            host=self._host,
            debug_login=self._debug_login,
            clock=self._clock,
        )
        config = uvicorn.Config(
            app,
            http=self._protocol or Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            limit_concurrency=_most_connections(),
            backlog=ACCEPTED_AT_ONCE,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        self._ready.set()
        await self._stopping.wait()
        self._workers.close()
        await _stop(server)
        # NOTE: not by `should_exit`, which uvicorn looks at ten times a second, and then rests as long again.
        serving.cancel()
        await asyncio.wait({serving})


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # asyncio has made of the number that it accepts at once that of those that may wait.
        for listener in sockets or ():
            listener.listen(BACKLOG)


def _most_connections() -> int:
    """How many connections there may be, so that the process can still open files, and wait for more of them."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(files - FILES_LEFT, files // 2))


async def _stop(server: uvicorn.Server) -> None:
    """Take no more connections, and end those that there are: at once, or after `GRACE` if they have an answer."""
    for listening in getattr(server, "servers", []):  # there are none before its first turn of the loop
        listening.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=GRACE)
    # Somebody may have stopped reading.
    for connection in list(state.connections):
        connection.transport.abort()
    while state.connections:
        await asyncio.sleep(0)
