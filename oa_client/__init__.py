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

from ._browser import browser_cookies
from ._chat import Chat
from ._client import Client
from ._credentials import TrustedClient
from ._errors import (
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
from ._events import Event, MessageEvent, PendingEvent, PluginEvent, TokenEvent, UnknownEvent
from ._listing import ChatList
from ._login import login, logout
from ._models import ChatInfo, ChatPage, Message, ModelInfo, Plugin, PluginConfig, Preset, Sampling, Timeout, User
from ._question import AnswerOptions
from ._stream import Stream
from ._transcript import Transcript

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
    from ._async import AsyncClient
    from ._async_chat import AsyncChat, AsyncChatList
    from ._async_stream import AsyncStream
else:  # hidden, or a misspelt name would be an object to type checkers

    def __getattr__(name: str) -> object:
        # Each is a good part of the import, and many scripts do without: so they come when they are asked for.
        if name in __all__:
            from ._async import AsyncClient
            from ._async_chat import AsyncChat, AsyncChatList
            from ._async_stream import AsyncStream

            _show(AsyncChat, AsyncChatList, AsyncClient, AsyncStream)
            return globals()[name]
        if name == "__version__":
            from importlib.metadata import version

            return version("oa-client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _show(*values: object) -> None:
    """Have classes show where users find them, not where they are kept."""
    for value in values:
        if isinstance(value, type):
            value.__module__ = __name__
            globals()[value.__name__] = value


_show(*[globals().get(name) for name in __all__])
