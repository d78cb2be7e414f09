"""
Recordings of the real servers, and a server that plays them back.

A recording is one scenario of the real inference server or the real website: requests, and the
answers as they were read from the socket, byte for byte. `ReplayServer` plays one recorded answer
inside an otherwise ordinary life of a chat. What a client has to make of an answer is worked out
here from the recorded bytes by the simplest means, so that the two can disagree.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from tests.scripted import (
    END_OF_HEAD,
    LAST_CHUNK,
    Connection,
    OpenAssistantScript,
    Request,
    Surface,
    chunk,
    in_turn,
    reply,
)

Framing = Literal["recorded", "bytes", "whole"]
Ending = Literal["complete", "cut", "open"]

TRANSCRIPTS = Path(__file__).parent / "transcripts"
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
SURFACES: tuple[Surface, ...] = get_args(Surface)
# The framing "bytes" sends longer answers in equal pieces of more than a byte, as many as this.
MOST_PIECES = 4096
# The content of a message of which the recording only tells that it was complete.
NOT_RECORDED = "(this answer's text was not recorded)"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDINGS: Mapping[str, Ending] = {
    "complete": "complete",
    "eof_before_end": "cut",
    "client_closed": "open",  # the recorder left on purpose
    "client_timeout": "open",  # the recorder's time was up
}


@dataclass(frozen=True)
class Expectation:
    """
    What the body of an event stream says, read as a whole.

    Attributes:
        events: type and other fields of each event, in order; pings are none.
        text: the joined tokens.
        message: of the terminal event, be it message or error.
        error: the words of the error event.
        terminal: the type of the terminal event, None if it never came.
    """

    events: tuple[tuple[str, dict[str, Any]], ...]
    text: str
    message: dict[str, Any] | None = None
    error: str | None = None
    terminal: Literal["message", "error"] | None = None


def parse_body(body: bytes) -> Expectation:
    """Read a whole body; a parser that knows no more than the recordings need."""
    events = []
    for block in body.decode("ascii").split("\r\n\r\n"):
        if block.startswith("data: "):
            fields = json.loads(block.removeprefix("data: "))
            events.append((fields.pop("event_type"), fields))
    text = "".join(fields["text"] for kind, fields in events if kind == "token")
    kind, last = events[-1] if events else (None, {})
    if kind == "message":
        return Expectation(tuple(events), text, last["message"], None, "message")
    if kind == "error":
        return Expectation(tuple(events), text, last["message"], last["error"], "error")
    return Expectation(tuple(events), text)


@dataclass(frozen=True)
class Exchange:
    """
    One request of a recording with its answer.

    Attributes:
        surface: of which server.
        recording: the name of the file.
        number: of the step in the file.
        method: of the request.
        target: path and query of the request.
        request_body: of the request.
        status: of the answer.
        body: of the answer, its chunks joined.
        reads: the answer as it was read from the socket, head and framing included.
        ended: whether the answer was whole, cut by the server, or still open when the recorder left.
    """

    surface: Surface
    recording: str
    number: int
    method: str
    target: str
    request_body: bytes = field(repr=False)
    status: int
    body: bytes = field(repr=False)
    reads: tuple[bytes, ...] = field(repr=False)
    ended: Ending

    @property
    def id(self) -> str:
        """A name for parametrisation."""
        return f"{self.surface}-{self.recording}-{self.number}"

    @property
    def ids(self) -> list[str]:
        """The chat's id and the message's, as far as the target has them."""
        return _UUID.findall(self.target)

    @property
    def route(self) -> str:
        """What was called: create, prompter, assistant, events, message, or "other"."""
        path = self.target.partition("?")[0]
        if path in ("/chats", "/api/chat") and self.method == "POST":
            return "create"
        if path == "/api/chat/message" or re.fullmatch(r"/chats/[^/]+/messages/[^/]+", path):
            return "message" if self.method == "GET" else "other"
        last = path.rpartition("/")[2]
        return {"prompter_message": "prompter", "assistant_message": "assistant", "events": "events"}.get(last, "other")

    @cached_property
    def raw(self) -> bytes:
        """The answer as it went over the wire."""
        return b"".join(self.reads)

    @property
    def json(self) -> Any:
        """The body of the answer as JSON."""
        return json.loads(self.body)

    @cached_property
    def expectation(self) -> Expectation:
        """What the body says, if it is an event stream; an error's says nothing."""
        return parse_body(self.body if self.status == 200 else b"")

    def pieces(self, framing: Framing) -> Iterator[bytes]:
        """Yield the answer in the sends of a framing."""
        if framing == "recorded":
            yield from self.reads
            return
        size = len(self.raw) if framing == "whole" else -(-len(self.raw) // MOST_PIECES)
        for start in range(0, len(self.raw), size):
            yield self.raw[start : start + size]


@dataclass(frozen=True)
class Recording:
    """One file: the exchanges whose bytes it holds."""

    surface: Surface
    name: str
    exchanges: tuple[Exchange, ...]

    @property
    def events_exchanges(self) -> list[Exchange]:
        """Each request of an event stream; HEAD is left out, for its answers fit no other method."""
        return [item for item in self.exchanges if item.route == "events" and item.method != "HEAD"]

    @property
    def refused_posts(self) -> list[Exchange]:
        """Each POST to make a chat or a message that was answered with an error."""
        routes = ("create", "prompter", "assistant")
        return [
            item for item in self.exchanges if item.route in routes and item.method == "POST" and item.status >= 400
        ]

    def made(self, made_id: str) -> Exchange | None:
        """Return the POST whose answer gave out an id."""
        posts = (item for item in self.exchanges if item.route in ("create", "prompter", "assistant"))
        return next((item for item in posts if item.status == 200 and item.json["id"] == made_id), None)

    def stored_messages(self, exchange: Exchange) -> list[Exchange]:
        """Return the answers to GET message, for the message of an events exchange, after it."""
        return [item for item in self._reads_of(exchange) if item.number > exchange.number]

    def known_message(self, exchange: Exchange) -> dict[str, Any] | None:
        """Return the best that the recording knows of the message of an events exchange, or None."""
        streams = [exchange, *(item for item in self.events_exchanges if item.ids == exchange.ids)]
        told = [item.expectation.message for item in streams] + [
            item.json for item in reversed(self._reads_of(exchange))
        ]
        return next(filter(None, told), None)

    def _reads_of(self, exchange: Exchange) -> list[Exchange]:
        reads = (item for item in self.exchanges if item.route == "message" and item.status == 200)
        return [item for item in reads if item.ids == exchange.ids]


@cache
def recordings() -> tuple[Recording, ...]:
    """Return all recordings, the inference server's first, sorted by name."""
    return tuple(
        _load(surface, path) for surface in SURFACES for path in sorted((TRANSCRIPTS / surface).glob("*.json"))
    )


def recording_of(exchange: Exchange) -> Recording:
    """Return the recording that an exchange is part of."""
    return next(item for item in recordings() if (item.surface, item.name) == (exchange.surface, exchange.recording))


def _load(surface: Surface, path: Path) -> Recording:
    exchanges = []
    for step in json.loads(path.read_text(encoding="utf-8"))["steps"]:
        # A step without an answer is a note on what was done elsewhere.
        if "response" not in step or step["response"]["ended"] == "connect_error":
            continue
        answer = step["response"]
        chunks = [item["data"].encode("latin-1") for item in answer["body_chunks"]]
        reads = _reads(answer, chunks)
        if reads is None:
            continue
        method, target, _ = step["request"]["line"].split(" ")
        exchanges.append(
            Exchange(
                surface=surface,
                recording=path.stem,
                number=step["n"],
                method=method,
                target=target,
                request_body=step["request"]["body"].encode("latin-1"),
                status=answer["status"],
                body=b"".join(chunks),
                reads=reads,
                ended=_ENDINGS[answer["ended"]],
            )
        )
    return Recording(surface, path.stem, tuple(exchanges))


def _reads(answer: Mapping[str, Any], chunks: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return the answer as it was read, or made again if it was not kept, or None if its body was shortened."""
    reads = answer["raw_reads"]
    if isinstance(reads, list):
        return tuple(item["data"].encode("latin-1") for item in reads)
    lines = [answer["status_line"], *(f"{name}: {value}" for name, value in answer["headers"])]
    head = "\r\n".join(lines).encode("latin-1") + END_OF_HEAD
    chunked = ["transfer-encoding", "chunked"] in answer["headers"]
    rebuilt = (head, *map(chunk, chunks), LAST_CHUNK) if chunked else (head, *chunks)
    noted = re.match(r"<(\d+) bytes, omitted", reads)
    return rebuilt if noted and int(noted[1]) == sum(map(len, rebuilt)) else None


class ReplayServer(OpenAssistantScript):
    """
    A server that plays one recorded answer, and fits the rest of the chat's life around it.

    Chat and messages have the recording's ids. A call before and after is answered with the recorded
    bytes where there are some for that very chat or message, else as `OpenAssistantScript` would.
    GET message goes through the recorded states, from the time of the exchange on, and stays at the
    last; without any it tells what the terminal event says. An answer that was cut is cut; one that
    was still open is held open until the client leaves.

        with ReplayServer(exchange, "bytes") as server, Client(server.url, **server.credentials) as client:
            "".join(client.stream("hello"))

    Attributes:
        exchange: what is played.
        stored_message: what GET message says at last.
        readers_left: how many held streams the client has left.
    """

    def __init__(self, exchange: Exchange, framing: Framing = "recorded", *, timeout: float = 20.0) -> None:
        super().__init__(exchange.surface, timeout=timeout)
        self.exchange = exchange
        self.readers_left = 0
        self._framing = framing
        self._recording = recording_of(exchange)
        if exchange.route == "events":
            self._take_over_ids()
        setattr(self, f"on_{exchange.route}", self._play)

    def send_new(self, connection: Connection, value: dict[str, Any]) -> None:
        """Send the recorded answer for the new chat or message if there is one."""
        recorded = self._recording.made(value["id"])
        if recorded is None:
            super().send_new(connection, value)
        else:
            connection.send(recorded.raw)

    def _take_over_ids(self) -> None:
        ids = self.exchange.ids
        chat_id, message_id = ids if len(ids) == 2 else ("c1", "m1")  # requests without an id were recorded too
        stored = self._recording.stored_messages(self.exchange)
        known = self._recording.known_message(self.exchange) or {"state": "complete", "content": NOT_RECORDED}
        made = self._recording.made(message_id)
        parent_id = (made.json if made else known).get("parent_id", "p1")
        self.chat_ids = itertools.repeat(chat_id)
        self.prompter_ids = itertools.repeat(parent_id)
        self.assistant_ids = itertools.repeat(message_id)
        self.stored_message: dict[str, Any] = stored[-1].json if stored else known
        if stored:
            self.on_message = in_turn(*(reply(item.raw) for item in stored))
        else:
            self.on_message = self._tell_message

    def _tell_message(self, connection: Connection, request: Request) -> None:
        _, _, message_id = self.route(request)
        self.send_json(connection, self.change_message(message_id, **self.stored_message))

    def _play(self, connection: Connection, request: Request) -> None:
        try:
            for piece in self.exchange.pieces(self._framing):
                connection.send(piece)
            if self.exchange.ended == "cut":
                connection.close()
            elif self.exchange.ended == "open":
                connection.wait_until_left()
        finally:
            # Pings may still be on their way when the client has what it wants and leaves.
            with self.update():
                self.readers_left += self.exchange.ended == "open"
