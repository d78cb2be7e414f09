"""
The one place that does network I/O: requests, on connections that another thread can wake.

A blocked read, connect or TLS handshake does not end because somebody closes the response (urllib3 issue 2868: the
closer blocks too). It ends when the socket below is shut down. So each operation has an `Interrupt`, and each
connection tells the interrupt of the operation that uses it which socket to shut down.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.auth
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from ._errors import (
    APIError,
    BusyError,
    ConfigurationError,
    OAError,
    ProtocolError,
    RateLimitError,
    TransportError,
    TransportTimeout,
)
from ._models import Timeout
from ._target import Target
from ._wire import Call, advice, error_class, error_detail

T = TypeVar("T")

#: bytes; far above any answer but an event stream.
ANSWER_LIMIT = 64 * 1024 * 1024
#: bytes asked for at a time; a chunk comes as soon as it is there, whatever its size.
PIECE = 65536
#: connections kept: fewer than streams means new connections, and a warning from urllib3 for each one dropped.
POOL_SIZE = 1024
#: After the last event: how much (bytes) and how long (seconds) to read for the end, so that the connection is kept.
DRAIN_BYTES = 65536
DRAIN_SECONDS = 0.05

_SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization", "refresh", "set-cookie", "trustedclient"}
_MASK = "***"


class Interrupted(TransportError):  # noqa: N818 - never seen as an error
    """The operation was ended by `Interrupt.fire()`; never seen by users but of a closed client."""


class Interrupt:
    """One operation's bell: `fire()`, from any thread, ends whatever it waits for and all that it tries after."""

    def __init__(self) -> None:
        # Re-entrant, since the garbage collector may fire from anywhere.
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._socket: Any = None
        self._was_shut = False

    @property
    def fired(self) -> bool:
        """Whether `fire()` was called."""
        return self._event.is_set()

    @property
    def socket(self) -> Any:
        """The socket that is in use, or None."""
        return self._socket

    def fire(self) -> None:
        """End the operation. Does not wait for it; may be called again."""
        self._event.set()
        with self._lock:
            if self._socket is not None:
                self._was_shut = True
                _shut(self._socket)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past `fire()`; return whether it was called."""
        return self._event.wait(seconds)

    def attach(self, sock: Any) -> None:
        """Say which socket the operation waits on from now."""
        with self._lock:
            self._socket = sock
            self._was_shut = False
            if self.fired:
                self.fire()

    def detach(self) -> bool:
        """Say that the operation no longer uses the socket; return whether it had been shut down by then."""
        with self._lock:
            self._socket = None
            return self._was_shut


def _shut(sock: Any) -> None:
    # Below TLS: SSLSocket.shutdown() would pull the TLS state from under the thread that reads.
    below = sock if isinstance(sock, socket.socket) else getattr(sock, "socket", None)
    with contextlib.suppress(OSError, TypeError):
        if below is None:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            socket.socket.shutdown(below, socket.SHUT_RDWR)


class _Current(threading.local):
    """The interrupt of the operation that this thread is in."""

    interrupt: Interrupt | None = None


_current = _Current()


class _Wakeable(urllib3.connection.HTTPConnection):
    """A connection that tells the current operation's interrupt about its socket, from the moment it exists."""

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
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                # A duplicate, since a TLS handshake takes the descriptor out of the socket object.
                self._watch(sock.dup())
                sock.connect(address)
            except OSError as error:
                sock.close()
                self._unwatch()
                failure = error
                if _current.interrupt is not None and _current.interrupt.fired:
                    break
            else:
                return sock
        if isinstance(failure, TimeoutError):
            message = f"Connection to {self.host} timed out. (connect timeout={self.timeout})"
            raise urllib3.exceptions.ConnectTimeoutError(self, message) from failure
        raise urllib3.exceptions.NewConnectionError(self, f"Failed to connect: {failure}") from failure

    def connect(self) -> None:
        try:
            super().connect()
            if self._interrupt is not None:
                self._interrupt.attach(self.sock)
        finally:
            self._close_handle()

    def request(self, *args: Any, **kwargs: Any) -> None:
        before, self._interrupt = self._interrupt, _current.interrupt
        if before is not None and before is not self._interrupt and before.detach():
            # The last user was interrupted between the pool's check of the connection and now.
            self.close()
        if self.sock is not None:
            # The end of an event stream is read with a timeout of its own.
            self.sock.settimeout(self.timeout)
            if self._interrupt is not None:
                self._interrupt.attach(self.sock)
        super().request(*args, **kwargs)

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


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Wakeable


class _TLSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _WakeableTLS


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes wakeable connections; SOCKS proxies keep their own, and are woken only once a response is there."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        return manager


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.adapter = _Adapter(pool_connections=2, pool_maxsize=POOL_SIZE)

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        # Redirects are refused; requests would read the whole body here to prepare the next request.
        return iter(())


class _Signature(requests.auth.AuthBase):
    """Signs a request; being there, it also keeps requests from looking into `.netrc`."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name, value in self._credentials.items():
            # Cookies that the server set (a load balancer's, say) go along.
            others = request.headers.get(name) if name == "Cookie" else None
            request.headers[name] = f"{value}; {others}" if others else value
        return request


class Transport:
    """
    Sends calls to one server.

    Args:
        target: the server and the credentials.
        headers: added to every request.
        proxy: a URL, for http and https.
        session: used as it is, neither changed nor closed; without our adapter a call in it can be woken only
            once its response has begun.
    """

    def __init__(
        self,
        target: Target,
        *,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        session: requests.Session | None = None,
    ) -> None:
        self.target = target
        self._signature = _Signature(target.credentials)
        self._headers = _check_headers(headers or {}, target)
        proxies = {} if proxy is None else dict.fromkeys(("http", "https"), _check_proxy(proxy))
        self._owned: _Session | None = None
        if session is None:
            session = self._owned = _Session()
        self._session = session
        # Looking for proxies before each request costs more than the rest of it: the environment is read once.
        settings = self._session.merge_environment_settings(target.base_url, dict(proxies), None, None, None)
        if target.is_loopback:
            settings["proxies"] = {**self._session.proxies, **proxies}
        self._settings: dict[str, Any] = {name: settings[name] for name in ("proxies", "verify", "cert")}
        self._secrets = _secrets(target.credentials, self._headers, settings["proxies"])
        if self._owned is not None:
            self._owned.trust_env = False
            self._owned.headers["User-Agent"] = f"oa-client/{version('oa-client')}"
            self._owned.mount("http://", self._owned.adapter)
            self._owned.mount("https://", self._owned.adapter)

    def close(self) -> None:
        """Close the connections."""
        if self._owned is None:
            return
        # Session.close() only lets go of the pools, and a response that somebody holds keeps its pool, and that its
        # connections.
        adapter = self._owned.adapter
        for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - not a mapping: iterating it is refused
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        self._owned.close()

    def send(self, call: Call[T], timeout: Timeout, interrupt: Interrupt) -> T:
        """
        Send a call and return what its answer says.

        Raises:
            APIError: if the server answers with an error.
            TransportError: if it does not answer.
            ProtocolError: if the answer is not what the protocol says.
            ConfigurationError: if the body is too long to send.
            Interrupted: if the interrupt is fired.
        """
        response = self._request(call, timeout, interrupt, {"Accept": "application/json"})
        try:
            body = self._read(response, call, interrupt)
        finally:
            response.close()
            interrupt.detach()
        if response.status_code >= 300:
            raise self._api_error(response, body, call)
        return call.parse(_load_json(body, call, response))

    def open(self, call: Call[None], timeout: Timeout, interrupt: Interrupt) -> Body:
        """
        Send a call and return the body of its answer as it comes; errors as `send`.

        Returns:
            the body; empty if the server says 204.
        """
        # Compressed events would come in lumps.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        response = self._request(call, timeout, interrupt, headers)
        body = Body(response, interrupt, lambda error: self._translate(error, call, interrupt))
        try:
            if response.status_code >= 300:
                raise self._api_error(response, self._read(response, call, interrupt), call)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind == "text/html":
                raise ProtocolError(f"{call.path} answered with an HTML page, not with events{_NOT_OURS}")
        except BaseException:
            body.close()
            raise
        return body

    def _request(
        self, call: Call[Any], timeout: Timeout, interrupt: Interrupt, headers: Mapping[str, str]
    ) -> requests.Response:
        if interrupt.fired:
            raise Interrupted(f"{call.method} {call.path} was interrupted before it was sent")
        data = call.encode()
        headers = {**headers, **self._headers}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = requests.Request(
            call.method,
            self.target.base_url + call.path,
            headers=headers,
            params=call.query,
            data=data,
            auth=self._signature,
        )
        limits = (timeout.connect, timeout.read)
        _current.interrupt = interrupt
        try:
            prepared = self._session.prepare_request(request)
            response = self._session.send(
                prepared, stream=True, allow_redirects=False, timeout=limits, **self._settings
            )
        except Exception as error:
            interrupt.detach()
            raise self._translate(error, call, interrupt) from self._cause(error)
        finally:
            _current.interrupt = None
        if interrupt.socket is None:
            interrupt.attach(_ForeignSocket(response))
        return response

    def _read(self, response: requests.Response, call: Call[Any], interrupt: Interrupt) -> bytes:
        pieces = []
        size = 0
        try:
            for piece in response.iter_content(PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > ANSWER_LIMIT:
                    raise ProtocolError(f"{call.path} answered with more than {ANSWER_LIMIT} bytes")
        except Exception as error:
            raise self._translate(error, call, interrupt) from self._cause(error)
        return b"".join(pieces)

    def _api_error(self, response: requests.Response, body: bytes, call: Call[Any]) -> APIError:
        status = response.status_code
        text = body.decode(errors="replace")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        detail = error_detail(data, text)
        words = [f"{call.method} {call.path} answered {status}"]
        is_page = isinstance(detail, str) and detail.lstrip()[:1] == "<"
        if is_page:
            words.append(f"an HTML page{_NOT_OURS}")
        elif detail:
            words.append(str(detail))
        if status < 400:
            words.append(f"redirects are refused{_destination(response)}")
        hint = advice(status, self.target.surface)
        if hint:
            words.append(hint)
        error = error_class(status)(
            ": ".join(words),
            status=status,
            detail=detail,
            method=call.method,
            path=call.path,
            response=_snapshot(response, body),
        )
        if isinstance(error, (RateLimitError, BusyError)):
            error.retry_after = _retry_after(response.headers.get("Retry-After"))
        return error

    def _translate(self, error: Exception, call: Call[Any], interrupt: Interrupt) -> OAError:
        """Return our error for one of the libraries below."""
        if isinstance(error, OAError):
            return error
        what = f"{call.method} {self.target.base_url}{call.path}"
        if isinstance(error, requests.RequestException):
            if error.request is not None:
                error.request = _mask_request(error.request)  # type: ignore[arg-type]  # it is prepared
            error.response = None
        if interrupt.fired:
            return Interrupted(f"{what} was interrupted")
        result: OAError
        if isinstance(error, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)) and not isinstance(
            error, urllib3.exceptions.NewConnectionError
        ):
            result = TransportTimeout(f"{what}: no connection in time", phase="connect")
        elif isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)) or _is_timeout(error):
            result = TransportTimeout(f"{what}: the server sent nothing in time", phase="read")
        elif isinstance(error, (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)):
            result = ProtocolError(f"{what}: the body is not in the encoding that its header names")
        elif isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
            result = TransportError(
                f"{what}: no secure connection: {_reason(error)}; for a certificate authority of your own set "
                "$REQUESTS_CA_BUNDLE to its file"
            )
        elif isinstance(error, (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)):
            result = TransportError(f"{what}: the proxy does not connect: {_reason(error)}")
        elif isinstance(error, _UNSENDABLE):
            result = ConfigurationError(f"{what}: the request cannot be made: {_reason(error)}")
        else:
            result = TransportError(f"{what}: no answer: {_reason(error)}{self._is_it_running(error)}")
        if isinstance(result, TransportError):
            result.request = getattr(error, "request", None)
            result.is_unsent = any(isinstance(item, urllib3.exceptions.ConnectTimeoutError) for item in _chain(error))
        return result

    def _is_it_running(self, error: Exception) -> str:
        refused = isinstance(_innermost(error), ConnectionRefusedError)
        return "; is the server running? `oa-client serve` starts one on this machine" if refused else ""

    def _cause(self, error: Exception) -> Exception | None:
        """Return the error to chain, or None if it would show a secret."""
        return None if any(secret in str(error) for secret in self._secrets) else error


class Body:
    """
    The body of an event stream, in the pieces in which it comes.

    Iterating raises what `Transport.send` raises, and ends early if the interrupt is fired.
    """

    def __init__(
        self, response: requests.Response, interrupt: Interrupt, translate: Callable[[Exception], OAError]
    ) -> None:
        self._response = response
        self._interrupt = interrupt
        self._translate = translate
        raw = response.raw
        # Not a generator of our own: it would know this body, and the cycle would keep the socket open.
        self._pieces: Iterator[bytes] = (
            # Each chunk as it comes. On any other body this waits for PIECE bytes, or the end.
            raw.stream(PIECE, decode_content=True)
            if getattr(raw, "chunked", False)
            else iter(partial(raw.read1, PIECE, decode_content=True), b"")
        )

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except Exception as error:
            if self._interrupt.fired:
                raise StopIteration from None
            raise self._translate(error) from error

    def set_timeout(self, seconds: float | None) -> None:
        """Bound the next read, in seconds; does nothing on a socket that is not ours."""
        sock = self._interrupt.socket
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.settimeout(seconds)

    def drain(self) -> None:
        """Read on to the end, but not for long, and close: at its end, the connection is kept for the next call."""
        deadline = time.monotonic() + DRAIN_SECONDS
        size = 0
        try:
            self.set_timeout(DRAIN_SECONDS)
            for piece in self:
                size += len(piece)
                if size > DRAIN_BYTES or time.monotonic() > deadline:
                    break
        except OAError:
            pass
        self.close()

    def close(self) -> None:
        """Let go of the connection; a body that has not been read to its end costs it."""
        self._interrupt.detach()
        self._response.close()


class _ForeignSocket:
    """What can be reached of the socket below a response of somebody else's session."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw

    def shutdown(self, _how: int) -> None:
        with contextlib.suppress(AttributeError, RuntimeError, ValueError, OSError):
            self._raw.shutdown()

    def settimeout(self, seconds: float | None) -> None:
        sock = getattr(getattr(self._raw, "connection", None), "sock", None)
        if sock is not None:
            sock.settimeout(seconds)


#: Raised before anything is sent.
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxySchemeUnsupported,
    UnicodeError,
)
_NOT_OURS = ": is base_url right, and does something stand in front of the server?"


def _load_json(body: bytes, call: Call[Any], response: requests.Response) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("Content-Type", "no content type")
        raise ProtocolError(f"{call.method} {call.path} answered {kind}, not JSON{_NOT_OURS}") from error


def _destination(response: requests.Response) -> str:
    parts = urlsplit(response.headers.get("Location", ""))
    if not parts.netloc:
        return ""
    return f", and this one leads to {parts.scheme}://{parts.hostname}: if you trust it, make it the base_url"


def _retry_after(value: str | None) -> float | None:
    """Read the header: seconds, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _check_headers(headers: Mapping[str, str], target: Target) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable() or ":" in name:
            raise ConfigurationError("headers has a name that is not one")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigurationError(f"headers: the value of {name!r} is not a header value")
        if name.lower() in {known.lower() for known in target.credentials}:
            raise ConfigurationError(f"headers has {name!r}, which token= or cookies= sets: give one of the two")
    return dict(headers)


def _check_proxy(proxy: str) -> str:
    problem = "proxy must be a URL, for example http://127.0.0.1:3128"
    try:
        parts = urlsplit(proxy)
        port = parts.port
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(problem) from None
    if (
        parts.scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
        or not parts.hostname
        or port == 0
    ):
        raise ConfigurationError(problem)
    return proxy


def _secrets(credentials: Mapping[str, str], headers: Mapping[str, str], proxies: Mapping[str, str]) -> frozenset[str]:
    """Return the strings that no message may show."""
    found = {value for name, value in headers.items() if name.lower() in _SECRET_HEADERS}
    for value in credentials.values():
        found.add(value)
        found.add(value.removeprefix("Bearer "))
        found.update(part.partition("=")[2] for part in value.split("; "))
    found.update(urlsplit(proxy).password or "" for proxy in proxies.values())
    return frozenset(found - {""})


def _mask_request(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return a copy without credentials."""
    copy = requests.PreparedRequest()
    copy.method, copy.url, copy.body = request.method, request.url, request.body
    copy.headers = _mask_headers(request.headers)
    copy.hooks = {}
    return copy


def _mask_headers(headers: Mapping[str, str]) -> Any:
    pairs = ((name, _MASK if name.lower() in _SECRET_HEADERS else value) for name, value in headers.items())
    return requests.structures.CaseInsensitiveDict(pairs)


def _snapshot(response: requests.Response, body: bytes) -> requests.Response:
    """Return a copy that holds neither a socket nor a credential."""
    copy = requests.Response()
    copy.status_code, copy.reason, copy.url = response.status_code, response.reason, response.url
    copy.headers, copy.encoding = _mask_headers(response.headers), response.encoding
    copy.elapsed = response.elapsed
    copy._content = body
    copy.request = _mask_request(response.request)
    return copy


def _innermost(error: BaseException) -> BaseException:
    *_, last = _chain(error)
    return last


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Follow the libraries' ways of wrapping from an error down to the one that started it."""
    seen = {id(error)}
    yield error
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((item for item in error.args if isinstance(item, BaseException)), None)
        inner = inner or error.__cause__ or error.__context__
        if inner is None or id(inner) in seen:
            return
        seen.add(id(inner))
        error = inner
        yield error


def _is_timeout(error: Exception) -> bool:
    # requests.iter_content() reports a read timeout as a ConnectionError.
    return isinstance(_innermost(error), TimeoutError)


def _reason(error: Exception) -> str:
    inner = _innermost(error)
    text = getattr(inner, "strerror", None) or str(inner)
    return f"{type(inner).__name__}: {text}" if text else type(inner).__name__
