"""The blocking client."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import requests

from oa_client._accounts.cookies import Cookies
from oa_client._accounts.credentials import TrustedClient
from oa_client._accounts.store import Store
from oa_client._accounts.target import find_target
from oa_client._blocking.chat import Chat, ignore
from oa_client._blocking.stream import Stream
from oa_client._calls.cleanup import DEADLINE
from oa_client._calls.engine import Engine
from oa_client._calls.retry import check_max_retries
from oa_client._calls.turns import wait_through
from oa_client._chats.listing import ChatList, Walk
from oa_client._net.transport import Transport
from oa_client._values.errors import ConfigurationError, NotFoundError
from oa_client._values.hidden import Hidden
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.options import AnswerOptions, merge_options, name_options
from oa_client._values.plugin import Plugin
from oa_client._values.question import Messages, check_name, check_text, read_question
from oa_client._values.timeout import Timeout
from oa_client._values.user import User
from oa_client._wire.surface import Surface
from oa_client._wire.website import Website

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack

#: seconds that `Client.close` waits for chats to be deleted.
CLOSE_TIMEOUT = 10.0


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
    Where an address comes without credentials, those are used that `login()` has kept for it.
    Credentials go to the origin they are given for and nowhere else: redirects are refused, `.netrc` is not read, and
    a server on this machine is never asked through a proxy of the environment.

    Args:
        base_url: where the server is, for example `https://oa.example.org`; a path in it is kept.
        cookies: of the website's session: a mapping, a cookie jar, a Cookie header, the bare session token, or the
            `pathlib.Path` of a cookies.txt or of a JSON export; of a jar or a file, what a browser would send there.
        token: of the inference server, an access token without "Bearer" or a `TrustedClient`.
        proxy: a URL, used for http and https; without it the environment's proxies are.
        headers: added to every request.
        timeout: seconds to connect and to wait for a byte, or a `Timeout`, which has more limits.
        max_retries: how often a call is repeated that cannot have had an effect (no connection, 429, 503) or has none
            (502 or 504 on a read), after a growing wait; 0 never. A reply that has begun is not asked for again.
        session: used as it is, neither changed nor closed (but for cookies that the server sets, which go to its jar).
            With your own session, a call can be interrupted only after the response has started, and no timeout covers
            a server that trickles headers.
        model: what answers when a call names none; `OA_SFT_Llama_30B_6` if not given, and with the local server its
            own.
        serialize: ask for an answer only when no other of this client is pending, since the server would cancel
            that one; it keeps others for no longer than its own `first_token`. Answers that are being written go on
            side by side. False is for servers that do not do that.

    Raises:
        ConfigurationError: if an argument or variable is wrong; nothing is sent.
    """

    _website: Surface = Website()
    _transport: type[Transport] = Transport

    def __init__(
        self,
        base_url: str | None = None,
        *,
        cookies: Cookies | None = None,
        token: str | TrustedClient | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int = 2,
        session: requests.Session | None = None,
        model: str | None = None,
        serialize: bool = True,
    ) -> None:
        limits = Timeout.from_value(timeout)
        check_name("model", model)
        self._options: AnswerOptions = {"model": model}
        check_max_retries(max_retries)
        target = find_target(base_url, cookies, token, os.environ, self._website, Store(os.environ))
        self._settings: dict[str, Any] = {
            "base_url": base_url,
            "timeout": limits,
            "max_retries": max_retries,
            "model": model,
            "serialize": serialize,
        }
        secrets: dict[str, Any] = {"cookies": cookies, "token": token, "headers": headers, "session": session}
        if proxy is not None:
            (secrets if "@" in str(proxy) else self._settings)["proxy"] = proxy
        self._secrets = Hidden({name: value for name, value in secrets.items() if value is not None})
        connection = Hidden({"headers": headers, "proxy": proxy, "session": session})
        self._engine = Engine(target, self._transport, connection, limits, max_retries, serialize)
        if target is not None:
            target.warn_if_exposed(2, headers or ())

    def __repr__(self) -> str:
        return f"<Client of {self._place}>"

    @property
    def _place(self) -> str:
        if not hasattr(self, "_engine"):
            return "no server: it was not made"
        target = self._engine.target
        return f"{target.base_url} ({target.surface.name})" if target else "the local server"

    @name_options
    def stream(
        self,
        messages: Messages,
        *,
        keep: bool = False,
        **options: Unpack[AnswerOptions],
    ) -> Stream:
        """
        Ask, and return the reply while it is written.

        Makes a chat, posts one prompt, asks for an answer and opens its events; the chat is deleted at the end.
        Returns when the server has begun to answer the last of these calls, so an error of any of them is raised
        here, and the first token may yet be long in coming. If the connection breaks in the last of them, the answer
        has been asked for all the same: it is then taken from the server's record, while the stream is read.

        Args:
            messages: the question, or a list of `{"role", "content"}` with the roles "system", "user" (or
                "prompter") and "assistant". The API takes no answers of others, so several are flattened into one
                prompt, a line `Role: content` for each. A system message at the start is the system prompt. A content
                may be a list of text parts, `{"type": "text", "text": …}`, which are joined.
            keep: do not delete the chat.
            **options: `model`, `sampling`, `system_prompt`, `user_profile`, `response_instructions` and `plugins`;
                `AnswerOptions` says what each may be, and what it costs.

        Raises:
            ConfigurationError: if an argument is wrong, which is found out before a chat is made; or if the client
                is closed, also meanwhile.
            APIError: if the server refuses; see its subclasses.
            TransportError: if the server cannot be reached.
            ProtocolError: if it does not speak the protocol.
        """
        return Stream(wait_through(self._engine.ask(read_question(messages, options, self._options), keep, ignore)))

    @name_options
    def ask(
        self,
        messages: Messages,
        *,
        keep: bool = False,
        **options: Unpack[AnswerOptions],
    ) -> Message:
        """
        Ask, wait, and return the final message; `str()` of it is the answer.

        Arguments and errors are those of `stream` and of iterating it.
        """
        with self.stream(messages, keep=keep, **options) as stream:
            return stream.finish()

    @name_options
    def create_chat(self, **options: Unpack[AnswerOptions]) -> Chat:
        """
        Make a chat that the server keeps.

        Args:
            **options: for each turn that does not name its own; see `AnswerOptions`.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        chat = Chat._create(self._engine, merge_options(options, self._options))
        chat._keep()
        return chat

    @name_options
    def open_chat(self, chat_id: str, **options: Unpack[AnswerOptions]) -> Chat:
        """
        Return a chat that the server has, to go on with it.

        Args:
            chat_id: of `Chat.id` or `ChatInfo.id`.
            **options: for each turn that does not name its own; see `AnswerOptions`.

        Raises:
            NotFoundError: if there is no such chat, or it is another user's.
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        return Chat._open(self._engine, chat_id, merge_options(options, self._options))

    def list_chats(
        self, *, after: str | None = None, before: str | None = None, include_hidden: bool = False
    ) -> ChatList:
        """
        Return the user's chats, the newest first, to be iterated: they are asked for page by page.

        Args:
            after: a cursor (`ChatPage.next`): go on with the older chats behind it.
            before: a cursor (`ChatPage.prev`): go the other way, to newer chats, the oldest of those first.
            include_hidden: list hidden chats too.

        Raises:
            ConfigurationError: if both cursors are given. Iterating raises what other calls raise.
        """
        return ChatList(Walk(self._engine, after, before, include_hidden))

    def hide_all_chats(self) -> None:
        """
        Hide each chat, by a call for each: the server's own way of doing it at once does not work.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`; some are hidden then.
        """
        for chat in list(self.list_chats()):
            # Another client may have deleted it meanwhile.
            with suppress(NotFoundError):
                Chat(self._engine, chat.id).hide()

    def delete_all_chats(self) -> tuple[str, ...]:
        """
        Delete each chat, the hidden ones too, as `Chat.delete` does.

        Returns:
            the ids of those that are hidden, and deleted only later or by a later call: an answer of theirs is still
            queued or being written, or may be.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`; some are deleted then.
        """
        later = []
        for chat in list(self.list_chats(include_hidden=True)):
            with suppress(NotFoundError):
                if not Chat(self._engine, chat.id).delete():
                    later.append(chat.id)
        return tuple(later)

    def list_models(self) -> list[ModelInfo]:
        """
        Return the models that the server lists, with their presets; a listed model may still have no worker.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        with self._engine.exchanging() as exchange:
            return list(self._engine.catalog.load_models(exchange))

    def list_plugins(self) -> list[Plugin]:
        """
        Return the plugins that the server offers.

        Raises:
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        with self._engine.exchanging() as exchange:
            return list(self._engine.catalog.load_plugins(exchange))

    def get_plugin(self, url: str) -> Plugin:
        """
        Have the server look up a plugin.

        Args:
            url: of its configuration, for example `https://example.org/.well-known/ai-plugin.json`.

        Raises:
            APIError: if the server cannot get it, or there is none at that URL.
            ConfigurationError, TransportError, ProtocolError: as `stream`.
        """
        check_text("url", url)
        if not url:
            raise ConfigurationError("url is empty: name that of the plugin's configuration")
        return self._engine.send(lambda surface: surface.get_plugin(url))

    def whoami(self) -> User:
        """
        Return who is signed in: the inference server tells only the id, the website name, role and the like.

        Raises:
            AuthError: if nobody is; `has_expired` tells whether somebody was.
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        return self._engine.send(lambda surface: surface.whoami())

    def refresh(self) -> User:
        """
        Renew the session at a website, and return who is signed in.

        All later calls of this client have the new session cookie, and if `login()` has kept the old one, the new one
        is kept in its place.

        Raises:
            UnsupportedError: if it is an inference server; `login()` is the way there.
            AuthError: if nobody is signed in, or no longer (`has_expired`), so that there is nothing to renew.
            ConfigurationError, APIError, TransportError, ProtocolError: as `stream`.
        """
        return self._engine.send(lambda surface: surface.refresh())

    def delete_account(self, *, confirm: bool = False) -> None:
        """
        Delete the account of who is signed in, which cannot be undone.

        The name goes; the chats stay on the server, so delete those first that are not to. On the inference server,
        the token works on, and the next login brings the same chats back.

        Args:
            confirm: whether you mean it.

        Raises:
            ConfigurationError: without `confirm=True`; then nothing is sent.
            APIError, TransportError, ProtocolError: as `stream`.
        """
        if confirm is not True:
            raise ConfigurationError(
                f"delete_account() would delete your account at {self._place}, which cannot be undone, and leave its "
                "chats on the server (delete those first that are not to stay): pass confirm=True if you mean it"
            )
        self._engine.send(lambda surface: surface.delete_account())

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """
        Close open streams, delete what chats they leave, and close the connections.

        A chat whose answer is still being written is hidden, and deleted as soon as that is final: deleting it
        before makes the real server abort other users' answers. With the local server that this process has started it
        is deleted at once, and the model stops. May be called again, and from any thread.

        Args:
            timeout: seconds to wait for such answers; None is as long as it takes, 10 minutes at most.

        Returns:
            the ids of the chats that could not be deleted in time.
        """
        return self._engine.close(closing_time(timeout))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def settings(self, *, with_credentials: bool = False) -> dict[str, Any]:
        """
        Return the arguments that make a client like this: `Client(**client.settings(with_credentials=True))`.

        What `copy` makes of a client is another one with these, credentials included. A pickled client is these without
        the credentials. It takes them from the environment again, or what `login()` has kept, or says with its first
        call what is missing.

        Args:
            with_credentials: also those that are secret or may hold secrets: cookies, token, headers, session, and a
                proxy with a password.
        """
        settings = dict(self._settings)
        if with_credentials:
            settings.update(self._secrets.value)
            target = self._engine.target
            if "cookies" in settings and target is not None and target.credentials.is_renewed:
                settings["cookies"] = target.credentials.login.cookies
        return settings

    def __copy__(self) -> Client:
        made = type(self)(**self.settings(with_credentials=True))
        made._engine.missing = self._engine.missing
        return made

    def __deepcopy__(self, _: object) -> Client:
        # What the arguments hold is not the client's to copy: a session, say.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.settings(), tuple(self._secrets.value) or self._engine.missing)


def closing_time(timeout: float | None) -> float:
    """
    Check the argument of `Client.close`, and return it in seconds.

    Raises:
        ConfigurationError: if it is none.
    """
    if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout >= 0):
        raise ConfigurationError("timeout must be seconds, 0 or more, or None")
    return DEADLINE if timeout is None else timeout


def _unpickle(cls: type[Client], settings: Mapping[str, Any], missing: tuple[str, ...]) -> Client:
    client = cls(**settings)
    target = client._engine.target
    if target is not None and target.credentials:
        # Those of the environment, or kept.
        missing = tuple(name for name in missing if name not in ("cookies", "token"))
    client._engine.missing = missing
    return client
