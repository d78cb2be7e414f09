"""The provider: what it puts on the wire, how it is called, and where it finds cookies."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import requests

from oa_client import APIError, ConfigurationError, GenerationError, OAError
from oa_client._accounts.browser import browser_cookies
from oa_client.provider import AsyncGeneratorProvider, AsyncResult, OpenAssistant
from tests.scripted import EventWriter, OpenAssistantScript, Request, Surface, in_turn, json_response, reply

COOKIES = {"next-auth.session-token": "s3cr3t"}
MESSAGES = [{"role": "user", "content": "Hi"}]
USER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/111.0.0.0 Safari/537.36"
)
DEFAULTS = {
    "top_k": 50,
    "top_p": None,
    "typical_p": None,
    "temperature": 0.35,
    "repetition_penalty": 1.1111111111111112,
    "max_new_tokens": 1024,
}


@pytest.fixture
def surface() -> Surface:
    """The provider knows the website only."""
    return "website"


@pytest.fixture
def provider(script: OpenAssistantScript) -> type[OpenAssistant]:
    """The provider, of a site that is the script."""
    return type("Mine", (OpenAssistant,), {"url": f"{script.url}/chat"})


def wait_until_deleted(script: OpenAssistantScript, *chats: str) -> None:
    """Wait until chats are deleted and the client has read that they are."""
    script.wait_until(lambda: script.deleted_chats == [*chats] and script.open_connections == 0)


def test_attributes() -> None:
    """The class says of itself what the original said, and that the hosted site is gone."""
    assert issubclass(OpenAssistant, AsyncGeneratorProvider)
    assert (
        OpenAssistant.url,
        OpenAssistant.model,
        OpenAssistant.working,
        OpenAssistant.needs_auth,
        OpenAssistant.supports_stream,
    ) == ("https://open-assistant.io/chat", "OA_SFT_Llama_30B_6", False, True, True)


def test_parameters_are_text_of_the_class() -> None:
    """`params` is read from the class, without an instance, and names what can be passed."""
    assert OpenAssistant.params.startswith("g4f.Provider.OpenAssistant supports: (")
    assert [name for name in ("model", "messages", "proxy", "cookies") if name not in OpenAssistant.params] == []
    assert "kwargs" not in OpenAssistant.params


@pytest.mark.anyio
async def test_what_goes_over_the_wire(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """Methods, paths, queries, bodies, cookies and User-Agent are those of the original, in its order."""
    tokens = [text async for text in provider.create_async_generator("", MESSAGES, cookies=COOKIES, temperature=0.1)]

    assert tokens == ["Hello", " world"]
    bodies = [request.json() if request.body else None for request in script.requests]
    assert [(request.method, request.target) for request in script.requests] == [
        ("POST", "/api/chat"),
        ("POST", "/api/chat/prompter_message"),
        ("POST", "/api/chat/assistant_message"),
        ("POST", "/api/chat/events?chat_id=c1&message_id=m1"),
        ("DELETE", "/api/chat?chat_id=c1"),
    ]
    assert bodies == [
        None,
        {"chat_id": "c1", "content": "<s>[INST]\nHi\n[/INST]", "parent_id": None},
        {
            "chat_id": "c1",
            "parent_id": "p1",
            "model_config_name": "OA_SFT_Llama_30B_6",
            "sampling_parameters": {**DEFAULTS, "temperature": 0.1},
            "plugins": [],
        },
        None,
        None,
    ]
    assert [list(body) for body in bodies if body] == [
        ["chat_id", "content", "parent_id"],
        ["chat_id", "parent_id", "model_config_name", "sampling_parameters", "plugins"],
    ]
    assert list(bodies[2]["sampling_parameters"]) == list(DEFAULTS)
    for request in script.requests:
        assert request.headers["User-Agent"] == USER_AGENT
        assert request.headers["Cookie"] == "next-auth.session-token=s3cr3t"


@pytest.mark.anyio
async def test_messages_of_any_role_are_flattened(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """Every message is a line of the prompt, whatever its role, and the last line is the assistant's."""
    messages = [{"role": "system", "content": "a"}, {"role": "tool", "content": "b"}, {"role": "user", "content": "c"}]

    await provider.create_async("m", messages, cookies=COOKIES)

    contents = [request.json()["content"] for request in script.requests if "prompter" in request.path]
    assert contents == ["<s>[INST]\nSystem: a\nTool: b\nUser: c\nAssistant:\n[/INST]"]


@pytest.mark.anyio
async def test_empty_message_among_others(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """A message without text is a line of the prompt, as in the original; alone it is refused."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]

    await provider.create_async("m", messages, cookies=COOKIES)
    with pytest.raises(ConfigurationError, match="empty"):
        await provider.create_async("m", messages[1:], cookies=COOKIES)

    contents = [request.json()["content"] for request in script.requests if "prompter" in request.path]
    assert contents == ["<s>[INST]\nUser: a\nAssistant: \nAssistant:\n[/INST]"]


@pytest.mark.anyio
async def test_both_ways_of_calling(provider: type[OpenAssistant]) -> None:
    """The result can be iterated straight away, and awaited first."""
    straight = [text async for text in provider.create_async_generator("m", MESSAGES, cookies=COOKIES)]
    generator = await provider.create_async_generator("m", MESSAGES, cookies=COOKIES)
    awaited = [text async for text in generator]

    assert straight == awaited == ["Hello", " world"]
    assert isinstance(generator, AsyncGenerator)
    assert isinstance(generator, AsyncResult)


@pytest.mark.anyio
async def test_whole_answer(provider: type[OpenAssistant]) -> None:
    """create_async() returns the text."""
    assert await provider.create_async("m", MESSAGES, cookies=COOKIES) == "Hello world"


def test_blocking_answer(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """create_completion() yields the text, and leaving it early leaves no chat."""
    assert list(provider.create_completion("m", MESSAGES, cookies=COOKIES)) == ["Hello", " world"]
    script.message_state = "complete"
    script.events = lambda stream: (stream.token("Hello"), stream.connection.wait_until_left())[1]  # type: ignore[func-returns-value]  # for their effect
    answer = provider.create_completion("m", MESSAGES, stream=True, cookies=COOKIES)
    assert next(answer) == "Hello"
    answer.close()

    wait_until_deleted(script, "c1", "c2")


@pytest.mark.parametrize("is_native", [True, False])
def test_subclass_that_answers_otherwise(script: OpenAssistantScript, is_native: bool) -> None:
    """What a subclass makes of create_async_generator() is what the other two calls give, also in a running loop."""

    class Loud(OpenAssistant):
        url = f"{script.url}/chat"

        @classmethod
        def create_async_generator(cls, model: str, messages: Any, *args: Any, **kwargs: Any) -> Any:
            answer = super().create_async_generator("another", messages, *args, **kwargs)
            return cls._shout(answer) if is_native else answer

        @staticmethod
        async def _shout(answer: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
            async for text in answer:
                yield text.upper()

    async def use() -> tuple[str, str]:
        return "".join(Loud.create_completion("m", MESSAGES, cookies=COOKIES)), await Loud.create_async(
            "m", MESSAGES, cookies=COOKIES
        )

    expected = "HELLO WORLD" if is_native else "Hello world"
    assert asyncio.run(use()) == (expected, expected)
    models = [request.json()["model_config_name"] for request in script.requests if "assistant" in request.path]
    assert models == ["another", "another"]


def test_leaving_the_answer_of_a_subclass(script: OpenAssistantScript) -> None:
    """Closing create_completion() closes the async generator that a subclass has made, and no chat is left."""
    ends: list[str] = []

    class Native(OpenAssistant):
        url = f"{script.url}/chat"

        @classmethod
        async def create_async_generator(  # type: ignore[override]  # as subclasses of the original have it
            cls, model: str, messages: Any, **kwargs: Any
        ) -> AsyncGenerator[str, None]:
            async with super().create_async_generator(model, messages, **kwargs) as answer:
                try:
                    async for text in answer:
                        yield text
                finally:
                    ends.append("closed")

    script.message_state = "complete"
    script.events = lambda stream: (stream.token("Hello"), stream.connection.wait_until_left())[1]  # type: ignore[func-returns-value]  # for their effect
    answer = Native.create_completion("m", MESSAGES, cookies=COOKIES)
    assert next(answer) == "Hello"
    answer.close()

    assert ends == ["closed"]
    wait_until_deleted(script, "c1")


def test_provider_that_cannot_ask() -> None:
    """A provider without create_async_generator() says that it has none."""
    with pytest.raises(NotImplementedError):
        AsyncGeneratorProvider.create_async_generator("m", MESSAGES)
    with pytest.raises(NotImplementedError):
        next(AsyncGeneratorProvider.create_completion("m", MESSAGES))


@pytest.mark.anyio
async def test_answer_that_is_held_keeps_no_connection(
    script: OpenAssistantScript, provider: type[OpenAssistant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a site that keeps connections, none is left when an answer is over, though that is held."""
    monkeypatch.setattr(OpenAssistantScript, "_headers", {})
    whole = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)
    assert [text async for text in whole] == ["Hello", " world"]
    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1")
    blocking = provider.create_completion("m", MESSAGES, cookies=COOKIES)
    assert await anyio.to_thread.run_sync(list, blocking) == ["Hello", " world"]
    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1", "c2")

    script.message_state = "complete"
    script.events = lambda stream: (stream.token("Hello"), stream.connection.wait_until_left())[1]  # type: ignore[func-returns-value]  # for their effect
    left = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)
    await anext(left)
    await left.aclose()
    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1", "c2", "c3")

    script.on_create = lambda connection, _: script.send_text(connection, "no", 403)
    refused = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)
    with pytest.raises(APIError):
        await anext(refused)
    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1", "c2", "c3")


def test_repr_of_an_answer(provider: type[OpenAssistant]) -> None:
    """An answer says what it is, and neither it nor what it holds shows the cookies."""
    answer = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)

    assert repr(answer) == "<AsyncResult of message None: new>"
    assert "s3cr3t" not in repr(vars(answer)) + repr(vars(answer._feed))


def test_program_ends_with_an_open_answer(script: OpenAssistantScript) -> None:
    """An answer that is held when the program ends does not keep it, and its chat goes."""
    script.message_state = "complete"

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    program = (
        "from oa_client.provider import OpenAssistant\n"
        f"class Mine(OpenAssistant): url = '{script.url}/chat'\n"
        f"answer = Mine.create_completion('', {MESSAGES}, cookies={COOKIES})\n"
        "print(next(answer))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.stderr, done.returncode) == ("Hello\n", "", 0)
    assert script.deleted_chats == ["c1"]


@pytest.mark.anyio
async def test_answer_that_was_left_goes_with_the_next(
    script: OpenAssistantScript, provider: type[OpenAssistant]
) -> None:
    """The chat of an answer that was left with `break` goes when the provider is used again."""
    finish, script.message_state = script.events, "complete"

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    async for _ in provider.create_async_generator("m", MESSAGES, cookies=COOKIES):
        break
    gc.collect()
    script.events = finish
    await provider.create_async("m", MESSAGES, cookies=COOKIES)

    await anyio.to_thread.run_sync(partial(script.wait_until, lambda: len(script.deleted_chats) == 2))
    await anyio.to_thread.run_sync(partial(script.wait_until, lambda: script.open_connections == 0))


def test_blocking_answer_inside_a_running_loop(provider: type[OpenAssistant]) -> None:
    """create_completion() works where an event loop is running, as in a notebook."""

    async def use() -> list[str]:
        return list(provider.create_completion("m", MESSAGES, cookies=COOKIES))

    assert asyncio.run(use()) == ["Hello", " world"]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 422, 500])
async def test_answer_with_a_message_raises_it(
    script: OpenAssistantScript, provider: type[OpenAssistant], status: int
) -> None:
    """A message in place of an id is a RuntimeError whose args[0] it is, whatever the status."""
    script.on_assistant = lambda connection, _: script.send_json(connection, {"message": "Model X not found"}, status)

    with pytest.raises(RuntimeError) as caught:
        await provider.create_async("X", MESSAGES, cookies=COOKIES)

    assert caught.value.args[0] == "Model X not found"
    assert "Model X not found" in str(caught.value)
    wait_until_deleted(script, "c1")


@pytest.mark.anyio
async def test_http_failure_has_a_status(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """An HTTP failure is a requests.HTTPError with `status`."""
    script.on_create = lambda connection, _: script.send_text(connection, "", 403)

    with pytest.raises(requests.HTTPError) as caught:
        await provider.create_async("m", MESSAGES, cookies=COOKIES)

    assert isinstance(caught.value, APIError)
    assert caught.value.status == 403


@pytest.mark.anyio
async def test_error_event_raises(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """An error event is a RuntimeError with the site's words, and the chat is deleted."""
    script.events = lambda stream: stream.error("out of memory")

    with pytest.raises(GenerationError) as caught:
        await provider.create_async("m", MESSAGES, cookies=COOKIES)

    assert caught.value.args == ("out of memory",)
    assert script.deleted_chats == ["c1"]


@pytest.mark.anyio
async def test_failed_delete_raises_after_the_last_token(
    script: OpenAssistantScript, provider: type[OpenAssistant]
) -> None:
    """A chat that cannot be deleted is an error, as in the original, but only when all text is there."""
    script.on_delete = in_turn(lambda connection, _: script.send_text(connection, "no way", 500), script.on_delete)
    tokens: list[str] = []
    answer = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)

    async def read() -> None:
        async for text in answer:
            tokens.append(text)

    with pytest.raises(requests.HTTPError) as caught:
        await read()

    assert (tokens, getattr(caught.value, "status", None)) == (["Hello", " world"], 500)
    assert caught.value.args == ("no way",)
    assert str(answer.message) == "Hello world"
    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1")


@pytest.mark.anyio
async def test_leaving_early_deletes_the_chat(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """A consumer that leaves in mid-answer leaves no chat, once the answer is final."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    script.message_state = "complete"
    answer = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)
    assert await anext(answer) == "Hello"
    await answer.aclose()

    await anyio.to_thread.run_sync(wait_until_deleted, script, "c1")


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:the credentials go to")
async def test_proxy_is_used_for_every_call(script: OpenAssistantScript) -> None:
    """With `proxy`, no call goes to the site directly."""
    route = script.route

    def without_host(request: Request) -> tuple[str, str, str]:
        target = request.target.removeprefix("http://oa.test")
        return route(Request(request.method, target, request.headers, request.body))

    script.route = without_host  # type: ignore[method-assign]  # the double is to be a proxy

    class Mine(OpenAssistant):
        url = "http://oa.test/chat"

    await Mine.create_async("m", MESSAGES, proxy=script.url, cookies=COOKIES)

    assert len(script.requests) == 5
    assert all(request.target.startswith("http://oa.test/api/chat") for request in script.requests)


@pytest.mark.anyio
async def test_sampling_that_cannot_be_sent_is_refused(
    script: OpenAssistantScript, provider: type[OpenAssistant]
) -> None:
    """A keyword whose value JSON cannot hold raises before anything is sent."""
    with pytest.raises(ConfigurationError, match="JSON"):
        await provider.create_async("m", MESSAGES, cookies=COOKIES, temperature=object())

    assert script.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize("messages", [[], "Hi", [{"role": "user"}], [{"role": 5, "content": "x"}]])
async def test_bad_messages_are_refused(
    script: OpenAssistantScript, provider: type[OpenAssistant], messages: Any
) -> None:
    """Messages that are none raise before anything is sent."""
    with pytest.raises(ConfigurationError, match="messages"):
        await provider.create_async("m", messages, cookies=COOKIES)

    assert script.requests == []


def test_result_is_no_coroutine(provider: type[OpenAssistant]) -> None:
    """What the docstring says of it is so."""
    result = provider.create_async_generator("m", MESSAGES, cookies=COOKIES)

    assert not inspect.isasyncgen(result)
    assert not inspect.iscoroutine(result)


# Cookies from browsers.


def firefox_profile(home: Path, *cookies: tuple[str, str, str]) -> None:
    """Write a cookie store as Firefox has it; cookies are (host, name, value)."""
    folder = home / ".mozilla" / "firefox"
    (folder / "abc.default-release").mkdir(parents=True)
    (folder / "profiles.ini").write_text(
        "[Install4F96D1932A9F858E]\nDefault=abc.default-release\n\n"
        "[Profile0]\nName=default-release\nIsRelative=1\nPath=abc.default-release\nDefault=1\n"
    )
    database = sqlite3.connect(folder / "abc.default-release" / "cookies.sqlite")
    database.execute(
        "CREATE TABLE moz_cookies (id INTEGER PRIMARY KEY, originAttributes TEXT NOT NULL DEFAULT '', name TEXT, "
        "value TEXT, host TEXT, path TEXT, expiry INTEGER, lastAccessed INTEGER, creationTime INTEGER, "
        "isSecure INTEGER, isHttpOnly INTEGER)"
    )
    for host, name, value in cookies:
        database.execute(
            "INSERT INTO moz_cookies (name, value, host, path, expiry, isSecure, isHttpOnly) "
            "VALUES (?, ?, ?, '/', 4102444800, 0, 1)",
            (name, value, host),
        )
    database.commit()
    database.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, without a desktop."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.anyio
@pytest.mark.skipif(os.name == "nt", reason="the profile is where Linux has it")
async def test_cookies_of_firefox(script: OpenAssistantScript, provider: type[OpenAssistant], home: Path) -> None:
    """Without cookies, those of the site's host are taken from Firefox, and no others."""
    firefox_profile(
        home,
        ("127.0.0.1", "next-auth.session-token", "found"),
        ("x127.0.0.1.example", "next-auth.session-token", "foreign"),
        ("example.org", "other", "foreign"),
    )

    await provider.create_async("m", MESSAGES)

    assert {request.headers["Cookie"] for request in script.requests} == {"next-auth.session-token=found"}


@pytest.mark.anyio
async def test_no_cookies_anywhere(script: OpenAssistantScript, provider: type[OpenAssistant], home: Path) -> None:
    """Where no browser has cookies of the host, the error says how to pass them."""
    with pytest.raises(ConfigurationError, match=r"pass cookies= with those of 127\.0\.0\.1"):
        await provider.create_async("m", MESSAGES)

    assert script.requests == []


@pytest.mark.anyio
async def test_no_extra(
    script: OpenAssistantScript, provider: type[OpenAssistant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without browser-cookie3 the error says how to get it, or to pass cookies."""
    monkeypatch.setitem(__import__("sys").modules, "browser_cookie3", None)

    with pytest.raises(ConfigurationError, match=r"pass cookies=.*pip install 'oa-client\[browser\]'"):
        await provider.create_async("m", MESSAGES)


class _CookieSite(BaseHTTPRequestHandler):
    """A page that sets a session cookie that lasts."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "next-auth.session-token=baked; Max-Age=86400; Path=/; HttpOnly")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_cookies_of_chromium(home: Path) -> None:
    """A cookie that a site set in a real Chromium is found, decrypted, and shown nowhere."""
    assert CHROMIUM is not None
    with ThreadingHTTPServer(("127.0.0.1", 0), _CookieSite) as site:
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{site.server_address[1]}"
        quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
        profile = home / ".config" / "chromium"
        subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--password-store=basic", "--disable-component-update"),
                *(f"--{flag}" for flag in quiet),
                *(f"--user-data-dir={profile}", "--dump-dom", url),
            ],
            capture_output=True,
            timeout=120,
            check=True,
        )
        site.shutdown()
        thread.join(20)

    jar = browser_cookies(url)

    assert [(cookie.name, cookie.value) for cookie in jar] == [("next-auth.session-token", "baked")]


def test_http_answers_of_the_double_are_read(script: OpenAssistantScript, provider: type[OpenAssistant]) -> None:
    """A site that answers with neither id nor message is no Open-Assistant."""
    script.on_create = reply(json_response({"detail": None}, headers={"connection": "close"}))

    with pytest.raises(OAError, match="no id"):
        list(provider.create_completion("m", MESSAGES, cookies=COOKIES))
