"""
A real HTTP server on loopback whose every byte a test decides.

`ScriptedServer` reads requests and hands each to a plain callable, which writes its answer with
`Connection.send` and the helpers below, or cuts the line. `OpenAssistantScript` is one that
answers the whole life of a chat on either surface, and lets a test replace any part of it.
Nothing here imports the client, and nothing waits by the clock: a handler waits for a
`threading.Event`, a test for `ScriptedServer.wait_until`.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http import HTTPStatus
from http.client import HTTPMessage, parse_headers
from io import BytesIO
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

Surface = Literal["inference", "website"]
Server = TypeVar("Server", bound="ScriptedServer")

LAST_CHUNK = b"0\r\n\r\n"
PING_COMMENT = b": ping - 2026-11-22 15:32:42.848860+00:00\r\n\r\n"  # sse-starlette 1.6 and later
PING_EVENT = b"event: ping\r\ndata: 2026-11-22 15:32:42.848860\r\n\r\n"  # before it; not JSON
END_OF_HEAD = b"\r\n\r\n"


# What goes over the wire, as bytes.


def response(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response; `headers` are added to `content-length`, or replace it."""
    framing = {} if status in (204, 304) else {"content-length": str(len(body))}
    return _head(status, framing, headers) + body


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response with a JSON body in the server's style: compact, raw UTF-8."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return response(status, body, {"content-type": "application/json", **(headers or {})})


def empty_response(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response without a body."""
    return response(status, b"", headers)


def sse_head(*, chunked: bool = True, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the head of an event stream; one that is not chunked ends when the connection does."""
    framing = {"transfer-encoding": "chunked"} if chunked else {"connection": "close"}
    return _head(200, {"content-type": "text/event-stream; charset=utf-8", **framing}, headers)


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event in the server's style: one line of pure ASCII JSON, CRLF."""
    return b"data: " + json.dumps(data).encode("ascii") + b"\r\n\r\n"


def _head(status: int, *headers: Mapping[str, str] | None) -> bytes:
    merged = {name.lower(): value for part in headers if part for name, value in part.items()}
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in merged.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + END_OF_HEAD


# The server.


class Disconnected(Exception):  # noqa: N818 - the line ended; nothing went wrong
    """The client left, the line was cut on purpose or the server is closing; ends a handler quietly."""


@dataclass(frozen=True)
class Request:
    """
    A request as it came.

    Attributes:
        method: in upper case.
        target: path and query, as sent.
        headers: case-insensitive; a repeated one through `get_all`.
        body: the bytes.
    """

    method: str
    target: str
    headers: HTTPMessage
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The decoded query; of a repeated name the last."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Connection:
    """
    One TCP connection, as a handler sees it.

    Its methods are for the handler's own thread; only the server may end it from another.
    """

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._server = server
        self._unread = b""
        self._answer_head = b""
        self._finished = False
        self._allowance: int | None = None
        self._cut: Callable[[], None] = self.close

    def send(self, data: bytes) -> None:
        """
        Put bytes on the wire, at once and in a segment of their own if TCP allows.

        Raises:
            Disconnected: if the client has gone, or after the last byte that `cut_after` allows.
        """
        allowed = data if self._allowance is None else data[: self._allowance]
        if END_OF_HEAD not in self._answer_head:
            self._answer_head += allowed
        try:
            self._socket.sendall(allowed)
        except OSError as error:
            raise Disconnected from error
        if self._allowance is not None:
            self._allowance -= len(allowed)
            if not self._allowance:
                self._cut()
                raise Disconnected

    def close(self) -> None:
        """
        End the answer and the connection: FIN.

        The connection counts as open until the client has closed its end too.
        """
        self._finished = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off: RST, and what the client has not read yet may be lost."""
        self._finished = True
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def cut_after(self, count: int, *, reset: bool = False) -> None:
        """Let `count` more bytes through, at least one, and then `close` or `reset`."""
        self._allowance = count
        self._cut = self.reset if reset else self.close

    def wait(self, released: threading.Event) -> None:
        """
        Wait until the test sets an event; closing the server sets it too.

        Raises:
            Disconnected: if the server is closing.
        """
        self._server.wait_for_event(released)

    def wait_for(self, other: socket.socket) -> None:
        """
        Wait until another socket can be read.

        Raises:
            Disconnected: if the client leaves before.
        """
        with selectors.DefaultSelector() as selector:
            for sock in (self._socket, other):
                selector.register(sock, selectors.EVENT_READ)
            while other not in [key.fileobj for key, _ in selector.select()]:
                with suppress(OSError):
                    if self._socket.recv(1, socket.MSG_PEEK):
                        # Its next request.
                        selector.unregister(self._socket)
                        continue
                raise Disconnected

    def wait_until_left(self) -> None:
        """Wait until the client has closed its end; the handler can then only return."""
        self._finished = True
        while self._receive():
            pass

    def read_request(self) -> Request | None:
        """Return the next request, or None when there will be none. Called by the server."""
        self._answer_head = b""
        if self._finished:
            self.wait_until_left()
            return None
        while END_OF_HEAD not in self._unread:
            if not self._fill():
                return None
        head, _, self._unread = self._unread.partition(END_OF_HEAD)
        line, _, fields = head.partition(b"\r\n")
        method, target, _ = line.decode("latin-1").split(" ")
        headers = parse_headers(BytesIO(fields + END_OF_HEAD))
        if "transfer-encoding" in headers:
            raise NotImplementedError(f"{method} {target} has a chunked body, which this server does not read")
        length = int(headers.get("content-length", 0))
        while len(self._unread) < length:
            if not self._fill():
                return None
        body, self._unread = self._unread[:length], self._unread[length:]
        return Request(method, target, headers, body)

    def end_answer(self, request: Request) -> None:
        """Close if the answer announced it, as a real server does. Called after each handler."""
        if self._finished:
            return
        if not self._answer_head:
            raise AssertionError(f"the handler did not answer {request}")
        head = self._answer_head.partition(END_OF_HEAD)[0].lower()
        if b"\r\nconnection: close" in head or request.headers.get("connection", "").lower() == "close":
            self.close()

    def abort(self) -> None:
        """Wake and end whoever uses the connection, from any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _fill(self) -> bool:
        data = self._receive()
        self._unread += data
        return bool(data)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except OSError:  # reset by the client, or by us
            return b""


Handler = Callable[[Connection, Request], None]


class ScriptedServer:
    """
    An HTTP/1.1 server on 127.0.0.1 that answers by a callable, once per request, a thread per connection.

    Connections are kept alive unless the handler closes them or its answer says
    `connection: close`. A handler that raises, or returns without an answer, ends its connection,
    and the error comes out of `wait_until` and `close`, so no test can pass over it.

        with ScriptedServer(lambda connection, request: connection.send(empty_response())) as server:
            requests.get(server.url)

    Attributes:
        url: `http://127.0.0.1:<port>`.
        timeout: seconds after which a wait that should long be over is an error.
        requests: all requests, in the order in which they came.
        accepted: how many TCP connections were made.
        errors: what handlers raised.
    """

    def __init__(self, handler: Handler, *, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.accepted = 0
        self._handler = handler
        self._changed = threading.Condition()
        self._closing = False
        self._connections: set[Connection] = set()
        self._waited_for: list[threading.Event] = []
        self._address: tuple[str, int] = ("127.0.0.1", 0)
        self._threads: list[threading.Thread] = []
        self.listen()
        self.url = "http://{}:{}".format(*self._address)

    def __enter__(self: Server) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def open_connections(self) -> int:
        """How many connections the client has not closed yet, whatever this side did."""
        with self._changed:
            return len(self._connections)

    @contextmanager
    def update(self) -> Iterator[None]:
        """Hold the lock while changing what a `wait_until` may look at, then wake it."""
        with self._changed:
            yield
            self._changed.notify_all()

    def wait_until(self, predicate: Callable[[], object]) -> None:
        """
        Wait until a predicate on this server is true; it is asked again after each change, under the lock.

        Raises:
            AssertionError: if it is still false after `timeout` seconds.
            Exception: what a handler raised, at once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.errors or predicate(), self.timeout)
            if self.errors:
                raise self.errors[0]
            if not predicate():
                seen = ", ".join(map(str, self.requests)) or "none"
                raise AssertionError(f"still not true after {self.timeout:g} s; requests so far: {seen}")

    def wait_for_event(self, released: threading.Event) -> None:
        """Do what `Connection.wait` promises."""
        with self._changed:
            if self._closing:
                raise Disconnected
            self._waited_for.append(released)
        released.wait()
        with self._changed:
            self._waited_for.remove(released)
            if self._closing:
                raise Disconnected

    def listen(self) -> None:
        """Take connections, after `refuse` at the same address as before."""
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        self._acceptor = threading.Thread(target=self._accept, name=f"accept {self._address}", daemon=True)
        self._refusing = False
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse new connections from now on, also from a handler; those that are open go on. Idempotent."""
        with self.update():
            if self._refusing:
                return
            self._refusing = True
        # Nothing else wakes accept() on every platform.
        with suppress(OSError):
            socket.create_connection(self._address).close()
        self._acceptor.join(self.timeout)
        self._listener.close()

    def close(self) -> None:
        """
        End every connection and thread; idempotent.

        Raises:
            Exception: what a handler raised, the first one.
            AssertionError: if a handler does not come to its end.
        """
        with self.update():
            if self._closing:
                return
            self._closing = True
            for connection in self._connections:
                connection.abort()
            for released in self._waited_for:
                released.set()
        self.refuse()
        for thread in self._threads:
            thread.join(self.timeout)
        if self.errors:
            raise self.errors[0]
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            raise AssertionError(f"handlers still running: {', '.join(stuck)}")

    def _accept(self) -> None:
        while True:
            sock, peer = self._listener.accept()
            with self.update():
                if self._refusing or self._closing:
                    sock.close()
                    return
                self.accepted += 1
                connection = Connection(sock, self)
                self._connections.add(connection)
                name = f"connection {self.accepted} from port {peer[1]}"
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True))
                self._threads[-1].start()

    def _serve(self, connection: Connection) -> None:
        try:
            while request := connection.read_request():
                with self.update():
                    self.requests.append(request)
                self._handler(connection, request)
                connection.end_answer(request)
        except Disconnected:
            pass
        except Exception as error:
            with self.update():
                self.errors.append(error)
            connection.close()
        finally:
            connection.wait_until_left()
            with self.update():
                self._connections.remove(connection)
                connection.release()


# Handlers made of bytes and of other handlers.


def reply(data: bytes) -> Handler:
    """Return a handler that always sends the same bytes."""
    return lambda connection, request: connection.send(data)


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that uses the given ones one after another, and the last for ever."""
    remaining = itertools.chain(handlers, itertools.repeat(handlers[-1]))
    lock = threading.Lock()

    def answer(connection: Connection, request: Request) -> None:
        with lock:
            handler = next(remaining)
        handler(connection, request)

    return answer


def cut_after(count: int, handler: Handler, *, reset: bool = False) -> Handler:
    """Return a handler whose answer, head included, ends after `count` bytes, with FIN or RST."""

    def answer(connection: Connection, request: Request) -> None:
        connection.cut_after(count, reset=reset)
        handler(connection, request)

    return answer


def stall(connection: Connection, request: Request) -> None:
    """Answer nothing at all until the client leaves."""
    connection.wait_until_left()


def dripping(start: bytes, drop: bytes) -> Handler:
    """Return a handler that sends a start, and then drops until the client has left."""

    def answer(connection: Connection, request: Request) -> None:
        connection.send(start)
        # Not to wait for something: the drops come at a pace.
        pace = threading.Event()
        while True:
            connection.send(drop)
            pace.wait(0.005)

    return answer


# The Open-Assistant API.


def chat_json(chat_id: str, **changes: Any) -> dict[str, Any]:
    """Return a chat as the server sends it, fresh but for `changes`."""
    chat = {
        "id": chat_id,
        "created_at": "2026-11-22T15:27:56.203290",
        "modified_at": "2026-11-22T15:27:56.203292",
        "title": None,
        "hidden": False,
        "allow_data_use": True,
        "active_thread_tail_message_id": None,
    }
    return chat | changes


def message_json(message_id: str, chat_id: str, parent_id: str | None, **changes: Any) -> dict[str, Any]:
    """Return a message as the server sends it: an answer that has just become pending, but for `changes`."""
    # Naive, as the server's times are, which are UTC.
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    message: dict[str, Any] = {
        "id": message_id,
        "parent_id": parent_id,
        "content": None,
        "chat_id": chat_id,
        "created_at": now.isoformat(),
        "role": "assistant",
        "state": "pending",
        "score": 0,
        "reports": [],
        "work_parameters": None,
        "safe_content": None,
        "safety_level": None,
        "safety_label": None,
        "safety_rots": None,
        "used_plugin": None,
    }
    return message | changes


@dataclass
class ScriptedChat:
    """
    A chat that was created: whether it still shows, and its messages by id, as JSON.

    Attributes:
        changes: fields of the chat that a client has changed.
    """

    id: str
    hidden: bool = False
    deleted: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class EventWriter:
    """
    The events of one answer, written step by step; what `OpenAssistantScript.events` is called with.

    The head is out before the first event. `message` and `error` end the body; a script that returns
    without them leaves the client with an open, silent stream.

    Attributes:
        connection: for `wait`, `close`, `reset` and bytes of the test's own.
        message_id: of the message that is answered.
        chunked: whether the body is, as on the real server.
        ended: whether `end` was called.
    """

    connection: Connection
    message_id: str
    chunked: bool
    _script: OpenAssistantScript
    ended: bool = False

    def raw(self, data: bytes) -> None:
        """Send part of the body, as one chunk."""
        self.connection.send(chunk(data) if self.chunked else data)

    def event(self, event_type: str, **fields: Any) -> None:
        """Send an event of any type."""
        self.raw(event({"event_type": event_type, **fields}))

    def token(self, text: str) -> None:
        """Send a token."""
        self.event("token", text=text)

    def pending(self, queue_position: int = 1, queue_size: int = 1) -> None:
        """Send a place in the queue."""
        self.event("pending", queue_position=queue_position, queue_size=queue_size)

    def ping(self) -> None:
        """Send a ping of the newer kind."""
        self.raw(PING_COMMENT)

    def message(self, **changes: Any) -> None:
        """Complete the message, send it and end the body."""
        complete = {"state": "complete", "content": self._script.answer_text, **changes}
        self.event("message", message=self._script.change_message(self.message_id, **complete))
        self.end()

    def error(self, text: str, *, state: str = "aborted_by_worker") -> None:
        """Fail the message, send the error and end the body."""
        self.event("error", error=text, message=self._script.change_message(self.message_id, state=state))
        self.end()

    def wait(self, released: threading.Event) -> None:
        """Wait until the test sets an event."""
        self.connection.wait(released)

    def end(self) -> None:
        """End the body as its framing wants it, whether or not a terminal event was sent."""
        self.ended = True
        if self.chunked:
            self.connection.send(LAST_CHUNK)
        else:
            self.connection.close()


class OpenAssistantScript(ScriptedServer):
    """
    The chat API, one surface of it, answering as the real one does when nothing goes wrong.

    Ids count up: chats c1, c2; prompts p1; answers m1. A test replaces what it is about:

        with OpenAssistantScript("inference") as script, Client(script.url, **script.credentials) as client:
            script.events = lambda stream: stream.error("out of memory")
            script.on_delete = in_turn(reply(empty_response(503)), script.on_delete)

    Attributes:
        surface: "website" (cookies, every answer closes its connection) or "inference" (bearer, keep-alive).
        credentials: keyword arguments for the client.
        calls: which route was called, in order: create, prompter, assistant, events, message, chat, chats,
            update, delete.
        chats: all chats ever made, by id.
        tokens: what the default `events` sends.
        final_text: content of the complete message; None is the joined tokens.
        message_state: what GET message reports; None is what has really happened.
        events: writes the events, after their head.
        chunked: whether the body of events is.
        on_create, on_prompter, on_assistant, on_events, on_message, on_chat, on_chats, on_update, on_delete:
            the handler of each route. Their defaults can be called or wrapped by those that replace them.
        chat_ids, prompter_ids, assistant_ids: where new ids come from.
    """

    def __init__(self, surface: Surface = "website", *, timeout: float = 20.0) -> None:
        self.surface = surface
        self.credentials: dict[str, Any] = (
            {"cookies": {"next-auth.session-token": "session"}} if surface == "website" else {"token": "token"}
        )
        self.calls: list[str] = []
        self.chats: dict[str, ScriptedChat] = {}
        self.tokens: Sequence[str] = ("Hello", " world")
        self.final_text: str | None = None
        self.message_state: str | None = None
        self.events: Callable[[EventWriter], None] = self._write_events
        self.chunked = True
        self.on_create: Handler = self._create
        self.on_prompter: Handler = self._prompter
        self.on_assistant: Handler = self._assistant
        self.on_events: Handler = self._events
        self.on_message: Handler = self._message
        self.on_chat: Handler = self._chat
        self.on_chats: Handler = self._chats
        self.on_update: Handler = self._update
        self.on_delete: Handler = self._delete
        self.chat_ids: Iterator[str] = (f"c{number}" for number in itertools.count(1))
        self.prompter_ids: Iterator[str] = (f"p{number}" for number in itertools.count(1))
        self.assistant_ids: Iterator[str] = (f"m{number}" for number in itertools.count(1))
        # The acceptor starts last: a handler sees a whole object.
        super().__init__(self._answer, timeout=timeout)

    @property
    def answer_text(self) -> str:
        """The content of the complete message."""
        return "".join(self.tokens) if self.final_text is None else self.final_text

    @property
    def visible_chats(self) -> list[str]:
        """The ids of the chats that are neither hidden nor deleted."""
        return [chat.id for chat in self.chats.values() if not (chat.hidden or chat.deleted)]

    @property
    def deleted_chats(self) -> list[str]:
        """The ids of the chats that are deleted."""
        return [chat.id for chat in self.chats.values() if chat.deleted]

    def change_message(self, message_id: str, **changes: Any) -> dict[str, Any]:
        """Change a stored message, and return it."""
        with self.update():
            message = self._find_message(message_id)
            message.update(changes)
            return dict(message)

    def route(self, request: Request) -> tuple[str, str, str]:
        """
        Return the name of the route that a request is for, its chat id and its message id, "" if it has none.

        Raises:
            NotImplementedError: if it is for none of them.
        """
        parts = request.path.strip("/").split("/")
        if self.surface == "website" and parts[:2] == ["api", "chat"]:
            given = request.query | (request.json() if request.body else {})
            chat_id, message_id, rest = given.get("chat_id", ""), given.get("message_id", ""), parts[2:]
        elif self.surface == "inference" and parts[0] == "chats":
            chat_id, rest = "".join(parts[1:2]), parts[2:]
            message_id = rest.pop(1) if rest[:1] == ["messages"] else ""
            rest = ["events" if "events" in rest else "message"] if message_id else rest
        else:
            raise NotImplementedError(f"{request} is no request for the {self.surface}")
        name = {
            ("POST", ""): "create",
            ("GET", ""): "chat" if chat_id else "chats",
            ("PUT", ""): "update",
            ("DELETE", ""): "delete",
            ("POST", "prompter_message"): "prompter",
            ("POST", "assistant_message"): "assistant",
            ("GET", "message"): "message",
            ("GET", "events"): "events",
            ("POST", "events"): "events",  # the website takes any method
        }.get((request.method, "/".join(rest)))
        if name is None:
            raise NotImplementedError(f"{request} has no answer on the {self.surface}")
        return name, chat_id, message_id

    def send_json(self, connection: Connection, value: Any, status: int = 200) -> None:
        """Send a JSON answer the way of the surface."""
        connection.send(json_response(value, status, self._headers))

    def send_text(self, connection: Connection, text: str, status: int = 200) -> None:
        """Send an answer of text, or of nothing, the way of the surface."""
        connection.send(response(status, text.encode(), self._headers))

    def send_new(self, connection: Connection, value: dict[str, Any]) -> None:
        """Send the chat or the message that was just made."""
        self.send_json(connection, value)

    @property
    def _headers(self) -> dict[str, str]:
        return {"connection": "close"} if self.surface == "website" else {}

    def _answer(self, connection: Connection, request: Request) -> None:
        name, _, _ = self.route(request)
        with self.update():
            self.calls.append(name)
        handler: Handler = getattr(self, f"on_{name}")
        handler(connection, request)

    def _create(self, connection: Connection, request: Request) -> None:
        with self.update():
            chat = ScriptedChat(next(self.chat_ids))
            self.chats[chat.id] = chat
        self.send_new(connection, chat_json(chat.id))

    def _prompter(self, connection: Connection, request: Request) -> None:
        content = request.json()["content"]
        self._add_message(connection, request, self.prompter_ids, role="prompter", state="manual", content=content)

    def _assistant(self, connection: Connection, request: Request) -> None:
        self._add_message(connection, request, self.assistant_ids)

    def _add_message(self, connection: Connection, request: Request, ids: Iterator[str], **changes: Any) -> None:
        _, chat_id, _ = self.route(request)
        parent_id = request.json()["parent_id"]
        with self.update():
            chat = self._find_chat(chat_id)
            if chat:
                message = message_json(next(ids), chat_id, parent_id, **changes)
                chat.messages[message["id"]] = message
        if chat:
            self.send_new(connection, message)
        elif self.surface == "website":
            self.send_json(connection, {"message": "Something went wrong"}, 500)
        else:
            self.send_text(connection, "", 500)

    def _events(self, connection: Connection, request: Request) -> None:
        _, _, message_id = self.route(request)
        connection.send(sse_head(chunked=self.chunked, headers=self._headers))
        stream = EventWriter(connection, message_id, self.chunked, self)
        self.events(stream)
        if not stream.ended:
            connection.wait_until_left()

    def _write_events(self, stream: EventWriter) -> None:
        for text in self.tokens:
            stream.token(text)
        stream.message()

    def _message(self, connection: Connection, request: Request) -> None:
        _, chat_id, message_id = self.route(request)
        with self._changed:
            chat = self._find_chat(chat_id)
            message = dict(chat.messages[message_id]) if chat and message_id in chat.messages else None
        if message is None:
            self.send_text(connection, "Internal Server Error", 500)
            return
        if self.message_state is not None:
            complete = self.message_state == "complete"
            message.update(state=self.message_state, content=self.answer_text if complete else None)
        self.send_json(connection, message)

    def _chat(self, connection: Connection, request: Request) -> None:
        _, chat_id, _ = self.route(request)
        with self._changed:
            chat = self._find_chat(chat_id)
            # The real servers send them in no order.
            messages = list(chat.messages.values())[::-1] if chat else []
            changes = dict(chat.changes) if chat else {}
        if chat:
            self.send_json(connection, chat_json(chat_id, **changes, messages=messages))
        else:
            self._send_no_chat(connection, website_status=404)

    def _chats(self, connection: Connection, request: Request) -> None:
        with self._changed:
            chats = [chat_json(chat_id) for chat_id in reversed(self.visible_chats)]
        self.send_json(connection, {"chats": chats, "next": None, "prev": None})

    def _update(self, connection: Connection, request: Request) -> None:
        _, chat_id, _ = self.route(request)
        with self.update():
            chat = self._find_chat(chat_id)
            if chat:
                chat.changes.update({name: value for name, value in request.json().items() if name != "chat_id"})
                chat.hidden = chat.changes.get("hidden", False)
        if chat:
            self.send_text(connection, "" if self.surface == "website" else "null")
        else:
            self.send_text(connection, "Internal Server Error" if self.surface == "website" else "", 500)

    def _delete(self, connection: Connection, request: Request) -> None:
        _, chat_id, _ = self.route(request)
        with self.update():
            chat = self._find_chat(chat_id)
            if chat:
                chat.deleted = True
        if chat:
            self.send_text(connection, "")
        else:
            self._send_no_chat(connection, website_status=500)

    def _send_no_chat(self, connection: Connection, *, website_status: int) -> None:
        if self.surface == "inference":
            self.send_json(connection, {"detail": "Chat not found"}, 404)
        else:
            self.send_text(connection, "" if website_status == 404 else "Internal Server Error", website_status)

    def _find_chat(self, chat_id: str) -> ScriptedChat | None:
        chat = self.chats.get(chat_id)
        return None if chat is None or chat.deleted else chat

    def _find_message(self, message_id: str) -> dict[str, Any]:
        return next(chat.messages[message_id] for chat in self.chats.values() if message_id in chat.messages)
