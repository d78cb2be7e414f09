"""
Connections that another thread can wake.

Closing the response does not end a blocked read, connect or TLS handshake (urllib3 issue 2868: the closer blocks too).
Shutting down the socket below does. So each operation has an `Interrupt`, and a connection tells the interrupt of its
operation which socket to shut down.
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
from oa_client._wire.limits import COOKIE_LIMIT, COOKIES_SIZE

#: connections kept; with more streams than this, urllib3 drops connections, with a warning for each.
POOL_SIZE = 1024


class _Current(threading.local):
    """The interrupt of this thread's operation."""

    interrupt: Interrupt | None = None


_current = _Current()


@contextmanager
def operation(interrupt: Interrupt) -> Iterator[None]:
    """Give the interrupt to the connections that this thread uses inside."""
    _current.interrupt = interrupt
    try:
        yield
    finally:
        _current.interrupt = None


class _DeadlineReader(io.RawIOBase):
    """Read from a socket until the deadline of the current operation."""

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
    """A response that must arrive before the deadline of the current operation."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, _current.interrupt))

    def _read_status(self) -> Any:
        # Of the interim responses, http.client knows only 100. It would take another for the response, and the response
        # for the next request's.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not public
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Wakeable(urllib3.connection.HTTPConnection):
    """A connection that gives its socket to the current operation's interrupt as soon as the socket exists."""

    response_class = _Answer
    _interrupt: Interrupt | None = None
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        # Like urllib3's, but the interrupt knows the socket before it connects.
        try:
            addresses = socket.getaddrinfo(
                self.host, self.port, urllib3.util.connection.allowed_gai_family(), socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        failure: OSError | None = None
        # One limit for all addresses; each gets its share, so that a silent address does not hide a good one.
        deadline = monotonic() + self.timeout if isinstance(self.timeout, (int, float)) else math.inf
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if deadline < math.inf:
                    sock.settimeout(max((deadline - monotonic()) / (len(addresses) - index), 0.001))
                # A duplicate, because a TLS handshake takes the descriptor out of the socket object.
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
            # For the response of a proxy.
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
    The connections of a pool, without a lock.

    The locks of the standard library's queues are written in Python: if a signal's handler raises there, they stay
    locked. The methods of a list are atomic, and urllib3 never waits here.
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
    """Makes wakeable connections; those to SOCKS proxies can be woken only after the response has started."""

    def __init__(self, **kwargs: Any) -> None:
        self._preparing = threading.Lock()
        super().__init__(**kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """
        Set the authorities that a pool trusts, as requests does, but read their file only once.

        urllib3 would read it for each connection, which takes longer than everything else, while other threads wait.
        """
        with self._preparing:
            if "ssl_context" in getattr(conn, "conn_kw", ()):
                return
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests has no types
            # urllib3 connects to a TLS proxy with these settings too, but would not use the context there.
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
    """Return the TLS context that urllib3 would make for each connection of a pool."""
    context = create_urllib3_context(cert_reqs=resolve_cert_reqs(pool.cert_reqs))
    if pool.ca_certs or pool.ca_cert_dir:
        try:
            context.load_verify_locations(pool.ca_certs, pool.ca_cert_dir)
        except OSError as error:
            raise requests.exceptions.SSLError(error) from error
    return context


class _Jar(requests.cookies.RequestsCookieJar):
    """The cookies that the server has set, up to the limits."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        # Even an empty jar locks itself, and stays locked if a signal's handler raises there.
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
        # requests only drops the pools, but a response that somebody holds keeps its pool, and the pool its
        # connections.
        for manager in (self.adapter.poolmanager, *self.adapter.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - not a mapping: it refuses to be iterated
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()
