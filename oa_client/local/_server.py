"""Open-Assistant on this machine, for as long as a `with` block or a process lasts."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from oa_client.local._apart import call_apart
from oa_client.local._errors import INSTALL, LocalServerError
from oa_client.local._models.backends import Backend
from oa_client.local._models.registry import Choice
from oa_client.local._settings import Settings
from oa_client.local._storage.accounts import LOCAL_USER, SESSION_COOKIE, Accounts
from oa_client.local._storage.clock import Clock
from oa_client.local._storage.database import Database
from oa_client.local._storage.tokens import Tokens, checked_secret
from oa_client.local._surfaces.host import LOOPBACK, Host

if TYPE_CHECKING:
    import asyncio

    from oa_client.local._serving import Serving

MOST_PORT = 65_535


class LocalServer:
    """
    A faithful Open-Assistant: both its surfaces on one address, which is of this machine only unless told otherwise.

        with LocalServer(backend="lorem") as server:
            requests.post(f"{server.url}/api/chat", cookies=server.cookies)

    One user is there from the start, "local", signed in by `token` and by `cookies`. Others come by
    debug login, or by a client that has the `trusted_key`. Chats are kept in memory until it closes,
    or in a file: then the next server with that file has the users, the chats, and the credentials.
    A server is started once; `start` and `close` may be called again, from any thread, and then do
    nothing.

    Attributes:
        model: the name of the model that answers by default; before the start, of the backend.
        is_exposed: whether other machines can reach it: by plain http, with all that the token opens.

    Args:
        backend: "embedded" (a small model in this process), "openai" (the models of another server),
            "lorem" (no model), the name of one that another distribution brings, or a `Backend` of your
            own, which stays yours to close.
        model: for "embedded", a GGUF file with a chat model to run in place of the small one.
        upstream: for "openai", the address of any OpenAI-compatible API, such as
            `http://127.0.0.1:11434/v1`.
        upstream_model: for "openai", the model that answers by default, else the first that it lists.
        api_key: for "openai", if that server wants one. It goes to that address and no other.
        host: what to listen on: an address or a name of this machine, "0.0.0.0" or "::" for all of
            them. Others than loopback let other machines in, and need a `token` of your own.
        port: 0 for any that is free.
        token: a secret of at least 32 characters, in place of a random one; it is the value of the
            cookie too.
        store: the file in which chats are kept, made if it is not there; None for memory. It holds
            secrets, so that no other user may be able to open it, and is this server's alone while it
            runs. What a client was told is on the disk.
        settings: what the people who ran the real server could set.
        debug_login: whether `/auth/callback/debug` signs in whoever gives a name, that of a user who
            exists included.

    Raises:
        ValueError: if there is no backend of that name, it takes no such argument, or there is no such
            host or port; if the token is easily guessed; if other machines are let in without a
            token, or with `debug_login`.
        TypeError: if what is given is no `Backend`.
        LocalServerError: if the backend is a plug-in and cannot be imported.
    """

    def __init__(
        self,
        backend: str | Backend = "embedded",
        *,
        model: str | os.PathLike[str] | None = None,
        upstream: str | None = None,
        upstream_model: str | None = None,
        api_key: str | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        token: str | None = None,
        store: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        debug_login: bool = False,
    ) -> None:
        options = {"model": model, "upstream": upstream, "upstream_model": upstream_model, "api_key": api_key}
        self._choice = Choice(backend, {name: value for name, value in options.items() if value is not None})
        self.model = self._choice.name
        if not 0 <= port <= MOST_PORT:
            raise ValueError(f"port {port} does not lie between 0 and {MOST_PORT}")
        self._host = Host(host)
        self.is_exposed = self._host.is_exposed
        if self.is_exposed and token is None:
            raise ValueError(
                f"host {host!r} lets other machines in: give a token of your own, which they need "
                "(token=; --token-file or $OA_SERVE_TOKEN for `oa-client serve`)"
            )
        if self.is_exposed and debug_login:
            raise ValueError(f"host {host!r} lets other machines in, and debug_login anybody: not both")
        self._given = None if token is None else checked_secret(token)
        self._store = None if store is None else Path(store)
        self._settings = settings or Settings()
        self._clock: Clock = time.time
        self._key = secrets.token_bytes(32)
        self._accounts: Accounts  # there once it is started
        self._debug_login = debug_login
        self._port = port
        self._database: Database | None = None
        self._serving: Serving | None = None
        self._protocol: type[asyncio.Protocol] | None = None  # in the place of uvicorn's, for a server that misbehaves
        self._closed = False
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        if self._closed:
            state = "closed"
        elif self._serving is None:
            state = "not started"
        else:
            state = f"on {self.url}"
        return f"<LocalServer {self.model}, {state}>"

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """
        The address, for this machine, without a slash at its end.

        Raises:
            LocalServerError: if the server was never started.
        """
        if self._serving is None:
            raise LocalServerError("the local server has no address before it is started")
        return self._host.url(self._port)

    def page_url(self) -> str:
        """
        An address that opens the chat page in a browser, signed in as the server's own user.

        It works once, within ten minutes, and holds no other secret; each call makes a new one.

        Raises:
            LocalServerError: as `url`.
        """
        return f"{self.url}/chat?code={self._accounts.codes.make()}"

    @property
    def token(self) -> str:
        """
        A bearer token of the inference surface, good for as long as this server, or its store.

        Raises:
            LocalServerError: if the server has a store, but no token of your own, and was never started.
        """
        return self._given or self._tokens().lasting(LOCAL_USER, "access")

    @property
    def cookies(self) -> dict[str, str]:
        """The session cookie of the website surface, likewise."""
        return {SESSION_COOKIE: self._given or self._tokens().lasting(LOCAL_USER, "session")}

    @property
    def trusted_key(self) -> str:
        """
        The `api_key` of the `TrustedClient` header, which may name any user; good for as long as `token`.

        Raises:
            LocalServerError: if the server has a store and was never started.
        """
        return self._tokens().trusted_key

    def start(self) -> None:
        """
        Load the model and start serving, in a thread that does not keep the process alive.

        If a signal's handler raises meanwhile (Ctrl-C), that comes out, and what was begun is undone
        in the background; the server can be started again.

        Raises:
            LocalServerError: if the extra is not installed, the model is not downloaded, the port is
                taken, the store cannot be used, or the server has been closed.
        """
        call_apart(self._start_once)

    def close(self) -> None:
        """
        Stop every generation within one token, end the streams, and wait for the threads.

        If a signal's handler raises meanwhile (Ctrl-C), that comes out, and the rest is done in the background.
        """
        # A forked child has the object but not its threads, and shares the parent's sockets.
        if os.getpid() == self._pid:
            call_apart(self._close_once)

    def _start_once(self, left: threading.Event) -> None:
        with self._lock:
            if self._closed:
                raise LocalServerError("the local server has been closed: make a new one")
            if self._serving is None and not left.is_set():
                self._start(left)

    def _close_once(self, _left: threading.Event) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._serving is not None:
                self._serving.stop()
            if self._database is not None:
                self._database.close()
            self._choice.close()

    def _tokens(self) -> Tokens:
        if self._serving is not None:
            return self._accounts.tokens
        if self._store is not None:
            raise LocalServerError("the local server knows its credentials once it is started: they are in its store")
        return Tokens(self._key)

    def _start(self, left: threading.Event) -> None:
        try:
            from oa_client.local._serving import Serving
        except ImportError as error:
            raise LocalServerError(f"the local server is not installed: {INSTALL}") from error
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(self._host.listen(self._port))
            database = undo.enter_context(contextlib.closing(Database(self._store, self._key)))
            undo.callback(self._choice.close)
            backends = self._choice.open()
            accounts = Accounts(database, Tokens(database.key, self._clock), self._settings, self._given)
            serving = Serving(
                listener,
                backends,
                database,
                accounts,
                self._settings,
                host=self._host,
                debug_login=self._debug_login,
                clock=self._clock,
                protocol=self._protocol,
            )
            undo.callback(serving.stop)
            if left.is_set():
                return
            self.model = backends[0].name
            self._port = listener.getsockname()[1]
            self._database, self._accounts, self._serving = database, accounts, serving
            undo.pop_all()
