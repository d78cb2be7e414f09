"""
A server in bad weather, for `soak`: both surfaces of the chat API, and one fault, or none, for each chat.

    python -m tests.weather --seed 1

prints its port and then does what lines of JSON on its standard input say: `{"begin": …}` a round, with the fields of
`Round`, and `{"end": true}` it, answered with a report of its chats. An answer is written whether or not anybody reads
it, and becomes final in the end, but for those of the fault "never final". Which fault a chat has is drawn from the
seed, the round and the number of the chat in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.scripted import LAST_CHUNK, PING_COMMENT, PING_EVENT, chat_json, chunk, message_json

#: What can happen to a chat, and how often, in parts. The numbers are answers to one of its calls.
FAULTS = {
    "none": 20,
    "reset": 5,
    "clean end": 5,
    "cut in a chunk": 5,
    "cut in UTF-8": 5,
    "short silence": 4,
    "long silence": 3,
    "pings only": 3,
    "error first": 4,
    "error after tokens": 4,
    "error unseen": 3,
    "finished early": 5,
    "503": 5,
    "429": 5,
    "502": 5,
    "slow": 4,
    "too slow": 2,
    "late chat": 3,
    "no chat": 2,
    "bytes": 4,
    "delete fails": 6,
}
#: Those that happen to the events, at some token.
_TO_EVENTS = ("reset", "clean end", "cut in a chunk", "cut in UTF-8", "short silence", "long silence", "pings only")
_STEPS = ("create", "prompter", "assistant", "assistant", "events", "message", "chat", "update", "delete")
#: seconds; the client's limits lie between the short ones and the long ones.
SHORT, SLOW, TOO_SLOW, LATE_CHAT = 0.3, 0.6, 4.0, 0.7
#: How many bytes come one by one; more would be the same.
SINGLE_BYTES = 400
#: seconds that the client's connections may take to be closed at the end of a round.
PATIENCE = 5.0
_FINAL = ("complete", "aborted_by_worker")


def tokens_for(seed: int, number: int) -> list[str]:
    """Return the answer to the prompt of a number; each token says which it is."""
    chance = random.Random(f"{seed} tokens {number}")  # noqa: S311 - to be repeated
    count = 2500 if chance.random() < 0.01 else chance.randint(1, 40)
    ends = ["", " ", "é", "🙂", "\n", "\u2028", "data: x\r\n\r\n", '"']
    return [f"<{number}.{index}>{chance.choice(ends)}" for index in range(count)]


@dataclass(frozen=True)
class Round:
    """
    What holds for all chats of a round.

    Attributes:
        name: of the user; it is the credential too.
        website: whether it is the surface.
        cancels: whether a new question cancels what is pending, as on the real server.
        refuses: the part of the connections that is closed at once, or when they are idle.
        never: whether some answers never become final.
    """

    name: str
    website: bool
    cancels: bool
    refuses: float
    never: bool


@dataclass
class Answer:
    """An assistant message, while it is written."""

    id: str
    parent_id: str
    state: str = "pending"
    shown: int = 0
    is_stub: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Chat:
    """A chat and what happens to it."""

    id: str
    fault: str
    chance: random.Random
    step: str
    number: int | None = None
    tokens: list[str] = field(default_factory=list)
    place: int = 0
    is_spent: bool = False
    hidden: bool = False
    deleted: bool = False
    deleted_early: bool = False
    prompts: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether it can be deleted without harm to anybody."""
        return all(answer.state in _FINAL for answer in self.answers.values() if not answer.is_stub)


class _Reader(asyncio.StreamReader):
    """Knows when the client is gone, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        self.gone.set()
        super().feed_eof()

    def set_exception(self, exc: BaseException) -> None:
        self.gone.set()
        super().set_exception(exc)  # type: ignore[arg-type]  # as the base class takes it


class _Line:
    """One connection."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.is_ended = False

    async def send(self, data: bytes) -> None:
        if self.reader.gone.is_set():
            raise ConnectionError
        self.writer.write(data)
        await self.writer.drain()

    async def pause(self, seconds: float | None) -> None:
        """Be silent; None is until the client is gone."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.reader.gone.wait(), seconds)
            raise ConnectionError

    def end(self) -> None:
        self.is_ended = True
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    def reset(self) -> None:
        self.is_ended = True
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Weather:
    """The server."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ids = itertools.count()
        self._lines: set[_Line] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._strays = 0
        self._errors: list[str] = []
        self.begin(Round("", False, False, 0.0, False))

    def begin(self, changes: Round) -> None:
        """Begin a round."""
        self._round = changes
        self._chance = random.Random(f"{self._seed} {changes.name}")  # noqa: S311 - to be repeated
        self._created = 0
        self._chats: dict[str, Chat] = {}
        self._unmade: dict[str, int] = {}

    async def end(self) -> dict[str, Any]:
        """End a round, once all connections are closed, and report."""
        if self._lines:
            self._empty.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._empty.wait(), PATIENCE)
        for worker in self._workers:
            worker.cancel()
        for line in self._lines:
            line.writer.transport.abort()
        report = {
            "chats": [
                {
                    "id": chat.id,
                    "number": chat.number,
                    "fault": chat.fault,
                    "hidden": chat.hidden,
                    "deleted": chat.deleted,
                    "deleted_early": chat.deleted_early,
                    "states": [answer.state for answer in chat.answers.values()],
                }
                for chat in self._chats.values()
            ],
            "unmade": self._unmade,
            "connections": len(self._lines),
            "strays": self._strays,
            "errors": self._errors,
        }
        self._strays, self._errors = 0, []
        return report

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, until the client has closed it."""
        assert isinstance(reader, _Reader)
        line = _Line(reader, writer)
        if self._chance.random() < self._round.refuses:
            if self._chance.random() < 0.5:
                line.reset()
            writer.close()
            return
        self._lines.add(line)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while not line.is_ended:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
                    body = await reader.readexactly(int(length or 0))
                    method, target, _ = head.split(" ", 2)
                    if f"={self._round.name}\r\n" not in head and f" {self._round.name}\r\n" not in head:
                        self._strays += 1
                        return
                    await self._answer(line, method, target, json.loads(body or b"{}"))
                    if self._round.website or self._chance.random() < self._round.refuses:
                        line.end()
                await reader.gone.wait()
        except Exception as error:
            self._errors.append(repr(error))
        finally:
            writer.close()
            self._lines.discard(line)
            if not self._lines:
                self._empty.set()

    async def _answer(self, line: _Line, method: str, target: str, body: dict[str, Any]) -> None:
        name, chat_id, message_id = _route(method, target, body)
        if name == "create":
            await self._create(line)
            return
        if not chat_id:
            shown = [chat_json(chat.id) for chat in self._chats.values() if not (chat.deleted or chat.hidden)]
            await self._json(line, {"chats": shown[::-1][:20], "next": None, "prev": None})
            return
        chat = self._chats[chat_id]
        if chat.fault in ("502", "503", "429") and chat.step == name and not chat.is_spent:
            chat.is_spent = True
            if name == "assistant" and chat.fault != "429" and (chat.fault == "503" or chat.chance.random() < 0.5):
                # A message that nobody is told of; after a 503 nobody works on it either.
                answer = self._ask(chat, body["parent_id"], is_stub=chat.fault == "503")
                if chat.fault == "502":
                    self._work(chat, answer)
            await self._refuse(line, chat.fault, chat.chance)
            return
        await getattr(self, f"_{name}")(line, chat, message_id, body)

    async def _create(self, line: _Line) -> None:
        self._created += 1
        chance = random.Random(f"{self._seed} {self._round.name} {self._created}")  # noqa: S311 - to be repeated
        fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
        if self._round.never and chance.random() < 0.05:
            fault = "never final"
        step = chance.choice(_STEPS)
        if fault == "too slow" and self._round.cancels:
            # All others would wait for it.
            fault = "slow"
        if fault == "no chat" or (fault in ("502", "503", "429") and step == "create"):
            self._unmade[fault] = self._unmade.get(fault, 0) + 1
            if fault == "no chat":
                await line.pause(None)
            await self._refuse(line, fault, chance)
            return
        chat = Chat(f"c{next(self._ids)}", fault, chance, step)
        self._chats[chat.id] = chat
        if fault == "late chat":
            await line.pause(LATE_CHAT)
        await self._json(line, chat_json(chat.id))

    async def _prompter(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted:
            await self._text(line, 500, "Internal Server Error")
            return
        chat.number = int(body["content"].rpartition(" ")[2])
        chat.tokens = tokens_for(self._seed, chat.number)
        chat.place = 0 if chat.fault == "error first" else chat.chance.randint(0, len(chat.tokens))
        chat.prompts.append(f"p{next(self._ids)}")
        await self._json(line, message_json(chat.prompts[-1], chat.id, None, role="prompter", state="manual"))

    async def _assistant(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted:
            await self._text(line, 500, "Internal Server Error")
            return
        answer = self._ask(chat, body["parent_id"])
        self._work(chat, answer)
        if chat.fault in ("finished early", "error unseen"):
            await asyncio.sleep(0.02)
        await self._json(line, message_json(answer.id, chat.id, answer.parent_id))

    def _ask(self, chat: Chat, parent_id: str, is_stub: bool = False) -> Answer:
        if self._round.cancels:
            for other in self._chats.values():
                for old in other.answers.values():
                    if old.state == "pending" and old.parent_id != parent_id:
                        old.state = "cancelled"
        answer = Answer(f"m{next(self._ids)}", parent_id, is_stub=is_stub)
        chat.answers[answer.id] = answer
        return answer

    def _work(self, chat: Chat, answer: Answer) -> None:
        worker = asyncio.create_task(self._write(chat, answer))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _write(self, chat: Chat, answer: Answer) -> None:
        """Be the worker."""
        chance, fault = chat.chance, chat.fault
        is_quick = fault in ("finished early", "error unseen")
        if not is_quick:
            slow = {"slow": SHORT if self._round.cancels else SLOW, "too slow": TOO_SLOW}
            await asyncio.sleep(slow.get(fault, chance.uniform(0, 0.02)))
        if answer.state == "cancelled":
            return
        answer.state = "in_progress"
        answer.news.set()
        fails = fault.startswith("error")
        pace = 0 if is_quick else chance.choice([0, 0.003, 0.02])
        for shown in range(1, (chat.place if fails else len(chat.tokens)) + 1):
            answer.shown = shown
            answer.news.set()
            if pace and shown % 5 == 0 and shown < 100:
                await asyncio.sleep(pace)
        if fault == "never final":
            await asyncio.Event().wait()
        if fault in ("long silence", "pings only"):
            # The client looks at it once, when its limit is passed.
            await asyncio.sleep(chance.choice([0, 0.5, 2.5]))
        elif fault in _TO_EVENTS and fault != "short silence":
            # It is final some time after the connection has broken.
            await asyncio.sleep(chance.choice([0, 0.05, 0.5, 1]))
        answer.state = "aborted_by_worker" if fails else "complete"
        answer.news.set()

    async def _events(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        answer = chat.answers[message_id]
        if answer.state in _FINAL:
            await self._text(line, 200 if self._round.website else 204, "")
            return
        kind = "" if self._round.website else "content-type: text/event-stream; charset=utf-8\r\n"
        close = "connection: close\r\n" if self._round.website else ""
        await line.send(f"HTTP/1.1 200 OK\r\n{kind}{close}transfer-encoding: chunked\r\n\r\n".encode())
        writer = _EventWriter(line, chat, whole_chunks=not self._round.website)
        sent = 0
        trouble: int | None = chat.place if chat.fault in _TO_EVENTS else None
        while True:
            end = answer.shown if trouble is None else min(answer.shown, trouble)
            await writer.tokens(chat.tokens[sent:end])
            sent = end
            if sent == trouble and answer.state != "pending":
                trouble = None
                if await self._trouble(writer, chat, sent):
                    return
            elif answer.state in _FINAL and sent == answer.shown:
                await writer.final(self._message_json(chat, answer))
                return
            answer.news.clear()
            try:
                if sent == answer.shown:
                    await asyncio.wait_for(answer.news.wait(), 0.1)
            except asyncio.TimeoutError:
                if answer.state in ("pending", "cancelled"):
                    await writer.event({"event_type": "pending", "queue_position": 1, "queue_size": 1})
                elif chat.fault == "never final":
                    await line.pause(None)
                if line.reader.gone.is_set():
                    return

    async def _trouble(self, writer: _EventWriter, chat: Chat, sent: int) -> bool:
        """Let the fault of a chat happen to its events; return whether they are over."""
        line = writer.line
        if chat.fault == "short silence":
            await line.pause(SHORT)
            return False
        if chat.fault == "long silence":
            await line.pause(None)
        while chat.fault == "pings only":
            await line.send(chunk(PING_COMMENT if chat.chance.random() < 0.5 else PING_EVENT))
            await line.pause(0.1)
        if chat.fault == "clean end":
            await line.send(LAST_CHUNK)
            return True
        token = "".join(chat.tokens[sent : sent + 1])
        data = json.dumps({"event_type": "token", "text": token + "🙂"}, ensure_ascii=False)
        event = chunk(f"data: {data}\r\n\r\n".encode())
        smile = event.index("🙂".encode())
        end = smile + chat.chance.randint(1, 3) if chat.fault == "cut in UTF-8" else chat.chance.randint(1, smile)
        await line.send(event[:end])
        if chat.fault == "reset":
            line.reset()
        else:
            line.end()
        return True

    async def _message(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted or message_id not in chat.answers:
            await self._text(line, 500, "Internal Server Error")
            return
        await self._json(line, self._message_json(chat, chat.answers[message_id]))

    def _message_json(self, chat: Chat, answer: Answer) -> dict[str, Any]:
        content = "".join(chat.tokens) if answer.state == "complete" else None
        return message_json(answer.id, chat.id, answer.parent_id, state=answer.state, content=content)

    async def _chat(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted:
            await self._no_chat(line, 404)
            return
        messages = [message_json(prompt, chat.id, None, role="prompter", state="manual") for prompt in chat.prompts]
        messages += [self._message_json(chat, answer) for answer in chat.answers.values()]
        chat.chance.shuffle(messages)
        await self._json(line, chat_json(chat.id, hidden=chat.hidden, messages=messages))

    async def _update(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted:
            await self._text(line, 500, "Internal Server Error" if self._round.website else "")
            return
        chat.hidden = body.get("hidden", chat.hidden)
        await self._text(line, 200, "" if self._round.website else "null")

    async def _delete(self, line: _Line, chat: Chat, message_id: str, body: dict[str, Any]) -> None:
        if chat.deleted:
            await self._no_chat(line, 500)
            return
        how = ""
        if chat.fault == "delete fails" and not chat.is_spent:
            chat.is_spent = True
            how = chat.chance.choice(["500", "503", "lost"])
        if how in ("500", "503"):
            await self._text(line, int(how), "Internal Server Error")
            return
        chat.deleted = True
        chat.deleted_early = not chat.is_final
        if how == "lost":
            line.reset()
            return
        await self._text(line, 200, "")

    async def _no_chat(self, line: _Line, website_status: int) -> None:
        if self._round.website:
            await self._text(line, website_status, "Internal Server Error" if website_status == 500 else "")
        else:
            await self._json(line, {"detail": "Chat not found"}, 404)

    async def _refuse(self, line: _Line, fault: str, chance: random.Random) -> None:
        if fault == "502":
            await self._text(line, 502, "<html><h1>502 Bad Gateway</h1></html>", "content-type: text/html\r\n")
        elif fault == "429":
            after = chance.choice(["0", "0", "1", "100"])
            await self._json(line, {"message": "Too many requests"}, 429, f"retry-after: {after}\r\n")
        else:
            words = "The server is currently busy. Please try again later."
            await self._json(line, {"message" if self._round.website else "detail": words}, 503)

    async def _json(self, line: _Line, value: Any, status: int = 200, headers: str = "") -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        await self._text(line, status, text, f"content-type: application/json\r\n{headers}")

    async def _text(self, line: _Line, status: int, text: str, headers: str = "") -> None:
        body = text.encode()
        framing = "" if status == 204 else f"content-length: {len(body)}\r\n"
        close = "connection: close\r\n" if self._round.website else ""
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{headers}{close}{framing}\r\n"
        await line.send(head.encode() + body)


class _EventWriter:
    """Writes events the way of a surface: one in a chunk, or chunks that end anywhere."""

    def __init__(self, line: _Line, chat: Chat, whole_chunks: bool) -> None:
        self.line = line
        self._chat = chat
        self._whole_chunks = whole_chunks
        self._singles = SINGLE_BYTES if chat.fault == "bytes" else 0

    async def tokens(self, tokens: list[str]) -> None:
        """Send tokens, some of them with their emoji in halves."""
        chance = self._chat.chance
        events = []
        for token in tokens:
            if token.endswith("🙂") and chance.random() < 0.3:
                events += [_event({"event_type": "token", "text": text}) for text in (token[:-1] + "\ud83d", "\ude42")]
            else:
                events.append(_event({"event_type": "token", "text": token}, is_ascii=chance.random() < 0.8))
            if chance.random() < 0.02:
                events.append(PING_COMMENT)
        await self._send(events)

    async def event(self, data: dict[str, Any]) -> None:
        """Send one event."""
        await self._send([_event(data)])

    async def final(self, message: dict[str, Any]) -> None:
        """Send the last event, and the end."""
        if message["state"] == "complete":
            await self.event({"event_type": "message", "message": message})
        else:
            await self.event({"event_type": "error", "error": "out of memory", "message": message})
        await self._put(LAST_CHUNK)

    async def _send(self, events: list[bytes]) -> None:
        if not events:
            return
        if self._whole_chunks:
            pieces = events
        else:
            data = b"".join(events)
            cuts = sorted(self._chat.chance.randint(1, len(data)) for _ in range(len(data) // 200 + 1))
            ends = sorted({*cuts, len(data)})
            pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        await self._put(b"".join(map(chunk, pieces)))

    async def _put(self, data: bytes) -> None:
        singles, rest = data[: self._singles], data[self._singles :]
        self._singles -= len(singles)
        for byte in singles:
            await self.line.send(bytes([byte]))
            await asyncio.sleep(0)
        if rest:
            await self.line.send(rest)


def _event(data: dict[str, Any], is_ascii: bool = True) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=is_ascii).encode() + b"\r\n\r\n"


def _route(method: str, target: str, body: dict[str, Any]) -> tuple[str, str, str]:
    """Return the name of the route that a request is for, its chat id and its message id."""
    parts = urlsplit(target).path.strip("/").split("/")
    if parts[0] == "api":
        given = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()} | body
        chat_id, message_id, rest = given.get("chat_id", ""), given.get("message_id", ""), "".join(parts[2:])
    else:
        chat_id, message_id = ("".join(parts[place : place + 1]) for place in (1, 3))
        rest = "".join(parts[4:]) or ("message" if message_id else "".join(parts[2:]))
    whole = {"POST": "create", "GET": "chat", "PUT": "update", "DELETE": "delete"}
    return rest.partition("_")[0] or whole[method], chat_id, message_id


async def main(seed: int) -> None:
    """Serve until standard input ends."""
    weather = Weather(seed)
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(), weather.serve)

    server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        said = json.loads(line)
        if "begin" in said:
            weather.begin(Round(**said["begin"]))
            print("{}", flush=True)
        else:
            print(json.dumps(await weather.end()), flush=True)


def order(**said: Any) -> str:
    """Return a line for the server's standard input."""
    values = {name: asdict(value) if isinstance(value, Round) else value for name, value in said.items()}
    return json.dumps(values) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(main(parser.parse_args().seed))
