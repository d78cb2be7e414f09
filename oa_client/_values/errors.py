"""
The errors, as one tree.

```
OAError                      every error of this package
├─ ConfigurationError        also ValueError: arguments, environment, a missing extra, a closed client
├─ UnsupportedError          also NotImplementedError: this surface does not offer it
├─ TransportError            the server could not be reached; also requests.ConnectionError
│  └─ TransportTimeout       a limit of `Timeout` passed; also requests.Timeout and TimeoutError
├─ APIError                  the server answered with an error; also requests.HTTPError and RuntimeError
│  ├─ AuthError              401, 403, nobody signed in
│  ├─ NotFoundError          404
│  ├─ RequestError           400, 413, 422
│  ├─ RateLimitError         429, and the 500 that stands for it on the real server
│  └─ BusyError              503
└─ ReplyError                the reply began and failed
   ├─ GenerationError        an error event, or the message was aborted; also RuntimeError
   ├─ CancelledReplyError    the message was cancelled, timed out or deleted
   ├─ ProtocolError          not an event stream, not JSON, or not an event
   └─ IncompleteReplyError   the connection broke and the rest could not be recovered
```

If a library below raised an exception whose text shows no credential, that is the `__cause__`. It has no traceback,
because tools that print the variables of frames would show credentials.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar

import requests

Phase = Literal["connect", "read", "first_token", "idle", "total"]
CancelReason = Literal["cancelled", "timeout", "deleted"]

_E = TypeVar("_E", bound="OAError")


class OAError(Exception):
    """
    The root of every error that this package raises.

    Errors raised by a stream fill in the three fields; other errors leave the defaults.

    Attributes:
        chat_id: the chat that the reply belongs to, or None if unknown.
        message_id: the assistant message being streamed, or None if unknown.
        text: the text that the stream had yielded before the error.
    """

    chat_id: str | None = None
    message_id: str | None = None
    text: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self._message = message

    def __str__(self) -> str:
        # Not args[0]: the provider puts the server's bare words there.
        return self._message

    def __reduce__(self) -> tuple[Any, ...]:
        # Requests and responses hold sockets and credentials, so they stay behind.
        state = {name: value for name, value in self.__dict__.items() if name not in ("request", "response")}
        return _restore, (type(self), self.args, state)


def _restore(cls: type[OAError], args: tuple[Any, ...], state: dict[str, Any]) -> OAError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    if isinstance(error, requests.RequestException):
        error.request = error.response = None
    return error


def without_frames(error: _E) -> _E:
    """
    Return an error of ours without its frames, to be raised again.

    Variables in the frames hold data from the server, which may repeat a credential.
    """
    if error.__suppress_context__:
        error.__context__ = None
    return error.with_traceback(None)


def without_text(error: Exception) -> Exception:
    """Return an error of json, to be a cause, without its frames and the text that json could not read."""
    if isinstance(error, json.JSONDecodeError):
        error.doc = ""
    elif isinstance(error, UnicodeDecodeError):
        error = UnicodeDecodeError(error.encoding, b"", error.start, error.end, error.reason)
    error.__context__ = None
    return error.with_traceback(None)


class ConfigurationError(OAError, ValueError):
    """An argument, an environment variable or the installation is wrong, or the client is closed."""


class UnsupportedError(OAError, NotImplementedError):
    """The surface in use (website or inference server) does not offer this."""


class TransportError(OAError, requests.ConnectionError):
    """
    The server could not be reached, or the connection broke before it answered.

    Attributes:
        request: the `requests.PreparedRequest` with its credentials masked, or None.
        response: always None.
        is_unsent: whether the request was not sent, so that you can safely repeat it.
    """

    is_unsent = False


class TransportTimeout(TransportError, requests.Timeout, TimeoutError):  # noqa: N818 - as its bases
    """
    A limit of `Timeout` passed.

    Inside `asyncio.timeout()`, catch it before `TimeoutError`: it is one too.

    Attributes:
        phase: the limit, named as in `Timeout`: "connect", "read", "first_token", "idle" or "total".
    """

    phase: Phase

    def __init__(self, message: str, *, phase: Phase) -> None:
        super().__init__(message)
        self.phase = phase


class APIError(OAError, requests.HTTPError, RuntimeError):
    """
    The server answered with an error.

    Attributes:
        status: the HTTP status.
        detail: the server's own explanation, with credentials masked: a string, or a list of `{"loc", "msg", "type"}`
            if the server rejected fields of the request; "" if it gave none.
        method: the HTTP method of the request.
        path: the path of the request, without query.
        response: a copy of the `requests.Response`, or None after unpickling.
        request: the `requests.PreparedRequest` with its credentials masked, or None after unpickling.
    """

    status: int
    detail: Any
    method: str
    path: str

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: Any = "",
        method: str = "",
        path: str = "",
        response: requests.Response | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.method = method
        self.path = path
        self.response = response
        self.request = None if response is None else response.request


def reworded(error: APIError, kind: type[APIError], message: str) -> APIError:
    """Return an error of another class, with another message, for the same response."""
    return kind(
        message,
        status=error.status,
        detail=error.detail,
        method=error.method,
        path=error.path,
        response=error.response,
    )


class AuthError(APIError):
    """
    401 or 403, or the website says that nobody is signed in: expired, never valid, or banned.

    The website does not tell which.

    Attributes:
        has_expired: True if the credentials worked before: the server said `Token expired`, or accepted them in an
            earlier call of the same client or in `login()`. Logging in again should then help, unless the website has
            since banned the user, which looks the same. False otherwise.
    """

    has_expired: bool = False


class NotFoundError(APIError):
    """404: there is no such chat, or it is another user's."""


class RequestError(APIError):
    """400, 413 or 422: the server refuses the request."""


class RateLimitError(APIError):
    """
    Too many requests: 429, or a 500 to an assistant message, with which the real server most likely means 429.

    Attributes:
        retry_after: seconds to wait, or None if the server did not say.
    """

    retry_after: float | None = None


class BusyError(APIError):
    """
    503: the server's queue is full.

    Attributes:
        retry_after: seconds to wait, or None if the server did not say.
    """

    retry_after: float | None = None


class ReplyError(OAError):
    """The reply began and failed; `text` holds the text that had arrived."""


class GenerationError(ReplyError, RuntimeError):
    """The server reported an error in place of the message, or the message was aborted."""


class CancelledReplyError(ReplyError):
    """
    The message will never be complete.

    Attributes:
        reason: "cancelled" (another request of the same account took its place), "timeout" (it waited too long on the
            server) or "deleted" (its chat is gone).
    """

    reason: CancelReason

    def __init__(self, message: str, *, reason: CancelReason) -> None:
        super().__init__(message)
        self.reason = reason


class ProtocolError(ReplyError):
    """The server's response breaks the protocol: it is not an event stream, not JSON, or not an event."""


class IncompleteReplyError(ReplyError):
    """The reply ended before its final message, and the client could not recover the rest."""
