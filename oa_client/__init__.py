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

from ._async import AsyncClient
from ._async_chat import AsyncChat, AsyncChatList
from ._async_stream import AsyncStream
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


if not _TYPE_CHECKING:  # or a misspelt name would be a str to type checkers

    def __getattr__(name: str) -> str:
        # Looking the version up costs more than a fifth of the import, and few ask.
        if name == "__version__":
            from importlib.metadata import version

            return version("oa-client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# The classes show where users find them, not where they are kept.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
