"""
Connections that another thread can wake.

A blocked read, connect or TLS handshake does not end because somebody closes the response (urllib3 issue 2868: the
closer blocks too). It ends when the socket below is shut down. So each operation has an `Interrupt`, and each
connection tells the interrupt of the operation that uses it which socket to shut down.
"""

from __future__ import annotations

import http.client
import io
import math
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import Cookie
from time import monotonic
from typing import Any

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from oa_client._net.interrupt import Interrupt
from oa_client._values.foreign import is_foreign

#: connections kept: fewer than streams means new connections, and a warning from urllib3 for each one dropped.
POOL_SIZE = 1024
#: cookies, and characters of all together, that a server may have set: they go along with each request.
COOKIE_LIMIT, COOKIES_SIZE = 50, 16 * 1024


class _Current(threading.local):
    """The interrupt of the operation that this thread is in."""

    interrupt: Interrupt | None = None


_current = _Current()


@contextmanager
def operation(interrupt: Interrupt) -> Iterator[None]:
    """Let the connections that this thread uses inside know the interrupt."""
    _current.interrupt = interrupt
    try:
        yield
    finally:
        _current.interrupt = None


class _Punctual(io.RawIOBase):
    """What comes from a socket, until the deadline of the current operation."""

    def __init__(self, raw: io.RawIOBase, sock: Any, interrupt: Interrupt | None) -> None:
        self._raw = raw
        self._sock = sock
        self._interrupt = interrupt

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        deadline = math.inf if self._interrupt is None else self._interrupt.deadline
        if deadline != math.inf:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            limit = self._sock.gettimeout()
            if limit is None or limit > left:
                self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that has to be there by the deadline of the current operation."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Punctual(self.fp.detach(), sock, _current.interrupt))

    def _read_status(self) -> Any:
        # http.client knows 100 alone of the interim answers. Any other it would take for the answer, and the answer for
        # that to the next request.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not public
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Wakeable(urllib3.connection.HTTPConnection):
    """A connection that tells the current operation's interrupt about its socket, from the moment it exists."""

    response_class = _Answer
    _interrupt: Interrupt | None = None
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        # As urllib3's, but the socket is known before it connects.
        try:
            addresses = socket.getaddrinfo(
                self.host, self.port, urllib3.util.connection.allowed_gai_family(), socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        failure: OSError | None = None
        # One limit for all of them; each gets its share, so that one that swallows all does not hide a good one.
        deadline = monotonic() + self.timeout if isinstance(self.timeout, (int, float)) else math.inf
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if deadline < math.inf:
                    sock.settimeout(max((deadline - monotonic()) / (len(addresses) - index), 0.001))
                # A duplicate, since a TLS handshake takes the descriptor out of the socket object.
                self._watch(sock.dup())
                sock.connect(address)
            except BaseException as error:
                sock.close()
                self._unwatch()
                if not isinstance(error, OSError) or is_foreign(error):
                    raise
                failure = error
                if _current.interrupt is not None and _current.interrupt.fired:
                    break
            else:
                sock.settimeout(self.timeout)
                return sock
        if isinstance(failure, TimeoutError):
            message = f"Connection to {self.host} timed out. (connect timeout={self.timeout})"
            raise urllib3.exceptions.ConnectTimeoutError(self, message) from failure
        raise urllib3.exceptions.NewConnectionError(self, f"Failed to connect: {failure}") from failure

    def connect(self) -> None:
        try:
            # For the answer of a proxy.
            self._limit(self.timeout)
            super().connect()
            if self._interrupt is not None:
                self._interrupt.attach(self.sock)
        finally:
            self._close_handle()

    def request(self, *args: Any, **kwargs: Any) -> None:
        before, self._interrupt = self._interrupt, _current.interrupt
        if before is not None and before is not self._interrupt and before.has_shut(self.sock):
            # The last user was interrupted between the pool's check of the connection and now.
            self.close()
        if self.sock is not None:
            # The end of an event stream is read with a timeout of its own.
            self.sock.settimeout(self.timeout)
            if self._interrupt is not None:
                self._interrupt.attach(self.sock)
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        self._limit(self.timeout)
        return super().getresponse()

    def _limit(self, seconds: Any) -> None:
        interrupt = _current.interrupt
        if interrupt is not None:
            interrupt.deadline = monotonic() + seconds if isinstance(seconds, (int, float)) else math.inf

    def _watch(self, handle: socket.socket) -> None:
        self._handle, self._interrupt = handle, _current.interrupt
        if self._interrupt is not None:
            self._interrupt.attach(handle)

    def _unwatch(self) -> None:
        if self._interrupt is not None:
            self._interrupt.detach()
        self._close_handle()

    def _close_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _WakeableTLS(_Wakeable, urllib3.connection.HTTPSConnection):
    pass


class _Spare(queue.LifoQueue[Any]):
    """
    The connections that a pool keeps, without a lock.

    Those of the standard library's queues are written in Python: if a signal's handler raises there, they stay locked.
    What a list does is done at once, and urllib3 never waits here.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self.queue.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self.queue) >= self.maxsize:
            raise queue.Full
        self.queue.append(item)


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Wakeable
    QueueCls = _Spare


class _TLSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _WakeableTLS
    QueueCls = _Spare


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes wakeable connections; SOCKS proxies keep their own, and are woken only once a response is there."""

    def __init__(self, **kwargs: Any) -> None:
        self._preparing = threading.Lock()
        super().__init__(**kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """
        Say whom the connections of a pool trust, as requests does, but have the authorities' file read once.

        urllib3 would read it for each connection, which takes longer than all else, and other threads wait meanwhile.
        """
        with self._preparing:
            if "ssl_context" in getattr(conn, "conn_kw", ()):
                return
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests has no types
            # The connection to a proxy with TLS is made with the same settings, and would not be with the context.
            if conn.scheme == "https" and (conn.proxy is None or conn.proxy.scheme != "https"):
                conn.conn_kw["ssl_context"] = _make_context(conn)
                conn.ca_certs = conn.ca_cert_dir = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        return manager


def _make_context(pool: urllib3.connectionpool.HTTPSConnectionPool) -> ssl.SSLContext:
    """Return what urllib3 would make for each connection of a pool."""
    context = create_urllib3_context(cert_reqs=resolve_cert_reqs(pool.cert_reqs))
    if pool.ca_certs or pool.ca_cert_dir:
        try:
            context.load_verify_locations(pool.ca_certs, pool.ca_cert_dir)
        except OSError as error:
            raise requests.exceptions.SSLError(error) from error
    return context


class _Jar(requests.cookies.RequestsCookieJar):
    """Cookies that the server has set; what is too much is not taken."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        # A jar locks itself even if there is nothing, and stays locked if a signal's handler raises there.
        if response.info().get("Set-Cookie") is not None:
            super().extract_cookies(response, request)

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> Any:
        kept = [cookie, *(item for item in self if _place(item) != _place(cookie))]
        if len(kept) > COOKIE_LIMIT or sum(len(item.name) + len(item.value or "") for item in kept) > COOKIES_SIZE:
            return None
        return super().set_cookie(cookie, *args, **kwargs)


def _place(cookie: Cookie) -> tuple[str, str, str]:
    return cookie.domain, cookie.path, cookie.name


class Session(requests.Session):
    """A session with wakeable connections."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies = _Jar()
        self.adapter = _Adapter(pool_connections=2, pool_maxsize=POOL_SIZE)
        self.mount("http://", self.adapter)
        self.mount("https://", self.adapter)

    def close(self) -> None:
        # requests only lets go of the pools, and a response that somebody holds keeps its pool, and that its
        # connections.
        for manager in (self.adapter.poolmanager, *self.adapter.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - not a mapping: iterating it is refused
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()
