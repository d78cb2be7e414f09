"""
A website for a crowd: an event loop in a process of its own, where a thousand streams take nobody's interpreter lock.

    python -m tests.crowd

prints its port and serves until its standard input is closed. A reply says which prompt it answers. All are held after
their first token until `POST /go`; `GET /` tells how many connections, replies and chats there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit


def tokens_for(prompt: str) -> list[str]:
    """Return the reply to a prompt."""
    return ["You", " said", f" {prompt}", ", and", " so", " did", " many", "."]


class Crowd:
    """The chats, by id with their prompts, and who is connected."""

    def __init__(self) -> None:
        self._ids = itertools.count()
        self._chats: dict[str, str] = {}
        self._connections = 0
        self._replies = 0
        self._go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, until it is closed."""
        self._connections += 1
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            try:
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    length = head.partition("content-length:")[2].partition("\r\n")[0]
                    body = await reader.readexactly(int(length or 0))
                    method, target, _ = head.split(" ", 2)
                    await self._answer(writer, method, target, json.loads(body or b"{}"))
            finally:
                self._connections -= 1

    async def _answer(self, writer: asyncio.StreamWriter, method: str, target: str, body: dict[str, Any]) -> None:
        path = urlsplit(target).path
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if path == "/api/chat/events":
            await self._reply(writer, query["chat_id"], query["message_id"])
            return
        if path == "/":
            answer = json.dumps(
                {"connections": self._connections - 1, "replies": self._replies, "chats": len(self._chats)}
            ).encode()
        elif path == "/api/chat/message":
            # Somebody could not delete the chat at once, as the machine is busy.
            prompt = self._chats[query["chat_id"]]
            answer = json.dumps(_message("".join(tokens_for(prompt)), query["chat_id"], query["message_id"])).encode()
        elif path == "/go":
            self._go.set()
            answer = b""
        elif method == "delete":
            del self._chats[query["chat_id"]]
            answer = b""
        else:
            made = f"id{next(self._ids)}"
            if path == "/api/chat":
                self._chats[made] = ""
            elif path == "/api/chat/prompter_message":
                self._chats[body["chat_id"]] = body["content"]
            answer = json.dumps({"id": made}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(answer) + answer)
        await writer.drain()

    async def _reply(self, writer: asyncio.StreamWriter, chat_id: str, message_id: str) -> None:
        first, *rest = _events(self._chats[chat_id], chat_id, message_id)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self._replies += 1
        try:
            writer.write(first)
            await self._go.wait()
            for event in rest:
                writer.write(event)
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        finally:
            self._replies -= 1


def _message(content: str, chat_id: str, message_id: str) -> dict[str, str]:
    """Return a reply that is complete."""
    return {
        "id": message_id,
        "chat_id": chat_id,
        "parent_id": "p",
        "role": "assistant",
        "state": "complete",
        "content": content,
    }


def _events(prompt: str, chat_id: str, message_id: str) -> Iterator[bytes]:
    """Yield the events of a reply, each as a chunk."""
    tokens = tokens_for(prompt)
    for data in (
        *({"event_type": "token", "text": token} for token in tokens),
        {"event_type": "message", "message": _message("".join(tokens), chat_id, message_id)},
    ):
        event = b"data: %b\r\n\r\n" % json.dumps(data).encode()
        yield b"%x\r\n%b\r\n" % (len(event), event)


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(Crowd().serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
