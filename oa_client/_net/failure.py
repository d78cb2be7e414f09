"""Turn errors of the libraries below into ours, and remove secrets from responses and requests."""

from __future__ import annotations

import email.utils
import http.client
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from oa_client._accounts.target import Target, is_secret
from oa_client._net.interrupt import Interrupted
from oa_client._net.secrets import MASK, Secrets
from oa_client._values.errors import (
    APIError,
    AuthError,
    BusyError,
    ConfigurationError,
    OAError,
    ProtocolError,
    RateLimitError,
    TransportError,
    TransportTimeout,
)
from oa_client._values.foreign import is_foreign
from oa_client._values.json_object import without_halves
from oa_client._wire.call import Call
from oa_client._wire.limits import DEPTH_LIMIT, DETAIL_LIMIT, LONGEST_RETRY_AFTER
from oa_client._wire.refusal import TOKEN_EXPIRED, advice, error_class, error_detail

NOT_OURS = ": is base_url right, and does something stand in front of the server?"

#: The errors that the libraries below raise for a bad connection or bad bytes. Those of requests and of TLS are kinds
#: of OSError. Any other error of a call is not ours, and passes.
LINE_ERRORS = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError)
_WRAPPERS = (requests.RequestException, urllib3.exceptions.HTTPError)
#: Raised before a connection is made; one of the two is a subclass of the other.
_UNCONNECTED = (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)
_TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
#: Raised before anything is sent, if the request cannot be sent.
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxySchemeUnsupported,
    UnicodeError,
)


class Failures:
    """
    Makes the errors of one transport.

    Args:
        target: the server.
        secrets: removes credentials from texts.
        headers: names of the headers that the user added, whose values are private.
    """

    def __init__(self, target: Target, secrets: Secrets, headers: Iterable[str]) -> None:
        self._target = target
        self._secrets = secrets
        self._headers = frozenset(name.lower() for name in headers) - {"user-agent"}

    def translate(self, error: Exception, call: Call[Any], fired: bool) -> OAError:
        """
        Return our error for one of `LINE_ERRORS`, and make that its cause unless it shows a secret.

        `fired` is whether the operation was interrupted.

        Raises:
            Exception: as `pass_foreign`.
        """
        pass_foreign(error)
        if isinstance(error, OAError):
            return error
        what = self._request_line(call)
        if isinstance(error, requests.RequestException):
            if error.request is not None:
                error.request = self._mask_request(error.request)  # type: ignore[arg-type]  # it is a prepared request
            error.response = None
        chain = list(_chain(error))
        _drop_frames(chain)
        reason = self._secrets.hide(_reason(chain[-1]))
        is_unsent = any(isinstance(item, _UNCONNECTED) for item in chain)
        # To urllib3, a refused connection is a kind of timeout.
        is_refused = any(isinstance(item, urllib3.exceptions.NewConnectionError) for item in chain)
        result: OAError
        if fired:
            result = Interrupted(f"{what} was interrupted")
        elif is_unsent and not is_refused:
            result = TransportTimeout(f"{what}: no connection in time", phase="connect")
        elif any(isinstance(item, _TIMEOUTS) for item in chain) and not is_refused:
            result = TransportTimeout(f"{what}: the server sent nothing in time", phase="read")
        elif isinstance(error, (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)):
            result = ProtocolError(f"{what}: the body is not in the encoding that its header names")
        elif isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
            result = TransportError(
                f"{what}: no secure connection: {reason}; for a certificate authority of your own set "
                "$REQUESTS_CA_BUNDLE to its file"
            )
        elif isinstance(error, (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)):
            result = TransportError(f"{what}: the proxy does not connect: {reason}")
        elif isinstance(error, _UNSENDABLE):
            result = ConfigurationError(f"{what}: the request cannot be made: {reason}")
        else:
            hint = ""
            if isinstance(chain[-1], ConnectionRefusedError):
                hint = "; is the server running? `oa-client serve` starts one on this machine"
            result = TransportError(f"{what}: no answer: {reason}{hint}")
        if isinstance(result, TransportError) and not fired:
            result.request = getattr(error, "request", None)
            result.is_unsent = is_unsent
        result.__cause__ = None if any(self._secrets.are_in(f"{item} {item!r}") for item in chain) else error
        return result

    def _request_line(self, call: Call[Any]) -> str:
        # The path contains ids from the server.
        return f"{call.method} {self._target.base_url}{self._secrets.hide(call.path)}"

    def _mask_request(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return a copy without credentials."""
        copy = requests.PreparedRequest()
        copy.method, copy.url, copy.body = request.method, request.url, request.body
        copy.headers = self._mask_headers(request.headers)
        copy.hooks = {}
        return copy

    def _mask_headers(self, headers: Mapping[str, str]) -> Any:
        hidden = (name for name in headers if is_secret(name) or name.lower() in self._headers)
        return requests.structures.CaseInsensitiveDict({**headers, **dict.fromkeys(hidden, MASK)})

    def _snapshot(self, response: requests.Response, body: bytes) -> requests.Response:
        """Return a copy without socket and credentials, whose body holds none either."""
        copy = requests.Response()
        copy.status_code, copy.url, copy.encoding = response.status_code, response.url, response.encoding
        hide = self._secrets.hide
        copy.reason = hide(response.reason or "")
        copy.headers = self._mask_headers({name: hide(value) for name, value in response.headers.items()})
        copy.elapsed = response.elapsed
        copy._content = body
        copy.request = self._mask_request(response.request)
        return copy

    def refusal(self, response: requests.Response, body: bytes, call: Call[Any], *, nobody: bool = False) -> APIError:
        """Return the error for an answer that is not a success; `nobody` means that it says nobody is signed in."""
        status = response.status_code
        said = body.decode(errors="replace")
        text = self._secrets.hide(said)
        if text != said:
            body = text.encode()
        try:
            # Twice, because escapes may have hidden a secret.
            data = json.loads(self._secrets.hide(json.dumps(json.loads(text), ensure_ascii=False)))
        except (ValueError, RecursionError):
            data = None
        if _is_deep(data):
            data = None
        is_page = text.lstrip()[:1] == "<"
        detail = "" if is_page or nobody else error_detail(data, text)
        words = [f"{self._request_line(call)} answered {status}"]
        if is_page:
            words.append(f"an HTML page{NOT_OURS}")
        elif detail:
            words.append(without_halves(str(detail)[:DETAIL_LIMIT]))
        if nobody:
            words.append("nobody is signed in")
        elif 300 <= status < 400:
            words.append(f"redirects are refused{self._secrets.hide(_destination(response))}")
        credentials = self._target.credentials
        has_worked = credentials.has_worked
        hint = (call.on_failure if status == 500 else "") or advice(
            403 if nobody else status, self._target.surface, bool(credentials), detail, has_worked
        )
        if hint and not is_page:
            words.append(hint)
        error = (AuthError if nobody else error_class(status))(
            ": ".join(words),
            status=status,
            detail=detail,
            method=call.method,
            path=self._secrets.hide(call.path),
            response=self._snapshot(response, body),
        )
        if isinstance(error, (RateLimitError, BusyError)):
            error.retry_after = _retry_after(response.headers.get("Retry-After"))
        if isinstance(error, AuthError):
            error.has_expired = has_worked or detail == TOKEN_EXPIRED
        return error


def _destination(response: requests.Response) -> str:
    try:
        location = urlsplit(response.headers.get("Location", ""))
        # A redirect without a scheme keeps that of the request.
        scheme = location.scheme or urlsplit(response.url).scheme
    except ValueError:
        return ""
    place = location.netloc.rpartition("@")[2]
    if not place:
        return ""
    return f", and this one leads to {scheme}://{place}: if you trust it, make it the base_url"


def _retry_after(value: str | None) -> float | None:
    """Read the header Retry-After: seconds, or a date. None if it is missing, or cannot be waited for."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            seconds = float(value)
        else:
            seconds = max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds <= LONGEST_RETRY_AFTER else None


def _is_deep(value: Any) -> bool:
    """Return whether parsed JSON is nested too deep to be passed on."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = list(itertools.chain.from_iterable(inner))
    return bool(level)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Unwrap an error of the libraries, down to the first one."""
    seen = {id(error)}
    yield error
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((item for item in error.args if isinstance(item, BaseException)), None)
        # Not the __context__: that leads to the errors that our caller is handling.
        inner = inner or error.__cause__
        if inner is None or id(inner) in seen:
            return
        seen.add(id(inner))
        error = inner
        yield error


def pass_foreign(error: BaseException) -> None:
    """
    Raise the error of a signal's handler again, even if a library has wrapped it.

    Raises:
        Exception: the handler's own, unchanged.
    """
    chain = list(_chain(error))
    for item, inner in zip(chain, [*chain[1:], None], strict=True):
        # urllib3 gives its wrapper the frames of the error inside.
        is_wrapping = inner is not None and isinstance(item, _WRAPPERS)
        if is_foreign(item) and not is_wrapping:
            context = item.__context__
            try:
                raise item
            finally:
                # Not the wrapper, which holds the request.
                item.__context__ = context


def _drop_frames(chain: Sequence[BaseException]) -> None:
    """Remove the frames from a chain of errors: tools that print variables would show the request's headers."""
    for error, inner in zip(chain, [*chain[1:], None], strict=True):
        error.__traceback__ = error.__context__ = None
        error.__cause__ = inner


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
