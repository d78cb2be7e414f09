"""The tree of errors, and what becomes of the exceptions of the libraries below."""

from __future__ import annotations

import contextlib
import http.client
import json
import pickle
import re
import socket
import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import sseclient
import urllib3.exceptions

import oa_client
from oa_client import (
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
from oa_client._accounts.credentials import Credentials, Login
from oa_client._accounts.target import Target
from oa_client._net.interrupt import Interrupted
from oa_client._net.transport import Transport
from oa_client._values import errors as _errors
from oa_client._wire.inference import Inference

SECRET = "marker-of-a-token"
CALL = Inference().create_chat()
TREE: dict[type[BaseException], tuple[type[BaseException], ...]] = {
    OAError: (Exception,),
    ConfigurationError: (OAError, ValueError),
    UnsupportedError: (OAError, NotImplementedError),
    TransportError: (OAError, requests.ConnectionError),
    TransportTimeout: (TransportError, requests.Timeout, TimeoutError),
    APIError: (OAError, requests.HTTPError, RuntimeError),
    AuthError: (APIError,),
    NotFoundError: (APIError,),
    RequestError: (APIError,),
    RateLimitError: (APIError,),
    BusyError: (APIError,),
    ReplyError: (OAError,),
    GenerationError: (ReplyError, RuntimeError),
    CancelledReplyError: (ReplyError,),
    ProtocolError: (ReplyError,),
    IncompleteReplyError: (ReplyError,),
}
CLASSES = [pytest.param(cls, id=cls.__name__) for cls in TREE]


class UsersError(ConfigurationError):
    """An error whose constructor takes other arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def make(cls: Any) -> OAError:
    """Make an error of ours with all of its fields set."""
    fields: dict[str, Any] = {}
    if issubclass(cls, TransportTimeout):
        fields = {"phase": "idle"}
    elif issubclass(cls, APIError):
        response = requests.Response()
        response.request = requests.Request("POST", "http://127.0.0.1/chats").prepare()
        detail = [{"loc": ["body", 0], "msg": "wrong", "type": "value_error"}]
        fields = {"status": 418, "detail": detail, "method": "POST", "path": "/chats", "response": response}
    elif issubclass(cls, CancelledReplyError):
        fields = {"reason": "deleted"}
    error: OAError = cls("what happened", **fields)
    error.chat_id, error.message_id, error.text = "c1", "m1", "text \ud83d so far"
    if isinstance(error, (RateLimitError, BusyError)):
        error.retry_after = 2.5
    return error


def public_fields(error: OAError) -> dict[str, Any]:
    """Return what an error holds, but for the request and the response."""
    return {name: value for name, value in vars(error).items() if name not in ("request", "response")}


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A transport that has not sent anything."""
    made = Transport(Target("http://127.0.0.1:9", Inference(), Credentials(Login(token=SECRET))))
    yield made
    made.close()


def test_the_tree() -> None:
    """Every public error has the bases that are promised, in their order, and there are no others."""
    public = [getattr(oa_client, name) for name in oa_client.__all__]
    errors = [cls for cls in public if isinstance(cls, type) and issubclass(cls, BaseException)]

    assert TREE == {cls: cls.__bases__ for cls in errors}


def test_the_tree_is_drawn_as_it_is() -> None:
    """The drawing at the top of the module names every class once, below its base."""
    lines = re.findall(r"^([│ ├└─]*)(\w+) {2,}", _errors.__doc__ or "", re.MULTILINE)
    path: list[str] = []
    drawn: dict[str, str | None] = {}
    for indent, name in lines:
        path = path[: len(indent) // 3]
        drawn[name] = path[-1] if path else None
        path.append(name)

    assert {cls.__name__: bases[0].__name__ if cls is not OAError else None for cls, bases in TREE.items()} == drawn


@pytest.mark.parametrize("cls", CLASSES)
def test_the_message(cls: type[OAError]) -> None:
    """An error says its message, which is its only argument."""
    error = make(cls)

    assert "what happened" == str(error)
    assert ("what happened",) == error.args


@pytest.mark.parametrize("cls", CLASSES)
def test_other_arguments(cls: type[OAError]) -> None:
    """The message stays when the provider puts the server's bare words into the arguments."""
    error = make(cls)
    error.args = ("bare words",)

    assert "what happened" == str(error)
    assert "bare words" == error.args[0]


@pytest.mark.parametrize("cls", CLASSES)
def test_the_fields_of_every_error(cls: Any) -> None:
    """Chat, message and text have their defaults on an error that no stream raised."""
    error = pickle.loads(pickle.dumps(make(cls)))  # noqa: S301 - our own bytes
    for name in ("chat_id", "message_id", "text"):
        delattr(error, name)

    assert (None, None, "") == (error.chat_id, error.message_id, error.text)


@pytest.mark.parametrize("cls", [item for item in CLASSES if issubclass(item.values[0], requests.RequestException)])  # type: ignore[arg-type]  # they are classes
def test_request_and_response_exist(cls: Any) -> None:
    """The attributes of the errors of requests are there even if nothing is known."""
    fields: dict[str, Any] = {"status": 500} if issubclass(cls, APIError) else {}
    if issubclass(cls, TransportTimeout):
        fields["phase"] = "read"
    error = cls("words", **fields)

    assert (None, None) == (error.request, error.response)


def test_api_error_holds_its_response() -> None:
    """An APIError has the response that it was made with, and the request of that."""
    error = make(APIError)

    assert isinstance(error, APIError)
    assert error.response is not None
    assert error.response.request is error.request


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", CLASSES)
def test_pickling(cls: type[OAError], protocol: int) -> None:
    """Pickling restores class, text, arguments and public fields, and drops what holds sockets or secrets."""
    error = make(cls)
    error.__cause__ = OSError("below")

    copy = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes

    assert type(error) is type(copy)
    assert str(error) == str(copy)
    assert error.args == copy.args
    assert public_fields(error) == public_fields(copy)
    assert (None, None) == (getattr(copy, "request", None), getattr(copy, "response", None))
    assert copy.__cause__ is None


def test_pickle_holds_no_response() -> None:
    """What an answer held, and the headers of its request, are not in the pickle."""
    response = requests.Response()
    response._content = SECRET.encode()
    response.request = requests.Request("POST", "http://h", headers={"Authorization": SECRET}).prepare()
    error = APIError("words", status=500, response=response)

    assert SECRET.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_pickling_with_other_arguments(cls: type[OAError]) -> None:
    """Arguments of any number survive pickling, also where a base reads two of them as an error number."""
    error = make(cls)
    error.args = (2, "bare words", "third")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(error) is type(copy)
    assert (2, "bare words", "third") == copy.args
    assert "what happened" == str(copy)


def test_pickling_an_error_of_a_user() -> None:
    """A subclass whose constructor takes other arguments can be pickled."""
    copy = pickle.loads(pickle.dumps(UsersError(1, 2)))  # noqa: S301 - our own bytes

    assert UsersError is type(copy)
    assert "1 and 2" == str(copy)


FOREIGN_MODULES = (requests.exceptions, urllib3.exceptions, http.client, ssl, json, json.decoder, sseclient)
FOREIGN = sorted(
    {
        cls
        for module in FOREIGN_MODULES
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Exception)
    },
    key=lambda cls: (cls.__module__, cls.__qualname__),
)
ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    ("words",),
    ("words", "document", 0),
    (None, "words"),
    (None, "/", "words"),
    (3, 5),
    (SimpleNamespace(tell=lambda: 3, length_remaining=5), b"xyz"),
    ("host", None, socket.gaierror("words")),
)
# A class that a library adds is expected to be what its name says.
NAMED_TIMEOUT = re.compile("Timeout(?!State)|TimedOut")
NAMED_CONFIGURATION = re.compile(
    r"(requests\.\w+\.(Invalid(URL|Schema|Header|ProxyURL)|MissingSchema)"
    r"|urllib3\.\w+\.(Location\w+|URLScheme\w+|ProxyScheme\w+))$"
)
NAMED_ENCODING = re.compile("^(requests|urllib3).*(?<!JSON)Decod")


def make_foreign(cls: type[Exception]) -> Exception:
    """Make an instance with the first arguments that the class takes, or without any."""
    for arguments in ARGUMENTS:
        with contextlib.suppress(Exception):
            error = cls(*arguments)
            str(error)
            return error
    return cls.__new__(cls)


def expected_class(cls: type[Exception]) -> type[OAError]:
    """Return what a foreign class should become, by its name."""
    name = f"{cls.__module__}.{cls.__name__}"
    if NAMED_TIMEOUT.search(cls.__name__):
        return TransportTimeout
    if cls is requests.exceptions.InvalidHeader:
        # Of an answer: those of a request are looked at before.
        return TransportError
    if NAMED_CONFIGURATION.search(name):
        return ConfigurationError
    if NAMED_ENCODING.search(name):
        return ProtocolError
    return TransportError


def foreign_params() -> Iterator[Any]:
    """Yield every foreign class."""
    for cls in FOREIGN:
        yield pytest.param(cls, id=f"{cls.__module__}.{cls.__name__}")


@pytest.mark.parametrize("cls", list(foreign_params()))
def test_every_foreign_exception_becomes_ours(cls: type[Exception], transport: Transport) -> None:
    """Each exception class of the libraries below becomes the one of ours that its name calls for."""
    error = make_foreign(cls)

    ours = transport._failures.translate(error, CALL, False)

    assert expected_class(cls) is type(ours)


@pytest.mark.parametrize("module", [pytest.param(item, id=item.__name__) for item in FOREIGN_MODULES[:5]])
def test_the_walk_sees_every_module(module: Any) -> None:
    """Each library has exceptions in the walk, so that it cannot pass for want of any."""
    found = [cls for cls in FOREIGN if cls in vars(module).values()]

    assert found if module is not json else json.JSONDecodeError in FOREIGN


def wrap(reason: Exception) -> Exception:
    """Wrap an error of urllib3 as its pool and requests do."""
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", reason))  # type: ignore[arg-type]  # no pool is at hand


def caused(error: Exception, cause: Exception) -> Exception:
    """Return the error with a cause."""
    error.__cause__ = cause
    return error


REFUSED = caused(
    urllib3.exceptions.NewConnectionError(None, "Failed to connect"),  # type: ignore[arg-type]  # no pool is at hand
    ConnectionRefusedError(111, "Connection refused"),
)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        pytest.param(wrap(REFUSED), TransportError, "oa-client serve", id="nobody listens"),
        pytest.param(
            wrap(urllib3.exceptions.NameResolutionError("host", None, socket.gaierror(-2, "Name unknown"))),  # type: ignore[arg-type]  # no connection is at hand
            TransportError,
            "no answer",
            id="unknown host",
        ),
        pytest.param(
            requests.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError("slow")),
            TransportTimeout,
            "no connection in time",
            id="no connection in time",
        ),
        pytest.param(
            requests.ConnectionError(
                caused(urllib3.exceptions.ReadTimeoutError(None, "/", "Read timed out."), TimeoutError("timed out"))  # type: ignore[arg-type]  # no pool is at hand
            ),
            TransportTimeout,
            "nothing in time",
            id="silence in the body",
        ),
        pytest.param(
            requests.ConnectionError(urllib3.exceptions.ReadTimeoutError(None, "/", "Read timed out.")),  # type: ignore[arg-type]  # no pool is at hand
            TransportTimeout,
            "nothing in time",
            id="silence in the body without a cause",
        ),
        pytest.param(
            requests.exceptions.SSLError(urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))),
            TransportError,
            "REQUESTS_CA_BUNDLE",
            id="unknown certificate authority",
        ),
        pytest.param(requests.exceptions.ProxyError("words"), TransportError, "the proxy", id="dead proxy"),
        pytest.param(
            requests.exceptions.ChunkedEncodingError(
                urllib3.exceptions.ProtocolError("broken", http.client.IncompleteRead(b"ab", 5))
            ),
            TransportError,
            "no answer",
            id="body cut off",
        ),
    ],
)
def test_errors_as_requests_wraps_them(
    error: Exception, expected: type[OAError], words: str, transport: Transport
) -> None:
    """An error keeps its meaning through the wrappings of urllib3 and requests, and says what to do."""
    ours = transport._failures.translate(error, CALL, False)

    assert expected is type(ours)
    assert words in str(ours)
    assert f"POST http://127.0.0.1:9{CALL.path}" in str(ours)


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        pytest.param(requests.ConnectTimeout("words"), "connect", id="requests connect"),
        pytest.param(requests.ReadTimeout("words"), "read", id="requests read"),
        pytest.param(urllib3.exceptions.ConnectTimeoutError("words"), "connect", id="urllib3 connect"),
        pytest.param(urllib3.exceptions.TimeoutError("words"), "read", id="urllib3 read"),
        pytest.param(TimeoutError("words"), "read", id="python"),
    ],
)
def test_phase_of_a_timeout(error: Exception, phase: str, transport: Transport) -> None:
    """A timeout of the network says whether connecting or reading took too long."""
    ours = transport._failures.translate(error, CALL, False)

    assert isinstance(ours, TransportTimeout)
    assert phase == ours.phase


@pytest.mark.parametrize(
    ("error", "is_unsent"),
    [
        pytest.param(wrap(REFUSED), True, id="refused"),
        pytest.param(requests.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError("slow")), True, id="slow"),
        pytest.param(requests.ReadTimeout("words"), False, id="silence"),
        pytest.param(
            requests.ConnectionError(urllib3.exceptions.ProtocolError("aborted", http.client.RemoteDisconnected("x"))),
            False,
            id="reset",
        ),
    ],
)
def test_what_was_not_sent(error: Exception, is_unsent: bool, transport: Transport) -> None:
    """Only an error of connecting says that the request was not sent."""
    ours = transport._failures.translate(error, CALL, False)

    assert isinstance(ours, TransportError)
    assert is_unsent is ours.is_unsent


def translate_inside_handler(outer: Exception, root: Exception, transport: Transport) -> OAError:
    """Translate an error as requests wraps it, whose root came up while the user handled an error of before."""
    try:
        raise outer
    except Exception:
        try:
            raise root
        except Exception as error:
            wrapped = requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", error))
            return transport._failures.translate(wrapped, CALL, False)


def test_users_timeout_is_not_ours(transport: Transport) -> None:
    """A broken connection is no timeout for being met while the user handles a timeout."""
    ours = translate_inside_handler(TimeoutError("of before"), ConnectionResetError(104, "reset"), transport)

    assert TransportError is type(ours)
    assert "of before" not in str(ours)


def test_users_connect_timeout_does_not_make_a_call_unsent(transport: Transport) -> None:
    """A connection that breaks under a sent request is not called unsent while the user handles a failed connect."""
    before = urllib3.exceptions.ConnectTimeoutError("of before")

    ours = translate_inside_handler(before, http.client.RemoteDisconnected("no answer"), transport)

    assert isinstance(ours, TransportError)
    assert not ours.is_unsent


def test_ours_stays_ours(transport: Transport) -> None:
    """An error of ours is not wrapped again."""
    error = ProtocolError("words")

    assert error is transport._failures.translate(error, CALL, False)


def test_interrupted_operation(transport: Transport) -> None:
    """Whatever an interrupted operation fails with, it says that it was interrupted."""
    assert Interrupted is type(transport._failures.translate(OSError("words"), CALL, True))


def test_masked_request(transport: Transport) -> None:
    """The request on an error and on its original shows neither token nor cookie."""
    headers = {"Authorization": f"Bearer {SECRET}", "cookie": SECRET, "Proxy-Authorization": SECRET, "X-Other": "seen"}
    request = requests.Request("POST", "http://127.0.0.1:9/chats", headers=headers).prepare()
    error = requests.ConnectionError("words", request=request)

    ours = transport._failures.translate(error, CALL, False)

    assert isinstance(ours, TransportError)
    assert ours.request is not None
    assert SECRET not in repr(dict(ours.request.headers))
    assert error.request is not None
    assert SECRET not in repr(dict(error.request.headers))
    assert "seen" == ours.request.headers["X-Other"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(requests.exceptions.InvalidHeader(f"bad header value: 'Bearer {SECRET}'"), id="header"),
        pytest.param(urllib3.exceptions.LocationParseError(f"http://user:{SECRET}@host"), id="address"),
        pytest.param(OSError(f"words {SECRET}"), id="any"),
    ],
)
def test_no_secret_in_a_message(error: Exception, transport: Transport) -> None:
    """A message does not repeat a credential that the library's own words hold."""
    ours = transport._failures.translate(error, CALL, False)

    assert SECRET not in str(ours)
