"""
`OpenAssistant`, for code that was written against the gpt4free provider of that name.

What goes over the wire is what that provider sent (g4f-fork 0.1.9.5, the last release that had it): the website's API,
a browser's User-Agent, its sampling values with their nulls, the prompt in its wrapping. Unlike it, an error event
raises, and the chat is deleted also when the consumer leaves early or an error occurs.

For an HTTP failure the original raised aiohttp's `ClientResponseError`. Catch `requests.HTTPError` in its place; it has
the same `status`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from oa_client._accounts.browser import browser_cookies
from oa_client._accounts.cookies import Cookies
from oa_client._async.feed import Feed, wake
from oa_client._async.loop import Loops
from oa_client._async.poller import Poller
from oa_client._async.stream import AsyncStream
from oa_client._blocking.client import Client
from oa_client._blocking.stream import Stream
from oa_client._calls.cleanup import GRACE
from oa_client._calls.exchange import Exchange
from oa_client._calls.reply import Opening, Reply
from oa_client._calls.threads import Slot, start
from oa_client._calls.turns import Turn, wait_through
from oa_client._net.interrupt import Interrupt
from oa_client._net.transport import Transport
from oa_client._values.question import Question, format_prompt, read_any_messages
from oa_client._values.timeout import Timeout
from oa_client._wire.call import Call
from oa_client._wire.website import OriginalWebsite

__all__ = ["AsyncGeneratorProvider", "AsyncResult", "Messages", "OpenAssistant"]

Messages = Sequence[Mapping[str, Any]]
"""What is said: `{"role", "content"}` for each message; the content is a text or a list of text parts."""

_USER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/111.0.0.0 Safari/537.36"
)
_SAMPLING: Mapping[str, Any] = {
    "top_k": 50,
    "top_p": None,
    "typical_p": None,
    "temperature": 0.35,
    "repetition_penalty": 1.1111111111111112,
    "max_new_tokens": 1024,
}
_T = TypeVar("_T")

#: Each call makes a client of its own, and they are read together.
_poller = Poller(wake)
_loops = Loops()


def _begin_again() -> None:
    global _poller, _loops
    _poller, _loops = Poller(wake), Loops()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


class AsyncResult(AsyncStream):
    """
    The answer as an async generator of text, which may be awaited first, with itself as the result.

    `async for text in create_async_generator(…)` and `async for text in await create_async_generator(…)` both work.
    It is neither a coroutine nor a native async generator: `asyncio.create_task` refuses it, and
    `inspect.isasyncgen` is false.
    """

    def __init__(self, start: Opening) -> None:
        super().__init__(Feed(start, _poller, _loops))
        self._start = start

    def __await__(self) -> Generator[None, None, AsyncResult]:
        yield from ()
        return self


class _Parameters:
    """`params` as the original has it: what `create_async_generator` takes, as text; a property of the class."""

    def __get__(self, instance: object, owner: type[AsyncGeneratorProvider]) -> str:
        lines = []
        for name, parameter in inspect.signature(owner.create_async_generator).parameters.items():
            if name == "kwargs":
                continue
            line = f"\n    {name}"
            if name != "model" and parameter.annotation is not parameter.empty:
                line += f": {parameter.annotation}"
            if parameter.default is not parameter.empty:
                line += f" = {parameter.default!r}"
            lines.append(line)
        return f"g4f.Provider.{owner.__name__} supports: ({','.join(lines)}\n)"


class AsyncGeneratorProvider:
    """
    What gpt4free expects of a provider whose answer is an async generator.

    Attributes:
        url: the page of the service.
        working: whether the service is known to answer.
        needs_auth: whether it needs cookies.
        supports_stream: whether the answer comes in pieces.
        params: what `create_async_generator` takes, as text.
    """

    url: ClassVar[str]
    working: ClassVar[bool] = False
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_gpt_35_turbo: ClassVar[bool] = False
    supports_gpt_4: ClassVar[bool] = False
    supports_message_history: ClassVar[bool] = False
    params = _Parameters()

    @classmethod
    def create_async_generator(cls, model: str, messages: Messages, **kwargs: Any) -> AsyncGenerator[str, None]:
        """Ask, and return the answer as it comes: what a provider has to have."""
        raise NotImplementedError

    @classmethod
    async def create_async(cls, model: str, messages: Messages, **kwargs: Any) -> str:
        """Ask, and return the whole answer; arguments and errors as `create_async_generator`."""
        return "".join([text async for text in cls.create_async_generator(model, messages, **kwargs)])

    @classmethod
    def create_completion(
        cls, model: str, messages: Messages, stream: bool = True, **kwargs: Any
    ) -> Generator[str, None, None]:
        """
        Ask, and yield the answer, blocking; arguments and errors as `create_async_generator`.

        It works inside a running event loop too, and in a notebook. `stream` is accepted and does nothing: the answer
        always comes in pieces.
        """
        answer = cls.create_async_generator(model, messages, **kwargs)
        if not isinstance(answer, AsyncResult):
            yield from _run(answer)
            return
        with Stream(wait_through(answer._start(lambda _: None))) as reply:
            yield from reply


class OpenAssistant(AsyncGeneratorProvider):
    """
    The provider. A subclass that sets `url` to the chat page of another Open-Assistant talks to that one.

    ```python
    class Mine(OpenAssistant):
        url = "https://oa.example.org/chat"


    async for text in Mine.create_async_generator("", [{"role": "user", "content": "Hello"}], cookies=cookies):
        print(text, end="", flush=True)
    ```

    Attributes:
        model: what answers if the model is an empty string or None.
    """

    url = "https://open-assistant.io/chat"
    needs_auth = True
    #: The hosted service closed in 2023.
    working = False
    supports_stream = True
    model: ClassVar[str] = "OA_SFT_Llama_30B_6"

    @classmethod
    def create_async_generator(
        cls, model: str, messages: Messages, proxy: str | None = None, cookies: Cookies | None = None, **kwargs: Any
    ) -> AsyncResult:
        """
        Ask, and return the answer as it comes.

        Nothing happens before the first item is asked for, and all errors come then or later.

        Args:
            model: a name that the site knows; empty for the default.
            messages: `{"role", "content"}` with any roles; several are flattened into one prompt.
            proxy: a URL, for every call.
            cookies: of the site's session; without them, those of the user's browsers (extra `browser`).
            **kwargs: sampling values, which replace the defaults and are sent as they are.

        Raises:
            ConfigurationError: if there are no cookies, or an argument is wrong.
            APIError: if the site answers with an error: a `RuntimeError` whose `args[0]` is the site's message, and a
                `requests.HTTPError`. Also if the chat cannot be deleted at the end.
            GenerationError: if the answer is an error; also a `RuntimeError`.
            OAError: as `oa_client.Stream`.
        """

        # Not a partial(), whose repr shows the cookies.
        def start(note: Callable[[Exchange], object]) -> Generator[Turn, None, Reply]:
            return cls._ask(model, messages, proxy, cookies, kwargs, note)

        return AsyncResult(start)

    @classmethod
    def _ask(
        cls,
        model: str | None,
        messages: Messages,
        proxy: str | None,
        cookies: Cookies | None,
        sampling: Mapping[str, Any],
        note: Callable[[Exchange], object],
    ) -> Generator[Turn, None, Reply]:
        parts = urlsplit(cls.url)
        site = f"{parts.scheme}://{parts.netloc}"
        prompt = f"<s>[INST]\n{format_prompt(read_any_messages(messages))}\n[/INST]"
        question = Question(prompt, model or cls.model, {**_SAMPLING, **sampling}, plugins=[])
        client = _Client(
            site,
            cookies=cookies or browser_cookies(site),
            proxy=proxy,
            headers={"User-Agent": _USER_AGENT},
            max_retries=0,
            serialize=False,
        )

        def begin(exchange: Exchange) -> None:
            exchange.is_strict = True
            note(exchange)

        return client._engine.ask(question, False, begin)


class _Transport(Transport):
    """Closes the connections of a client that makes one chat when that is gone: the answer may be held for long."""

    def send(self, call: Call[_T], timeout: Timeout, interrupt: Interrupt) -> _T:
        # A failed call may be the last as well, and if not, the next one makes a new connection.
        is_last = True
        try:
            result = super().send(call, timeout, interrupt)
            is_last = call.method == "DELETE"
            return result
        finally:
            if is_last:
                self.close()


class _Client(Client):
    _website = OriginalWebsite()
    _transport = _Transport


def _run(answer: AsyncGenerator[str, None]) -> Generator[str, None, None]:
    """Yield what an async generator does, in an event loop of its own; not in this thread, where one may run."""
    loop = asyncio.new_event_loop()

    async def step() -> str:
        return await anext(answer)

    async def end() -> None:
        await answer.aclose()

    def run(function: Callable[[], Any]) -> Any:
        result: Slot[Any] = Slot()
        try:
            start(lambda: loop.run_until_complete(function()), result, "oa-client provider")
            return result.take()
        except BaseException:
            if not result.is_full:
                # A signal's handler raised, and the loop still runs.
                loop.call_soon_threadsafe(_cancel_all, loop)
                result.wait(GRACE)
            raise

    try:
        while True:
            try:
                text = run(step)
            except StopAsyncIteration:
                return
            yield text
    finally:
        if not loop.is_running():
            run(end)
            loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
