"""The server whose answers a test decides."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, get_args

import anyio

from oa_client import AsyncClient, Client
from oa_client.local import LocalServer, LocalServerError
from oa_client.testing._answer import Reply
from oa_client.testing._faults import AnswerFault, CallFault, Drop, RateLimit, Refuse, Stall
from oa_client.testing._routes import Request, Route, Surface
from oa_client.testing._script import Failure, Function, Script, SeenChat

INSTALL = "pip install 'oa-client[testing]'"


class OAServer:
    """
    An Open-Assistant on 127.0.0.1 that answers what it is told, and fails how it is told.

        with OAServer() as server, Client(server.url, **server.credentials) as client:
            server.reply("Hello!")
            assert client.ask("Hi").content == "Hello!"

    It has both surfaces at one address; `surface` says for which of them `credentials` and the clients
    are. What it is told may be told at any time and from any thread, and holds for the next question
    or call. Nothing is answered of its own accord: a question without a reply gets an error event, and
    leaving the `with` raises. With pytest, the fixture `oa_server` is one.

    Args:
        surface: "inference" or "website".

    Raises:
        ValueError: if there is no such surface.
        LocalServerError: if the extra is not installed, when it is started.
    """

    def __init__(self, surface: Surface = "inference") -> None:
        if surface not in get_args(Surface):
            raise ValueError(f"the surface is 'inference' or 'website', not {surface!r}")
        self.surface: Surface = surface
        self._script = Script()
        self._server = LocalServer(self._script)
        self._clients: list[Client] = []
        self._async_clients: list[AsyncClient] = []

    def __repr__(self) -> str:
        return f"<OAServer {self.surface}, {repr(self._server).rpartition(', ')[2]}"

    def __enter__(self) -> OAServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            self.check()

    @property
    def url(self) -> str:
        """The address, without a slash at its end; for both surfaces."""
        return self._server.url

    @property
    def credentials(self) -> dict[str, Any]:
        """What signs a client in, as arguments: `{"token": …}` or `{"cookies": {…}}`."""
        if self.surface == "inference":
            return {"token": self._server.token}
        return {"cookies": self._server.cookies}

    @property
    def environment(self) -> dict[str, str]:
        """The same, with the address, as environment variables that `Client()` reads."""
        if self.surface == "inference":
            return {"OA_BASE_URL": self.url, "OA_TOKEN": self._server.token}
        cookie = "; ".join(f"{name}={value}" for name, value in self._server.cookies.items())
        return {"OA_BASE_URL": self.url, "OA_COOKIE": cookie}

    def start(self) -> None:
        """
        Start serving, in a thread; it takes a few milliseconds.

        Raises:
            LocalServerError: if the extra is not installed, or the server has been closed.
        """
        try:
            from oa_client.testing._line import protocol_of
            from oa_client.testing._stage import Stage
        except ImportError as error:
            raise LocalServerError(f"the server for tests is not installed: {INSTALL}") from error
        self._server._protocol = protocol_of(Stage(self._script).play)
        self._server.start()

    def close(self) -> None:
        """Close the clients that were made here, end what stalls, and wait for the threads. Idempotent."""
        with contextlib.ExitStack() as stack:  # the last first
            stack.callback(self._server.close)
            stack.callback(self._script.end)
            for client in self._clients:
                stack.callback(client.close)
            for async_client in self._async_clients:
                stack.callback(_close, async_client)

    # What is answered.

    def reply(self, text: str, *, tokens: Sequence[str] | None = None, fault: AnswerFault | None = None) -> None:
        """
        Answer the next question with this; several replies are given in their order.

        Args:
            text: the whole answer.
            tokens: the pieces in which it comes; words by default.
            fault: what goes wrong on the way, for example `Drop(after=2)`.

        Raises:
            TypeError: if one of them is of another kind.
            ValueError: if the fault would come behind more tokens than there are.
        """
        self._script.add_reply(Reply(text, tokens, fault))

    def replies(self, function: Function) -> None:
        """
        Answer each question for which no reply is queued with what a function returns.

            server.replies(lambda messages: messages[-1]["content"].upper())

        Args:
            function: called with the messages, each `{"role", "content"}` with the roles "system", "user"
                and "assistant", from the first to the one to be answered; in a thread of its own for each
                question. Returns a text or a `Reply`. What it raises is an error event, and a complaint.

        Raises:
            TypeError: if it cannot be called.
        """
        if not callable(function):
            raise TypeError(f"replies() takes a function of the messages, not {function!r}; reply() takes a text")
        self._script.set_function(function)

    def fail(
        self,
        route: Route,
        fault: CallFault | None = None,
        *,
        status: int | None = None,
        times: int = 1,
        carried_out: bool = False,
    ) -> None:
        """
        Have the next call of a route go wrong.

            server.fail("assistant_message", status=503)
            server.fail("create_chat", Drop())

        Args:
            route: the call's noun, the same on both surfaces: "create_chat", "prompter_message", … see `Route`.
            fault: what happens: `Refuse`, `RateLimit`, `Drop` or `Stall`.
            status: short for `Refuse(status)`.
            times: how many calls.
            carried_out: whether the server does what it is called for, and only its answer goes wrong.

        Raises:
            TypeError: if not exactly one of `fault` and `status` is given, or the fault is for answers.
            ValueError: if there is no such route, or a field of the fault is for answers alone.
        """
        if route not in get_args(Route):
            raise ValueError(f"there is no route {route!r}: there are {', '.join(get_args(Route))}")
        if (fault is None) == (status is None):
            raise TypeError("fail() takes a fault, or a status")
        fault = Refuse(status) if fault is None and status is not None else fault
        if not isinstance(fault, get_args(CallFault)):
            raise TypeError(f"{fault!r} cannot happen to a call: that can Refuse, RateLimit, Drop and Stall")
        if isinstance(fault, Drop | Stall) and fault not in (Drop(), Drop(how="reset"), Stall()):
            raise ValueError(f"{fault!r} is for answers: a call has no tokens, and carried_out= says what it does")
        if isinstance(fault, RateLimit) and route != "assistant_message":
            raise ValueError("the rate limit is one of the route 'assistant_message'")
        if not isinstance(times, int) or times < 1:
            raise ValueError(f"times is a number of calls, 1 or more, not {times!r}")
        self._script.add_failure(Failure(route, fault, carried_out), times)

    def resume(self) -> None:
        """End the pause (`Pause`) of each answer that was asked for so far."""
        self._script.resume()

    # What was seen.

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order in which they came, without their secrets."""
        return self._script.requests

    @property
    def prompts(self) -> list[str]:
        """The texts that were posted so far."""
        return self._script.prompts

    @property
    def chats(self) -> list[SeenChat]:
        """The chats that were made so far, the oldest first, and what has become of them."""
        return self._script.chats

    def assert_no_chat_left(self, kept: Collection[str] = ()) -> None:
        """
        Check that the program has left nothing on the server; once its client is closed.

        Each chat is deleted, or it was hidden while an answer in it was not final, so that deleting it
        would have harmed other users.

        Args:
            kept: the ids of chats that are to stay.

        Raises:
            AssertionError: if another chat is left, or one of these is not.
        """
        chats = {chat.id: chat for chat in self.chats}
        if unknown := [chat_id for chat_id in kept if chat_id not in chats or chats[chat_id].deleted]:
            raise AssertionError(f"these chats were to be kept, and are not there: {', '.join(unknown)}")
        left = [chat for chat in chats.values() if chat.was_left and chat.id not in kept]
        if left:
            how = [f"{chat.id} ({'hidden' if chat.hidden else 'not even hidden'})" for chat in left]
            raise AssertionError(f"chats are left on the server: {', '.join(how)}; is the client closed?")

    def check(self, *, unused: bool = True) -> None:
        """
        Check that there was a reply to each question, and a question for each reply; leaving the `with` does.

        Args:
            unused: also that each reply was asked for, and each fault came.

        Raises:
            AssertionError: if not.
        """
        if complaints := self._script.complaints(unused=unused):
            raise AssertionError("; ".join(complaints))

    # Clients.

    def client(self, **options: Any) -> Client:
        """A `Client` of this server; it may be closed, else the server does it. Takes the options of `Client`."""
        client = Client(self.url, **{**self.credentials, **options})
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> AsyncClient:
        """The same for async code, on any event loop."""
        client = AsyncClient(self.url, **{**self.credentials, **options})
        self._async_clients.append(client)
        return client


def _close(client: AsyncClient) -> None:
    """Close an async client without its event loop, which may be over."""
    # In a thread of its own: asyncio notes in a thread that it has run there, which may disturb the test's plugin.
    with ThreadPoolExecutor(1, "oa-client close") as executor:
        executor.submit(lambda: anyio.run(client.aclose)).result()
