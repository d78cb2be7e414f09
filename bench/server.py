"""
A stand-in chat server whose bodies are built before they are asked for, so that the client is what is measured.

It speaks what one chat needs, on the website's paths, and OpenAI's streaming route for that package. One process:

    python -m bench.server --tokens 20000 --pause 0

prints its port and serves until its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from urllib.parse import parse_qsl

WORDS = (" the", " of", " open", " assistant", "\\n", " caf\\u00e9", ",", ".", " token", " 42")
BLOCK = 1000
#: tokens of the replies below `/warm`, which are for warming up.
WARM = 100


def oa_event(text: str) -> bytes:
    """Return a token event; `text` is JSON without its quotes."""
    return b'data: {"event_type": "token", "text": "%s"}\r\n\r\n' % text.encode()


def openai_event(text: str) -> bytes:
    """Return the same token as OpenAI sends it."""
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    ) % text.encode()


def chunk(data: bytes) -> bytes:
    """Return data as a chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_oa_event(text: str, chat_id: str = "c", message_id: str = "m") -> bytes:
    """Return the final message."""
    message = {
        "id": message_id,
        "chat_id": chat_id,
        "parent_id": "p",
        "role": "assistant",
        "state": "complete",
        "content": text,
    }
    return b"data: " + json.dumps({"event_type": "message", "message": message}).encode() + b"\r\n\r\n"


class Replies:
    """
    The whole body of a reply at full speed, in blocks.

    Attributes:
        blocks: all but the end.
        text: of all tokens.
    """

    def __init__(self, event: Callable[[str], bytes], tokens: int) -> None:
        words = list(itertools.islice(itertools.cycle(WORDS), tokens))
        self.text = "".join(json.loads(f'"{word}"') for word in words)
        self.blocks = [
            b"".join(chunk(event(word)) for word in words[at : at + BLOCK]) for at in range(0, tokens, BLOCK)
        ]


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, pause: float, replies: dict[str, Replies], tokens: int) -> None:
        self._pause, self._replies, self._tokens = pause, replies, tokens
        self._received = b""
        self._ids = itertools.count()
        self._writing: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._may_write.set()
        if self._writing:
            self._writing.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if not blank or len(rest) < length:
            return
        self._received = rest[length:]
        method, target = head.decode().split(" ")[:2]
        path, _, query = target.partition("?")
        self._answer(method, path, dict(parse_qsl(query)))

    def _answer(self, method: str, path: str, query: dict[str, str]) -> None:
        if path in self._replies:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            slow = self._pause and path.startswith("/api")
            is_openai = path.startswith("/v1")

            def end(text: str) -> bytes:
                """Name what was asked for, as clients believe nothing else."""
                return chunk(b"data: [DONE]\n\n" if is_openai else last_oa_event(text, **query)) + b"0\r\n\r\n"

            self._writing = asyncio.ensure_future(
                self._write_slowly(end) if slow else self._write(self._replies[path], end)
            )
            return
        body = b"" if method == "DELETE" else b'{"id": "id%d"}' % next(self._ids)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    async def _write(self, replies: Replies, end: Callable[[str], bytes]) -> None:
        for block in replies.blocks:
            await self._may_write.wait()
            self._transport.write(block)
        await self._may_write.wait()
        self._transport.write(end(replies.text))

    async def _write_slowly(self, end: Callable[[str], bytes]) -> None:
        """Send tokens at a pace; the text of each is the monotonic clock in nanoseconds when it was sent."""
        loop, texts = asyncio.get_running_loop(), []
        start = loop.time()
        for number in range(self._tokens):
            await asyncio.sleep(start + number * self._pause - loop.time())
            texts.append(f" {time.monotonic_ns()}")
            self._transport.write(chunk(oa_event(texts[-1])))
        self._transport.write(end("".join(texts)))


async def serve(tokens: int, pause: float) -> None:
    """Serve until standard input ends."""
    replies = {
        "/api/chat/events": Replies(oa_event, tokens),
        "/warm/api/chat/events": Replies(oa_event, WARM),
        "/v1/chat/completions": Replies(openai_event, tokens),
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(pause, replies, tokens), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between tokens")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.tokens, arguments.pause))
