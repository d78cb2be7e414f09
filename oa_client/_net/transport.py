"""Sends calls to one server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from time import monotonic
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import requests
import requests.auth

from oa_client._accounts.cookies import add_to_header
from oa_client._accounts.credentials import Credentials
from oa_client._accounts.target import Target
from oa_client._net.body import Body, pieces
from oa_client._net.connection import Session, operation
from oa_client._net.failure import LINE_ERRORS, NOT_OURS, Failures
from oa_client._net.interrupt import Interrupt, Interrupted
from oa_client._net.secrets import Secrets
from oa_client._net.settings import check_headers, choose, secrets_in
from oa_client._values.errors import ConfigurationError, OAError, ProtocolError, without_frames, without_text
from oa_client._values.foreign import suppress
from oa_client._values.timeout import Timeout
from oa_client._values.user import User
from oa_client._wire.answers import NotSignedIn
from oa_client._wire.call import Call
from oa_client._wire.limits import ANSWER_LIMIT
from oa_client._wire.refusal import error_detail

T = TypeVar("T")

_HEADERS = {"Accept": "application/json"}
# Compressed events would arrive in batches.
_STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}


class _Signature(requests.auth.AuthBase):
    """Signs a request; its presence also keeps requests from reading `.netrc`."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name, value in self._credentials.headers.items():
            # The request also carries cookies that the server has set, such as a load balancer's.
            others = request.headers.get(name) if name == "Cookie" else None
            request.headers[name] = add_to_header(value, others) if others else value
        return request


class _Redirect(Exception):  # noqa: N818 - a way out
    """Carries a redirect past requests, which would otherwise read its whole body to prepare the next request."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


def _keep_redirect(response: requests.Response, **_: Any) -> None:
    if response.is_redirect:
        raise _Redirect(response)


class Transport:
    """
    Sends calls to one server.

    Args:
        target: the server and the credentials.
        headers: added to each request.
        proxy: a URL, for http and https.
        session: the user's own, neither changed nor closed. Without our adapter, a call can be woken only after the
            response has started, and no timeout covers a server that trickles headers.

    Attributes:
        target: as given.
        secrets: removes credentials from texts of the server.
    """

    def __init__(
        self,
        target: Target,
        *,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        session: requests.Session | None = None,
    ) -> None:
        self.target = target
        self._signature = _Signature(target.credentials)
        self._headers = check_headers(headers or {}, target)
        self._owned: Session | None = None
        if session is None:
            session = self._owned = Session()
        elif not isinstance(session, requests.Session):
            raise ConfigurationError(f"session must be a requests.Session, not {type(session).__name__}")
        self._session = session
        self._settings = choose(session, target, proxy)
        self.secrets = Secrets(secrets_in(self._headers, self._settings["proxies"]), target.credentials)
        self._failures = Failures(target, self.secrets, self._headers)
        self._defaults = requests.utils.default_headers()
        self._defaults["User-Agent"] = f"oa-client/{version('oa-client')}"
        # The URL in the form that requests makes (with IDNA, for example); made with the first call, because it may
        # fail.
        self._base_url = ""
        if self._owned is not None:
            self._owned.trust_env = False

    def close(self) -> None:
        """Close the connections."""
        if self._owned is not None:
            self._owned.close()

    def send(self, call: Call[T], timeout: Timeout, interrupt: Interrupt) -> T:
        """
        Send a call once, and return the result; for an event stream, its body as it comes.

        With a 204, the body is empty.

        Raises:
            APIError: if the server answers with an error.
            TransportError: if it does not answer.
            ProtocolError: if the answer is not what the protocol says.
            ConfigurationError: if the body is too long to send.
            Interrupted: if the interrupt is fired.
        """
        # The body of an event stream that goes on after this call, if any.
        outer = interrupt.socket
        events: Body | None = None
        try:
            response = self._request(call, timeout, interrupt)
            try:
                if call.is_stream and 200 <= response.status_code < 300:
                    events = self._open(response, call, interrupt)
                    return cast(T, events)
                return self._answer(response, self._read(response, call, interrupt), call)
            finally:
                if events is None:
                    response.close()
        except OAError as error:
            raise without_frames(error)  # noqa: B904 - the same error
        finally:
            if events is None:
                interrupt.attach(outer)
            interrupt.deadline = math.inf

    def _answer(self, response: requests.Response, body: bytes, call: Call[T]) -> T:
        if not 200 <= response.status_code < 300:
            raise self._failures.refusal(response, body, call)
        data = self._load_json(body, call, response)
        try:
            result = call.parse(data)
        except NotSignedIn:
            raise self._failures.refusal(response, body, call, nobody=True) from None
        except ProtocolError:
            if error_detail(data, ""):
                # An error, whatever its status.
                raise self._failures.refusal(response, body, call) from None
            raise
        self._has_worked(call)
        if call.is_renewal and isinstance(result, User):
            self.target.credentials.renew_session(response.cookies, result.expires_at)
        return result

    def _open(self, response: requests.Response, call: Call[Any], interrupt: Interrupt) -> Body:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise ProtocolError(self.secrets.hide(f"{call.path} answered with an HTML page, not with events{NOT_OURS}"))
        self._has_worked(call)
        return Body.of(response, interrupt, lambda error: self._failures.translate(error, call, False))

    def _has_worked(self, call: Call[Any]) -> None:
        if not call.is_public and self.target.credentials:
            self.target.credentials.has_worked = True

    def _request(self, call: Call[Any], timeout: Timeout, interrupt: Interrupt) -> requests.Response:
        if interrupt.fired:
            interrupted = Interrupted("the call was interrupted before it was sent")
            interrupted.is_unsent = True
            raise interrupted
        data = call.encode()
        limits = (timeout.connect, timeout.read)
        interrupt.deadline = math.inf
        try:
            prepared = self._prepare(call, _STREAM_HEADERS if call.is_stream else _HEADERS, data)
            prepared.hooks["response"].append(_keep_redirect)
            with operation(interrupt):
                response = self._session.send(
                    prepared, stream=True, allow_redirects=False, timeout=limits, **self._settings
                )
        except _Redirect as redirect:
            response = redirect.response
        except BaseException as error:
            interrupt.detach()
            if not isinstance(error, LINE_ERRORS):
                raise
            raise self._failures.translate(error, call, interrupt.fired)  # noqa: B904 - it has its cause
        if interrupt.socket is None:
            interrupt.attach(_ForeignSocket(response))
        if self._owned is None:
            # Our connections do this when they have sent the request.
            interrupt.deadline = math.inf if timeout.read is None else monotonic() + timeout.read
        return response

    def _prepare(self, call: Call[Any], headers: Mapping[str, str], data: bytes | None) -> requests.PreparedRequest:
        headers = {**headers, **self._headers}
        if data is not None:
            headers["Content-Type"] = "application/json"
        session = self._owned
        if session is None:
            # The session may hold anything that requests can merge.
            request = requests.Request(
                call.method,
                self.target.base_url + call.path,
                headers=headers,
                params=call.query,
                data=data,
                auth=self._signature,
            )
            return self._session.prepare_request(request)
        # Our session holds only what we know, and merging in requests takes a tenth of a call.
        prepared = requests.PreparedRequest()
        if not self._base_url:
            prepared.prepare_url(self.target.base_url, None)
            self._base_url = str(prepared.url).rstrip("/")
        query = f"?{urlencode(call.query)}" if call.query else ""
        prepared.method, prepared.url = call.method, f"{self._base_url}{call.path}{query}"
        prepared.headers = self._defaults.copy()
        prepared.headers.update(headers)
        if data is not None or call.method != "GET":
            prepared.headers["Content-Length"] = str(len(data or b""))
        prepared.body = data
        if session.cookies:
            prepared.prepare_cookies(session.cookies)
        self._signature(prepared)
        return prepared

    def _read(self, response: requests.Response, call: Call[Any], interrupt: Interrupt) -> bytes:
        body = bytearray()
        try:
            for piece in pieces(response.raw):
                body += piece
                if len(body) > ANSWER_LIMIT:
                    raise ProtocolError(self.secrets.hide(f"{call.path} answered with more than {ANSWER_LIMIT} bytes"))
                if monotonic() > interrupt.deadline:
                    # On the user's own session, nothing else checks this.
                    raise TimeoutError
        except LINE_ERRORS as error:
            raise self._failures.translate(error, call, interrupt.fired)  # noqa: B904 - it has its cause
        return bytes(body)

    def _load_json(self, body: bytes, call: Call[Any], response: requests.Response) -> Any:
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "no content type")
            words = f"{call.method} {call.path} answered {kind}, not JSON{NOT_OURS}"
            raise ProtocolError(self.secrets.hide(words)) from without_text(error)


class _ForeignSocket:
    """The reachable part of the socket below a response of the user's own session."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw

    def shutdown(self, _how: int) -> None:
        with suppress(AttributeError, RuntimeError, ValueError, OSError):
            self._raw.shutdown()

    def settimeout(self, seconds: float | None) -> None:
        sock = getattr(getattr(self._raw, "connection", None), "sock", None)
        if sock is not None:
            sock.settimeout(seconds)
