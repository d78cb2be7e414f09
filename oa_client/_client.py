"""The blocking client."""

from __future__ import annotations

import json
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

import requests

from ._cleanup import DEADLINE, Cleanup, start_all
from ._errors import APIError, ConfigurationError, OAError, RateLimitError, TransportError
from ._exchange import Exchange
from ._fork import forget_in_children
from ._models import Message, ModelInfo, Sampling, Timeout, did_you_mean
from ._retry import Retry
from ._stream import Reply, Stream
from ._target import Cookies, Target, find_target
from ._transport import Interrupted, Transport
from ._turns import Turns
from ._wire import Inference, Question, Surface, Website, check_size, check_text, read_messages
from ._workers import Workers

#: seconds that `Client.close` waits for chats to be deleted.
CLOSE_TIMEOUT = 10.0
#: seconds for the threads of streams that were stopped to be gone.
JOIN_LIMIT = 5.0
#: Answers after which nothing is queued: the message that a 503 leaves behind is never worked on.
_REFUSALS = (*range(200, 500), 503)
#: A proxy's words for not knowing what became of a request.
_LOST_ANSWERS = (502, 504)

Messages = str | Sequence[Mapping[str, str]]


#: Told of each exchange that is made in this context: who runs a call in another thread can stop it with that.
note_exchange: ContextVar[Callable[[Exchange], None] | None] = ContextVar("note_exchange", default=None)


@dataclass(frozen=True, slots=True)
class _Link:
    """What is needed to talk to one server."""

    transport: Transport
    cleanup: Cleanup


class Client:
    """
    A client of one Open-Assistant server. It may be used from many threads.

    ```python
    with Client("http://127.0.0.1:8000", token=token) as client:
        for text in client.stream("Why is the sky blue?"):
            print(text, end="", flush=True)
    ```

    `token=` is for the inference server, `cookies=` for the website; with neither, calls go to the website unsigned.
    Without any argument, `$OA_BASE_URL` and `$OA_TOKEN` or `$OA_COOKIE` say where to go, and without those a local
    server is started, which answers with a small demo model (`pip install 'oa-client[local]'`, `oa-client setup`).
    Credentials go to the origin they are given for and nowhere else: redirects are refused, `.netrc` is not read, and
    a server on this machine is never asked through a proxy of the environment.

    Args:
        base_url: where the server is, for example `https://oa.example.org`; a path in it is kept.
        cookies: of the website's session: a mapping, a cookie jar, a Cookie header, or the bare session token.
        token: of the inference server, without "Bearer".
        proxy: a URL, used for http and https; without it the environment's proxies are.
        headers: added to every request.
        timeout: seconds to connect and to wait for a byte, or a `Timeout`, which has more limits.
        max_retries: how often a call is repeated that cannot have had an effect (no connection, 429, 503) or has none
            (502 or 504 on a read), after a growing wait; 0 never. A reply that has begun is not asked for again.
        session: used as it is, neither changed nor closed (but for cookies that the server sets, which go to its
            jar). A call in it can then be interrupted only once its response has begun, and a forked child must be
            given a client with another.
        model: what answers when a call names none; `OA_SFT_Llama_30B_6` if not given, and with the local server its
            own.
        serialize: ask for an answer only when no other of this client is pending, since the server would cancel
            that one. Answers that are being written go on side by side. False is for servers that do not do that.

    Raises:
        ConfigurationError: if an argument or variable is wrong; nothing is sent.
    """

    _website: Surface = Website()

    def __init__(
        self,
        base_url: str | None = None,
        *,
        cookies: Cookies | None = None,
        token: str | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int = 2,
        session: requests.Session | None = None,
        model: str | None = None,
        serialize: bool = True,
    ) -> None:
        self._timeout = Timeout.from_value(timeout)
        _check_name("model", model)
        self._model = model
        self._retry = Retry(max_retries)
        self._target = find_target(base_url, cookies, token, os.environ, self._website)
        # Not a partial(), whose repr shows the headers.
        self._make_transport: Callable[[Target], Transport] = lambda target: Transport(
            target, headers=headers, proxy=proxy, session=session
        )
        self._serialize = serialize
        self._settings: dict[str, Any] = {
            "base_url": base_url,
            "timeout": self._timeout,
            "max_retries": max_retries,
            "model": model,
            "serialize": serialize,
        }
        secrets: dict[str, Any] = {"cookies": cookies, "token": token, "headers": headers, "session": session}
        if proxy is not None:
            (secrets if "@" in str(proxy) else self._settings)["proxy"] = proxy
        given = {name: value for name, value in secrets.items() if value is not None}
        # Behind a function, as nobody looks at what that knows.
        self._secrets: Callable[[], dict[str, Any]] = lambda: given
        #: What a pickle does not bring, and so is not there.
        self._missing: tuple[str, ...] = ()
        self._workers = Workers()
        self._closed = False
        self._models: list[ModelInfo] | None = None
        forget_in_children(self)
        self._forget()
        if self._target is not None:
            # Starting the local server takes a while, so that waits for the first call.
            self._connect()
            if self._target.is_exposed:
                warnings.warn(
                    f"the credentials go to {self._target.base_url} unencrypted, for all on the way to read: use https",
                    stacklevel=2,
                )

    def __repr__(self) -> str:
        target = self._target
        return f"<Client of {f'{target.base_url} ({target.surface.name})' if target else 'the local server'}>"

    def stream(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        sampling: Sampling | Mapping[str, Any] | str | None = None,
        system_prompt: str | None = None,
        user_profile: str | None = None,
        response_instructions: str | None = None,
        plugins: Sequence[Mapping[str, Any]] | None = None,
        keep: bool = False,
    ) -> Stream:
        """
        Ask, and return the reply while it is written.

        Makes a chat, posts one prompt, asks for an answer and opens its events; the chat is deleted at the end.
        Returns when the server has begun to answer the last of these calls, so an error of any of them is raised
        here, and the first token may yet be long in coming.

        Args:
            messages: the question, or a list of `{"role", "content"}` with the roles "system", "user" (or
                "prompter") and "assistant". The API takes no answers of others, so several are flattened into one
                prompt, a line `Role: content` for each. A system message at the start is the system prompt.
            model: a name of `list_models`.
            sampling: a `Sampling`, a mapping with its attributes, or the name of one of the model's presets, which
                costs one more call; values that are None are the server's choice.
            system_prompt: instructions that stand before the chat.
            user_profile: what the model shall know of the user.
            response_instructions: how it shall answer.
            plugins: as the server lists them; each a mapping with "url".
            keep: do not delete the chat.

        Raises:
            ConfigurationError: if an argument is wrong, which is found out before a chat is made; or if the client
                is closed, also meanwhile.
            APIError: if the server refuses; see its subclasses.
            TransportError: if the server cannot be reached.
            ProtocolError: if it does not speak the protocol.
        """
        question = self._read_question(
            messages, model, sampling, system_prompt, user_profile, response_instructions, plugins
        )
        return Stream(self._start(question, self._exchange(keep)))

    def ask(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        sampling: Sampling | Mapping[str, Any] | str | None = None,
        system_prompt: str | None = None,
        user_profile: str | None = None,
        response_instructions: str | None = None,
        plugins: Sequence[Mapping[str, Any]] | None = None,
        keep: bool = False,
    ) -> Message:
        """
        Ask, wait, and return the final message; `str()` of it is the answer.

        Arguments and errors are those of `stream` and of iterating it.
        """
        with self.stream(
            messages,
            model=model,
            sampling=sampling,
            system_prompt=system_prompt,
            user_profile=user_profile,
            response_instructions=response_instructions,
            plugins=plugins,
            keep=keep,
        ) as stream:
            return stream.finish()

    def list_models(self) -> list[ModelInfo]:
        """
        Return the models that the server lists, with their presets; a listed model may still have no worker.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        exchange = self._exchange(keep=True)
        with self._guard(exchange):
            return list(self._load_models(exchange))

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """
        Close open streams, delete what chats they leave, and close the connections.

        A chat whose answer is still being written is hidden, and deleted as soon as that is final: deleting it
        before makes the real server abort other users' answers. May be called again, and from any thread.

        Args:
            timeout: seconds to wait for such answers; None is as long as it takes, 10 minutes at most.

        Returns:
            the ids of the chats that could not be deleted in time.
        """
        if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout >= 0):
            raise ConfigurationError("timeout must be seconds, 0 or more, or None")
        timeout = DEADLINE if timeout is None else min(timeout, DEADLINE)
        deadline = monotonic() + timeout
        self._stop()
        with self._lock:
            # Whoever is between two calls leaves a chat yet. But nobody below a signal's handler can go on.
            own = threading.get_ident()
            self._lock.wait_for(lambda: all(thread == own for thread in self._beginning), timeout)
            link = self._link
        undeleted: tuple[str, ...] = ()
        if link is not None:
            undeleted = link.cleanup.close(max(0.0, deadline - monotonic()))
            link.transport.close()
        # They were stopped; one that makes a chat ends soon.
        self._workers.close(JOIN_LIMIT)
        return undeleted

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def settings(self, *, with_credentials: bool = False) -> dict[str, Any]:
        """
        Return the arguments that make a client like this: `Client(**client.settings(with_credentials=True))`.

        A pickled client is these without the credentials. It takes them from the environment again, or says with its
        first call what is missing.

        Args:
            with_credentials: also those that are secret or may hold secrets: cookies, token, headers, session, and a
                proxy with a password.
        """
        return {**self._settings, **self._secrets()} if with_credentials else dict(self._settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.settings(), tuple(self._secrets()) or self._missing)

    def _stop(self) -> None:
        """End all that is open, and refuse what is new. Waits for nothing."""
        with self._lock:
            self._closed = True
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.stop()
            exchange.clean_up()

    def _forget(self) -> None:
        """Begin with new connections; see `Forgetful`."""
        self._lock = threading.Condition()
        # For the start of the local server, which takes a while: an event loop may have to wait for the other.
        self._connecting = threading.RLock()
        self._link: _Link | None = None
        self._turns = Turns() if self._serialize else None
        self._exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
        # Of those between two calls, the threads.
        self._beginning: list[int] = []

    def _connect(self) -> _Link:
        """Return what is needed to talk to the server; without an address, start the local one first."""
        with self._connecting:
            if self._link is None:
                if self._target is None:
                    self._target = _local_target()
                transport = self._make_transport(self._target)
                self._link = _Link(transport, Cleanup(transport))
            return self._link

    def _exchange(self, keep: bool) -> Exchange:
        """Make an exchange that `close()` can end."""
        if self._missing:
            raise ConfigurationError(
                f"the client was pickled, and with it not its {' and '.join(self._missing)}: make one with "
                "Client(**settings), where settings is what client.settings(with_credentials=True) returned"
            )
        self._check_open()
        link = self._connect()
        with self._lock:
            self._check_open()
            exchange = Exchange(link.transport, self._timeout, self._retry, None if keep else link.cleanup)
            self._exchanges.add(exchange)
        note = note_exchange.get()
        if note is not None:
            note(exchange)
        start_all()
        return exchange

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("the client is closed: make a new one")

    @contextmanager
    def _guard(self, exchange: Exchange) -> Iterator[None]:
        """Clean up after calls that fail."""
        try:
            with self._lock:
                self._beginning.append(threading.get_ident())
            yield
        except BaseException as error:
            if isinstance(error, APIError) and error.status not in _LOST_ANSWERS:
                # What the server made of the request, it has made by now.
                exchange.was_asked = False
            if isinstance(error, TransportError) and error.is_unsent:
                exchange.was_asked = False
            # A clear refusal has queued nothing, so the chat can go at once.
            if exchange.message_id is None and isinstance(error, APIError) and error.status in _REFUSALS:
                exchange.was_refused = True
                exchange.delete_chat()
            exchange.leave_chat()
            exchange.clean_up()
            if isinstance(error, Interrupted):
                raise exchange.describe(ConfigurationError("the client was closed meanwhile")) from error
            if isinstance(error, OAError):
                exchange.describe(error)
            raise
        finally:
            with self._lock:
                self._beginning.remove(threading.get_ident())
                self._lock.notify_all()

    def _start(self, question: Question, exchange: Exchange) -> Reply:
        """Make a chat, ask, and open the events."""
        surface, turns = exchange.surface, self._turns
        with self._guard(exchange):
            check_size(surface, question)
            question = self._complete(question, exchange)
            chat_id = exchange.create_chat(self._workers)
            prompt_id = exchange.send(surface.post_prompt(chat_id, None, question.prompt))
            with turns.turn(exchange) if turns else nullcontext():
                exchange.clock.ask()
                exchange.was_asked = True
                message_id = exchange.message_id = self._post_assistant(exchange, chat_id, prompt_id, question)
                if turns:
                    turns.begin(chat_id, message_id)
            body = exchange.open(surface.open_events(chat_id, message_id))
            return Reply(exchange, body, chat_id, message_id, partial(turns.end, message_id) if turns else _nothing)

    def _post_assistant(self, exchange: Exchange, chat_id: str, prompt_id: str, question: Question) -> str:
        try:
            return exchange.send(exchange.surface.post_assistant(chat_id, prompt_id, question))
        except APIError as error:
            if error.status != 500:
                raise
            # The real server means 429 here, and fails over it. Its other reasons for a 500 are a parent that does
            # not exist, which was just made, and a database that is down, which fails the next call too.
            try:
                exchange.send(exchange.surface.get_chat(chat_id))
            except OAError:
                raise error from None
            raise RateLimitError(
                f"{error}: this is probably the rate limit (the real server allows 20 answers in about 11 minutes, "
                "and counts refused ones): wait some minutes",
                status=error.status,
                detail=error.detail,
                method=error.method,
                path=error.path,
                response=error.response,
            ) from error

    def _read_question(
        self,
        messages: Messages,
        model: str | None,
        sampling: Sampling | Mapping[str, Any] | str | None,
        system_prompt: str | None,
        user_profile: str | None,
        response_instructions: str | None,
        plugins: Sequence[Mapping[str, Any]] | None,
    ) -> Question:
        """Check what can be checked without the server."""
        prompt, system_prompt = read_messages(messages, system_prompt)
        _check_name("model", model)
        check_text("user_profile", user_profile)
        check_text("response_instructions", response_instructions)
        return Question(
            prompt,
            model or self._model,
            sampling if isinstance(sampling, str) else _read_sampling(sampling),
            _read_plugins(plugins),
            system_prompt=system_prompt,
            user_profile=user_profile,
            response_instructions=response_instructions,
        )

    def _complete(self, question: Question, exchange: Exchange) -> Question:
        """Fill in what only the server knows: its model, and the values of a preset."""
        model = question.model or exchange.transport.target.model
        sampling = question.sampling
        if isinstance(sampling, str):
            models = {info.name: info for info in self._models or self._load_models(exchange)}
            if model not in models:
                raise ConfigurationError(f"model {model!r} is not on the server{did_you_mean(model, list(models))}")
            presets = {preset.name: preset.sampling for preset in models[model].presets}
            if sampling not in presets:
                near = did_you_mean(sampling, list(presets))
                raise ConfigurationError(f"sampling: no preset {sampling!r} for {model}{near}")
            sampling = presets[sampling].to_json()
        return replace(question, model=model, sampling=sampling)

    def _load_models(self, exchange: Exchange) -> list[ModelInfo]:
        self._models = exchange.send(exchange.surface.list_models())
        return self._models


def _unpickle(cls: type[Client], settings: Mapping[str, Any], missing: tuple[str, ...]) -> Client:
    client = cls(**settings)
    if client._target is not None and client._target.credentials:
        # Those of the environment.
        missing = tuple(name for name in missing if name not in ("cookies", "token"))
    client._missing = missing
    return client


def _nothing() -> None:
    pass


def _read_sampling(sampling: Sampling | Mapping[str, Any] | None) -> dict[str, Any]:
    if sampling is None:
        return {}
    if isinstance(sampling, Mapping):
        sampling = Sampling.from_mapping(sampling)
    if not isinstance(sampling, Sampling):
        raise ConfigurationError(
            f"sampling must be a Sampling, a mapping or a preset's name, not {type(sampling).__name__}"
        )
    return sampling.to_json()


def _check_name(argument: str, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{argument} must be a name")
    check_text(argument, value)


def _read_plugins(plugins: Any) -> list[dict[str, Any]]:
    if plugins is None:
        return []
    if isinstance(plugins, (str, bytes, Mapping)) or not isinstance(plugins, Sequence):
        raise ConfigurationError("plugins must be a list of mappings with 'url'")
    for index, plugin in enumerate(plugins):
        if not isinstance(plugin, Mapping) or not isinstance(plugin.get("url"), str):
            raise ConfigurationError(f"plugins[{index}] must be a mapping with 'url'")
        try:
            json.dumps(dict(plugin), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"plugins[{index}] cannot be written as JSON: {error}") from error
    return [dict(plugin) for plugin in plugins]


def _local_target() -> Target:
    """Start the local server, or find the one that runs."""
    ways_out = (
        "; or name a server: pass base_url= (with token= or cookies=), or set $OA_BASE_URL (with $OA_TOKEN or "
        "$OA_COOKIE)"
    )
    from .local import LocalServerError, shared_server

    try:
        server = shared_server()
    except LocalServerError as error:
        raise ConfigurationError(
            f"no address is given, and the local server does not start: {error}{ways_out}"
        ) from error
    return Target(server.url, Inference(), {"Authorization": f"Bearer {server.token}"}, server.model)
