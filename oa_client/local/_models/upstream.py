"""
A server with an OpenAI-compatible API, as seen from here: requests to it, and what can go wrong with them.

Nothing that comes out of here holds the key: not an error, not what the server said, not a repr.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

from oa_client.local._errors import LocalServerError
from oa_client.local._surfaces.host import is_loopback

CONNECT_TIMEOUT = 10.0  # seconds
LIST_TIMEOUT = 15.0  # seconds without a byte of the list of models
SILENCE_TIMEOUT = 300.0  # seconds without a byte of an answer: a large model may have to be loaded first
CANCEL_INTERVAL = 0.05  # seconds between two looks at whether anybody still wants the answer
BLOCK_BYTES = 65_536
MOST_BODY_BYTES = 8 << 20  # of a body that is read as a whole
MOST_EVENT_BYTES = 1 << 20
MOST_STREAM_BYTES = 32 << 20  # of all events of an answer: a hundred thousand, as most of these servers send them
MOST_SAID = 300  # characters of the server's own words that an error holds
MOST_WORD = 40  # of a header
MOST_NAME = 200  # characters of a model's name
MASK = "***"

ADVICE = {
    401: "is the key right? (api_key=, or $OA_UPSTREAM_KEY for `oa-client serve`)",
    403: "is the key right? (api_key=, or $OA_UPSTREAM_KEY for `oa-client serve`)",
    404: "is the model there, and does the address end in /v1, or whatever the documentation of that server says?",
    429: "wait, or look at what is left of the quota",
}

_KEY = re.compile(r"[\x21-\x7e]+")


class Upstream:
    """
    The server.

    The key goes to this address and to no other: no redirect is followed, and no `.netrc` is read. A
    loopback address is never asked through a proxy.

    Args:
        url: the base of its API, such as `http://127.0.0.1:11434/v1`.
        key: sent as a bearer token; None for a server that wants none.

    Raises:
        LocalServerError: if the address or the key cannot be one.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self._url = _checked(url)
        parts = urlsplit(self._url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.is_loopback = is_loopback(parts.hostname or "")
        self.is_exposed = bool(key) and parts.scheme == "http" and not self.is_loopback
        self._key = (key or "").strip()
        if self._key and not _KEY.fullmatch(self._key):
            raise LocalServerError("the key of the upstream holds spaces, or characters that no header can hold")

    def __repr__(self) -> str:
        return f"<Upstream {self.origin}{', with a key' if self._key else ''}>"

    def models(self) -> list[str]:
        """
        The names of its models, in its own order. What cannot be listed as one is left out.

        Raises:
            LocalServerError: if they cannot be had.
        """
        with self._session(_Line()) as session, self._send(session, "GET", "/models", LIST_TIMEOUT, None) as response:
            value = self._read_json(response)
        try:
            return [model["id"] for model in value["data"] if _is_name(model["id"])]
        except (KeyError, TypeError):
            raise LocalServerError(f"{self._url}/models is no list of models: {self._words(value)}") from None

    def complete(self, body: Mapping[str, Any], cancelled: threading.Event) -> Iterator[str]:
        """
        Ask for a chat completion and yield its text as it comes.

        When it is cancelled, or left, the connection is closed at once, whatever is being waited for.

        Raises:
            LocalServerError: whatever goes wrong, in words for whoever reads the answer.
        """
        line = _Line()
        pieces: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        thread = threading.Thread(
            target=self._receive, args=(body, line, pieces), name="oa-client local upstream", daemon=True
        )
        thread.start()
        try:
            while not cancelled.is_set():
                # NOTE: an Event cannot be waited for together with a queue, and reading in this thread could not
                # be left while a name is looked up or a connection made.
                try:
                    piece = pieces.get(timeout=CANCEL_INTERVAL)
                except queue.Empty:
                    continue
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            line.cut()

    def _receive(self, body: Mapping[str, Any], line: _Line, pieces: queue.SimpleQueue[str | Exception | None]) -> None:
        """Put the pieces of an answer into a queue, and what went wrong. Runs in a thread of its own."""
        try:
            with (
                self._session(line) as session,
                self._send(session, "POST", "/chat/completions", SILENCE_TIMEOUT, body) as response,
            ):
                for piece in self._texts(response):
                    pieces.put(piece)
        except Exception as error:
            pieces.put(error)
        finally:
            pieces.put(None)

    def _session(self, line: _Line) -> requests.Session:
        session = requests.Session()
        session.auth = self._authorize  # with any auth of its own requests does not look into .netrc
        session.trust_env = not self.is_loopback
        if self.is_loopback:
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        for prefix in ("http://", "https://"):
            session.mount(prefix, _Adapter(line))
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    @contextlib.contextmanager
    def _send(
        self, session: requests.Session, method: str, path: str, silence: float, body: Mapping[str, Any] | None
    ) -> Iterator[requests.Response]:
        """
        Send a request and give the response, whose body is not read yet; whatever goes wrong inside is translated.

        Raises:
            LocalServerError: also if the server refuses.
        """
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        try:
            with session.request(
                method,
                self._url + path,
                json=body,
                headers=headers,
                timeout=(CONNECT_TIMEOUT, silence),
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except LocalServerError:
            raise
        except Exception as error:
            # NOTE: not as its cause, which holds the request with the key.
            raise LocalServerError(self._clean(self._failure(error, silence))) from None

    def _failure(self, error: Exception, silence: float) -> str:
        causes = list(_causes(error))
        reason = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
        if _has(causes, requests.exceptions.ProxyError):
            return f"the upstream {self.origin} cannot be reached through the proxy that the environment names"
        # First: in some versions of urllib3 it is a ConnectTimeoutError.
        if _has(causes, urllib3.exceptions.NewConnectionError):
            return f"the upstream {self.origin} cannot be reached ({reason or 'no connection'}): is it running?"
        if _has(causes, requests.exceptions.ConnectTimeout):
            return f"the upstream {self.origin} cannot be reached: no connection within {CONNECT_TIMEOUT:g} seconds"
        if _has(causes, urllib3.exceptions.ReadTimeoutError, TimeoutError):
            return f"the upstream {self.origin} said nothing for {silence:g} seconds"
        if _has(causes, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the upstream {self.origin} is not trusted; "
                "REQUESTS_CA_BUNDLE can name a file with one to trust"
            )
        if _has(causes, ssl.SSLError):
            return f"https to the upstream {self.origin} failed: does it talk http only?"
        return f"the connection to the upstream {self.origin} broke in mid-answer ({type(causes[-1]).__name__})"

    def _refusal(self, response: requests.Response) -> LocalServerError:
        if response.is_redirect:
            target = urlsplit(response.headers["location"])
            host = target.netloc.rpartition("@")[2]
            where = f"{target.scheme or 'http'}://{host}" if host else "another path"
            return LocalServerError(
                self._clean(
                    f"the upstream {self.origin} redirects to {where}, which is not followed: "
                    "name the address that is meant"
                )
            )
        said = self._said(response)
        words = f"the upstream {self.origin} answered {response.status_code}: {said}"
        if wait := self._shortened(response.headers.get("retry-after", ""), MOST_WORD):
            words += f"; it says to wait {wait} s" if wait.isdigit() else f"; it says to wait until {wait}"
        if advice := ADVICE.get(response.status_code):
            words += f"; {advice}"
        return LocalServerError(self._clean(words))

    def _said(self, response: requests.Response) -> str:
        """What the server itself says is wrong, as far as that can be read."""
        if _media_type(response) == "text/html":
            return "a web page"
        try:
            body = self._read(response)
        except Exception:  # the status alone tells enough
            body = b""
        try:
            return self._words(json.loads(body))
        except (ValueError, RecursionError):
            return self._shortened(body.decode(errors="replace").strip()) or response.reason or "nothing"

    def _words(self, value: Any) -> str:
        """The words in an error as the various servers send it, or the beginning of whatever it is."""
        for _ in range(3):
            if isinstance(value, Mapping):
                value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), str(value))
        return self._shortened(str(value))

    def _shortened(self, text: str, most: int = MOST_SAID) -> str:
        """The beginning of what the server said. Cut first, a part of the key might be left, and would not be found."""
        return self._clean(text)[:most]

    def _clean(self, text: str) -> str:
        return text.replace(self._key, MASK) if self._key else text

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it comes: chunk by chunk, or what is there, without waiting for more."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            # A few bytes of it can become gigabytes.
            raise LocalServerError(
                f"the upstream {self.origin} answers with the content encoding {self._shortened(encoding, MOST_WORD)}, "
                "though it was asked for none"
            )
        raw = response.raw
        if raw.chunked:
            return iter(raw.stream(BLOCK_BYTES, decode_content=False))
        return iter(partial(raw.read1, BLOCK_BYTES, decode_content=False), b"")

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        for block in self._blocks(response):
            body += block
            if len(body) > MOST_BODY_BYTES:
                raise LocalServerError(f"the upstream {self.origin} answers with more than {MOST_BODY_BYTES} bytes")
        return body

    def _read_json(self, response: requests.Response) -> Any:
        if _media_type(response) == "text/html":
            raise self._no_api()
        try:
            return json.loads(self._read(response))
        except (ValueError, RecursionError):
            raise LocalServerError(f"the upstream {self.origin} answers with something else than JSON") from None

    def _no_api(self) -> LocalServerError:
        return LocalServerError(
            f"the upstream {self.origin} answers with a web page, not with its API: does the address end in /v1, "
            "or whatever the documentation of that server says?"
        )

    def _texts(self, response: requests.Response) -> Iterator[str]:
        """Yield the texts of an answer, whether it is streamed, as was asked, or comes as a whole."""
        if _media_type(response) == "text/html":
            raise self._no_api()
        if _media_type(response) == "application/json":
            yield from self._choices(self._read_json(response), "message")
            return
        finished = False
        for data in self._events(self._blocks(response)):
            if data == "[DONE]":
                return
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                raise LocalServerError(f"the upstream {self.origin} sent an event that is not JSON") from None
            yield from self._choices(value, "delta")
            finished = finished or any(choice.get("finish_reason") for choice in value["choices"])
        if not finished:
            raise LocalServerError(f"the upstream {self.origin} ended the answer in the middle")

    def _choices(self, value: Any, part: str) -> Iterator[str]:
        """Yield the texts in `part` of each choice of one JSON value."""
        if isinstance(value, dict) and value.get("error"):
            raise LocalServerError(f"the upstream {self.origin} reports: {self._words(value)}")
        try:
            # Usage comes with no choices at all, and some servers leave out what is null.
            texts = [(choice.get(part) or {}).get("content") for choice in value["choices"]]
        except (AttributeError, KeyError, TypeError):
            raise LocalServerError(f"the upstream {self.origin} sent something that is no chat completion") from None
        for text in texts:
            if isinstance(text, str) and text:
                yield text

    def _events(self, blocks: Iterable[bytes]) -> Iterator[str]:
        """
        Yield the data of each event of a stream; of the last one also without its blank line, and of [DONE] without
        its line end.

        Not with sseclient: what the client reads with must not be part of what it is tested with, and a
        line, an event or a stream without end must not fill the memory.
        """
        held, data = b"", list[bytes]()
        received = size = 0
        for block in blocks:
            received += len(block)
            if received > MOST_STREAM_BYTES:
                raise LocalServerError(f"the upstream {self.origin} answers with more than {MOST_STREAM_BYTES} bytes")
            *lines, held = (held + block).replace(b"\r\n", b"\n").split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                    size += len(line)
                elif not line and data:
                    yield b"\n".join(data).decode(errors="replace")
                    data, size = [], 0
            if size + len(held) > MOST_EVENT_BYTES:
                raise LocalServerError(
                    f"the upstream {self.origin} sent an event of more than {MOST_EVENT_BYTES} bytes"
                )
        if data:
            yield b"\n".join(data).decode(errors="replace")
        if held.removeprefix(b"data:").strip() == b"[DONE]":
            yield "[DONE]"


class _Line:
    """The connection of one answer, which any thread can cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def hold(self, sock: Any) -> None:
        """Take the socket, which is cut at once if that was asked for before it was there."""
        with self._lock:
            self._socket = sock
        if self._is_cut:
            self.cut()

    def cut(self) -> None:
        """Wake whoever reads, with the end of the stream, and tell the other side; idempotent."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                # NOTE: not SSLSocket.shutdown, which takes its TLS away from whoever is reading.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Current(threading.local):
    """The line that this thread is asking on."""

    line = _Line()


_current = _Current()


class _Connection(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _current.line.hold(self.sock)


class _SecureConnection(urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _current.line.hold(self.sock)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Has the connections that are made in sending tell the line about their socket."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        _current.line = self._line
        return super().send(*arguments, **options)


def _checked(url: str) -> str:
    """The address without a slash at its end."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        good = False
    if not good:
        raise LocalServerError(
            f"the upstream {url!r} is no address: name the base of its API, such as http://127.0.0.1:11434/v1"
        )
    if parts.username is not None or parts.password is not None:
        raise LocalServerError("the upstream's address holds a name or a password: give its key by itself")
    if parts.query or parts.fragment:
        raise LocalServerError("the upstream's address goes on after its path: leave out what begins with ? or #")
    return url.strip().rstrip("/")


def _is_name(value: Any) -> bool:
    """Whether it is a text that can be sent on as the name of a model."""
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _media_type(response: requests.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of, which requests and urllib3 keep in several places."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            yield one
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _has(causes: Iterable[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)
