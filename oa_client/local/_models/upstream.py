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
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from oa_client.local._errors import LocalServerError
from oa_client.local._models.complaints import MOST_WORD, Complaints, media_type
from oa_client.local._models.sse import read_events
from oa_client.local._surfaces.host import is_loopback

CONNECT_TIMEOUT = 10.0  # seconds
LIST_TIMEOUT = 15.0  # seconds without a byte of the list of models
SILENCE_TIMEOUT = 300.0  # seconds without a byte of an answer: a large model may have to be loaded first
CANCEL_INTERVAL = 0.05  # seconds between two looks at whether anybody still wants the answer
MOST_BODY_BYTES = 8 << 20  # of a body that is read as a whole
MOST_EVENT = 1 << 20  # characters
MOST_STREAM_BYTES = 32 << 20  # of all events of an answer: a hundred thousand, as most of these servers send them
MOST_NAME = 200  # characters of a model's name
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
        self._host = httpx.URL(self._url).raw_host.decode()
        self.is_loopback = is_loopback(parts.hostname or "")
        self.is_exposed = bool(key) and parts.scheme == "http" and not self.is_loopback
        self._key = (key or "").strip()
        if self._key and not _KEY.fullmatch(self._key):
            raise LocalServerError("the key of the upstream holds spaces, or characters that no header can hold")
        self._complaints = Complaints(self.origin, self._key)
        self._trust = _trust()

    def __repr__(self) -> str:
        return f"<Upstream {self.origin}{', with a key' if self._key else ''}>"

    def models(self) -> list[str]:
        """
        The names of its models, in its own order. What cannot be listed as one is left out.

        Raises:
            LocalServerError: if they cannot be had.
        """
        with self._send(_Line(), "GET", "/models", LIST_TIMEOUT) as response:
            value = self._read_json(response)
        try:
            return [model["id"] for model in value["data"] if _is_name(model["id"])]
        except (KeyError, TypeError):
            raise LocalServerError(
                f"{self._url}/models is no list of models: {self._complaints.words(value)}"
            ) from None

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
            with self._send(line, "POST", "/chat/completions", SILENCE_TIMEOUT, body) as response:
                for piece in self._texts(response):
                    pieces.put(piece)
        except Exception as error:
            pieces.put(error)
        finally:
            pieces.put(None)

    @contextlib.contextmanager
    def _send(
        self, line: _Line, method: str, path: str, silence: float, body: Mapping[str, Any] | None = None
    ) -> Iterator[httpx.Response]:
        """
        Send a request and give the response, whose body is not read yet; whatever goes wrong inside is translated.

        Raises:
            LocalServerError: also if the server refuses.
        """
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with (
                httpx.Client(
                    verify=self._trust,
                    trust_env=not self.is_loopback,
                    timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
                ) as client,
                client.stream(
                    method,
                    self._url + path,
                    headers=headers,
                    # Not json=, which cannot send half of a surrogate pair.
                    content=None if body is None else json.dumps(body).encode(),
                    extensions={"trace": line.trace},
                ) as response,
            ):
                if response.status_code != 200:
                    raise self._complaints.refusal(response, self._said(response))
                yield response
        except LocalServerError:
            raise
        except Exception as error:
            # NOTE: not as its cause, which holds the request with the key.
            raise self._complaints.failure(
                error, by_proxy=line.host not in (None, self._host), connect=CONNECT_TIMEOUT, silence=silence
            ) from None

    def _said(self, response: httpx.Response) -> bytes:
        """The reason of a refusal, as far as it can be read; the status alone tells enough."""
        try:
            return self._read(response)
        except Exception:
            return b""

    def _blocks(self, response: httpx.Response, most: int) -> Iterator[bytes]:
        """Yield the body as it comes, without waiting for more."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            # A few bytes of it can become gigabytes.
            named = self._complaints.shortened(encoding, MOST_WORD)
            raise LocalServerError(
                f"the upstream {self.origin} answers with the content encoding {named}, though it was asked for none"
            )
        received = 0
        for block in response.iter_raw():
            received += len(block)
            if received > most:
                raise LocalServerError(f"the upstream {self.origin} answers with more than {most} bytes")
            yield block

    def _read(self, response: httpx.Response) -> bytes:
        return b"".join(self._blocks(response, MOST_BODY_BYTES))

    def _read_json(self, response: httpx.Response) -> Any:
        if media_type(response) == "text/html":
            raise self._complaints.no_api()
        try:
            return json.loads(self._read(response))
        except (ValueError, RecursionError):
            raise LocalServerError(f"the upstream {self.origin} answers with something else than JSON") from None

    def _texts(self, response: httpx.Response) -> Iterator[str]:
        """Yield the texts of an answer, whether it is streamed, as was asked, or comes as a whole."""
        if media_type(response) == "text/html":
            raise self._complaints.no_api()
        if media_type(response) == "application/json":
            yield from self._choices(self._read_json(response), "message")
            return
        finished = False
        for data in read_events(self._blocks(response, MOST_STREAM_BYTES)):
            if data == "[DONE]":
                return
            if len(data) > MOST_EVENT:
                raise LocalServerError(f"the upstream {self.origin} sent an event of more than {MOST_EVENT} characters")
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                raise LocalServerError(
                    f"the upstream {self.origin} sent an event that is not JSON, or ended the answer in the middle"
                ) from None
            yield from self._choices(value, "delta")
            finished = finished or any(choice.get("finish_reason") for choice in value["choices"])
        if not finished:
            raise LocalServerError(f"the upstream {self.origin} ended the answer in the middle")

    def _choices(self, value: Any, part: str) -> Iterator[str]:
        """Yield the texts in `part` of each choice of one JSON value."""
        if isinstance(value, dict) and value.get("error"):
            raise LocalServerError(f"the upstream {self.origin} reports: {self._complaints.words(value)}")
        try:
            # Usage comes with no choices at all, and some servers leave out what is null.
            texts = [(choice.get(part) or {}).get("content") for choice in value["choices"]]
        except (AttributeError, KeyError, TypeError):
            raise LocalServerError(f"the upstream {self.origin} sent something that is no chat completion") from None
        for text in texts:
            if isinstance(text, str) and text:
                yield text


class _Line:
    """
    The connection of one answer, which any thread can cut.

    Attributes:
        host: that of the upstream or of a proxy, whichever is connected to; None before that.
    """

    def __init__(self) -> None:
        self.host: str | None = None
        self._lock = threading.Lock()
        self._socket: Any = None
        self._is_cut = False

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Hear from httpx how far a request has come."""
        if name.endswith(".connect_tcp.started"):
            self.host = info["host"]
        elif name.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
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


def _checked(url: str) -> str:
    """The address without a slash at its end."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
        httpx.URL(url.strip())
    except (ValueError, httpx.InvalidURL):
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


def _trust() -> ssl.SSLContext:
    """The certificates that are trusted: those in the file or folder that requests is told of, else httpx's own."""
    path = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not path:
        return httpx.create_ssl_context()
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise LocalServerError(
            f"the certificates in {path}, which REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names, "
            f"cannot be read: {error.strerror or error}"
        ) from error
