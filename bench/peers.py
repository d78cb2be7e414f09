"""
The same chat with each client: make it, ask, read the answer token by token, delete it.

A blocking peer is a function that is given the address and returns one that runs a chat and yields its tokens; an async
one the same with an async generator. What is outside of the chat (sessions, clients) is made once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

COOKIES = {"next-auth.session-token": "x"}
QUESTION = {"chat_id": "c", "parent_id": "p", "model_config_name": "m", "sampling_parameters": {}, "plugins": []}
PROMPT = {"chat_id": "c", "parent_id": None, "content": "Hi"}
EVENTS = {"chat_id": "c", "message_id": "m"}

Blocking = Callable[[], Iterator[str]]
Async = Callable[[], AsyncIterator[str]]


def client(url: str) -> Blocking:
    """oa_client.Client."""
    from oa_client import Client

    made = Client(url, cookies=COOKIES, serialize=False)
    return lambda: made.stream("Hi")


def async_client(url: str) -> Async:
    """oa_client.AsyncClient."""
    from oa_client import AsyncClient

    made = AsyncClient(url, cookies=COOKIES, serialize=False)
    return lambda: made.stream("Hi")


def requests_sse(url: str) -> Blocking:
    """requests and sseclient-py, as their READMEs say."""
    import requests
    import sseclient

    session = requests.Session()
    session.cookies.update(COOKIES)

    def chat() -> Iterator[str]:
        session.post(f"{url}/api/chat").json()
        session.post(f"{url}/api/chat/prompter_message", json=PROMPT).json()
        session.post(f"{url}/api/chat/assistant_message", json=QUESTION).json()
        with session.get(f"{url}/api/chat/events", params=EVENTS, stream=True) as response:
            events = sseclient.SSEClient(response).events()  # type: ignore[arg-type]  # as its README says
            for event in events:
                data = json.loads(event.data)
                if data["event_type"] == "token":
                    yield data["text"]
        session.delete(f"{url}/api/chat", params={"chat_id": "c"})

    return chat


def httpx_sse(url: str) -> Blocking:
    """httpx and httpx-sse."""
    import httpx
    from httpx_sse import connect_sse

    made = httpx.Client(cookies=COOKIES, timeout=60)

    def chat() -> Iterator[str]:
        made.post(f"{url}/api/chat").json()
        made.post(f"{url}/api/chat/prompter_message", json=PROMPT).json()
        made.post(f"{url}/api/chat/assistant_message", json=QUESTION).json()
        with connect_sse(made, "GET", f"{url}/api/chat/events", params=EVENTS) as source:
            for event in source.iter_sse():
                data = json.loads(event.data)
                if data["event_type"] == "token":
                    yield data["text"]
        made.delete(f"{url}/api/chat", params={"chat_id": "c"})

    return chat


def httpx_sse_async(url: str) -> Async:
    """httpx and httpx-sse, async."""
    import httpx
    from httpx_sse import aconnect_sse

    # As many connections as there are streams, here and with aiohttp: both would have 100.
    made = httpx.AsyncClient(cookies=COOKIES, timeout=60, limits=httpx.Limits())

    async def chat() -> AsyncIterator[str]:
        (await made.post(f"{url}/api/chat")).json()
        (await made.post(f"{url}/api/chat/prompter_message", json=PROMPT)).json()
        (await made.post(f"{url}/api/chat/assistant_message", json=QUESTION)).json()
        async with aconnect_sse(made, "GET", f"{url}/api/chat/events", params=EVENTS) as source:
            async for event in source.aiter_sse():
                data = json.loads(event.data)
                if data["event_type"] == "token":
                    yield data["text"]
        await made.delete(f"{url}/api/chat", params={"chat_id": "c"})

    return chat


def aiohttp(url: str) -> Async:
    """aiohttp and a loop over lines."""
    import aiohttp

    sessions: list[Any] = []

    async def chat() -> AsyncIterator[str]:
        if not sessions:
            sessions.append(aiohttp.ClientSession(cookies=COOKIES, connector=aiohttp.TCPConnector(limit=0)))
        (session,) = sessions
        async with session.post(f"{url}/api/chat") as response:
            await response.json()
        async with session.post(f"{url}/api/chat/prompter_message", json=PROMPT) as response:
            await response.json()
        async with session.post(f"{url}/api/chat/assistant_message", json=QUESTION) as response:
            await response.json()
        async with session.get(f"{url}/api/chat/events", params=EVENTS) as response:
            # The final message of a very long reply is a longer line than it takes.
            with contextlib.suppress(aiohttp.http_exceptions.LineTooLong):
                async for line in response.content:
                    if line.startswith(b"data: "):
                        data = json.loads(line[6:])
                        if data["event_type"] == "token":
                            yield data["text"]
        async with session.delete(f"{url}/api/chat", params={"chat_id": "c"}):
            pass

    return chat


def openai(url: str) -> Blocking:
    """The openai package, with its own protocol: one request for each chat."""
    import openai

    made = openai.OpenAI(base_url=f"{url}/v1", api_key="x")

    def chat() -> Iterator[str]:
        for part in made.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True):
            yield part.choices[0].delta.content or ""

    return chat


BLOCKING = {"Client": client, "requests + sseclient-py": requests_sse, "httpx-sse": httpx_sse, "openai": openai}
ASYNC = {"AsyncClient": async_client, "aiohttp": aiohttp, "httpx-sse async": httpx_sse_async}
#: Measured on trio too.
ON_TRIO = ("AsyncClient",)
