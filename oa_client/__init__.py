"""
Python SDK for the Open-Assistant chat API.

```python
from oa_client import Client

with Client() as client:
    for text in client.stream("Why is the sky blue?"):
        print(text, end="", flush=True)
```
"""

import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING

__all__ = [
    "APIError",
    "AnswerOptions",
    "AsyncChat",
    "AsyncChatList",
    "AsyncClient",
    "AsyncStream",
    "AuthError",
    "BusyError",
    "CancelledReplyError",
    "Chat",
    "ChatInfo",
    "ChatList",
    "ChatPage",
    "Client",
    "ConfigurationError",
    "Event",
    "GenerationError",
    "IncompleteReplyError",
    "Message",
    "MessageEvent",
    "ModelInfo",
    "NotFoundError",
    "OAError",
    "PendingEvent",
    "Plugin",
    "PluginConfig",
    "PluginEvent",
    "Preset",
    "ProtocolError",
    "RateLimitError",
    "ReplyError",
    "RequestError",
    "Sampling",
    "Stream",
    "Timeout",
    "TokenEvent",
    "Transcript",
    "TransportError",
    "TransportTimeout",
    "TrustedClient",
    "UnknownEvent",
    "UnsupportedError",
    "User",
    "browser_cookies",
    "login",
    "logout",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())

__version__: str

if _TYPE_CHECKING:
    from oa_client._accounts.browser import browser_cookies
    from oa_client._accounts.credentials import TrustedClient
    from oa_client._async.chat import AsyncChat, AsyncChatList
    from oa_client._async.client import AsyncClient
    from oa_client._async.stream import AsyncStream
    from oa_client._blocking.chat import Chat
    from oa_client._blocking.client import Client
    from oa_client._blocking.login import login, logout
    from oa_client._blocking.stream import Stream
    from oa_client._chats.listing import ChatList
    from oa_client._transcripts.transcript import Transcript
    from oa_client._values.chat import ChatInfo, ChatPage
    from oa_client._values.errors import (
        APIError,
        AuthError,
        BusyError,
        CancelledReplyError,
        ConfigurationError,
        GenerationError,
        IncompleteReplyError,
        NotFoundError,
        OAError,
        ProtocolError,
        RateLimitError,
        ReplyError,
        RequestError,
        TransportError,
        TransportTimeout,
        UnsupportedError,
    )
    from oa_client._values.events import Event, MessageEvent, PendingEvent, PluginEvent, TokenEvent, UnknownEvent
    from oa_client._values.message import Message
    from oa_client._values.model import ModelInfo, Preset
    from oa_client._values.options import AnswerOptions
    from oa_client._values.plugin import Plugin, PluginConfig
    from oa_client._values.sampling import Sampling
    from oa_client._values.timeout import Timeout
    from oa_client._values.user import User
else:  # hidden, or a misspelt name would be an object to type checkers
    _PARTS = (
        *("_accounts.browser", "_accounts.credentials", "_blocking.chat", "_blocking.client", "_blocking.login"),
        *("_blocking.stream", "_chats.listing", "_transcripts.transcript", "_values.chat", "_values.errors"),
        *("_values.events", "_values.message", "_values.model", "_values.options", "_values.plugin"),
        *("_values.sampling", "_values.timeout", "_values.user"),
    )
    _ASYNC_PARTS = ("_async.chat", "_async.client", "_async.stream")

    def __getattr__(name: str) -> object:
        # The import takes a while, and the command must be able to catch Ctrl-C meanwhile, which it cannot as long as
        # Python imports this package for it. So everything comes when something is asked for, and what is
        # asynchronous apart, since many scripts do without.
        if name in __all__:
            from importlib import import_module

            for part in _ASYNC_PARTS if name.startswith("Async") else _PARTS:
                _show(vars(import_module(f"oa_client.{part}")))
            return globals()[name]
        if name == "__version__":
            from importlib.metadata import version

            return version("oa-client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _show(values: dict[str, object]) -> None:
    """Have classes show where users find them, not where they are kept."""
    for name in values.keys() & {*__all__}:
        value = globals()[name] = values[name]
        if isinstance(value, type):
            value.__module__ = __name__
