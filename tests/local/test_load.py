"""Two hundred streams at once."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from oa_client.local import LocalServer, Settings
from oa_client.local._models.backends import Lorem
from tests.local.support import MODEL, PATIENCE, User

STREAMS = 200
TOKENS = 60


async def exchange(user: User, method: str, path: str, body: object = None) -> bytes:
    """Send one request on a connection of its own, and return all that comes back."""
    host, _, port = user.server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = b"" if body is None else json.dumps(body).encode()
    website = user.surface == "website"
    credential = f"Cookie: next-auth.session-token={user.session}" if website else f"Authorization: Bearer {user.token}"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{credential}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    try:
        return await reader.read(-1)
    finally:
        writer.close()
        await writer.wait_closed()


async def ask(user: User) -> bytes:
    """Ask for an answer, and read its stream to the end."""

    def id_in(answer: bytes) -> str:
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["id"])

    website = user.surface == "website"
    chat_id = id_in(await exchange(user, "POST", "/api/chat" if website else "/chats", {}))
    folder = "/api/chat" if website else f"/chats/{chat_id}"
    prompt = {"chat_id": chat_id, "content": "hi"}
    prompt_id = id_in(await exchange(user, "POST", f"{folder}/prompter_message", prompt))
    question = {
        "chat_id": chat_id,
        "parent_id": prompt_id,
        "model_config_name": MODEL,
        "sampling_parameters": {"max_new_tokens": TOKENS},
    }
    answer_id = id_in(await exchange(user, "POST", f"{folder}/assistant_message", question))
    return await exchange(user, "GET", user.events_path(chat_id, answer_id))


@pytest.mark.full
@pytest.mark.parametrize("slots", [pytest.param(2, id="in turns"), pytest.param(STREAMS, id="all at once")])
def test_many_streams_are_all_complete(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two hundred users, on both surfaces, gets every token once and in order, and the end."""
    # A busy machine may take longer to open a stream than this model to be done with the answer.
    monkeypatch.setattr("oa_client.local._answers.work.HEAD_START", PATIENCE)

    async def ask_all(users: list[User]) -> list[bytes]:
        return await asyncio.gather(*map(ask, users))

    backend = Lorem()
    backend.slots = slots
    # Nor is anybody to time out.
    with LocalServer(backend, settings=Settings(assistant_message_timeout=0)) as server:
        users = [User(server, ("inference", "website")[number % 2], f"user {number}") for number in range(STREAMS)]
        streams = asyncio.run(ask_all(users))

    texts = [re.findall(rb'"event_type": "token", "text": "([^"]*)"', stream) for stream in streams]
    assert {len(told) for told in texts} == {TOKENS}
    assert len({b"".join(told) for told in texts}) == 1
    assert {stream.count(b'"event_type": "message"') for stream in streams} == {1}
    assert {b'"state": "complete"' in stream for stream in streams} == {True}
