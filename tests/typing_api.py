"""
The public signatures as users write them; never run, read by mypy alone.

Under `--strict` an ignored error that is none is an error itself, so the lines with "type: ignore" say what is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import requests

from oa_client import (
    APIError,
    AuthError,
    CancelledReplyError,
    Client,
    Event,
    Message,
    MessageEvent,
    ModelInfo,
    OAError,
    PendingEvent,
    PluginEvent,
    Preset,
    RateLimitError,
    Sampling,
    Stream,
    Timeout,
    TokenEvent,
    TransportTimeout,
    TrustedClient,
    UnknownEvent,
    User,
    browser_cookies,
    login,
    logout,
)

if TYPE_CHECKING:
    # Its stub is there wherever mypy is; the module itself needs not be installed.
    from typing_extensions import assert_type


def make_clients(jar: CookieJar, session: requests.Session) -> None:
    """Make a client in every way that is promised."""
    Client()
    Client("http://127.0.0.1:8000")
    Client(base_url=None, cookies=None, token=None, proxy=None, headers=None, timeout=None, session=None, model=None)
    Client("http://h", token="t", timeout=5, model="m", serialize=False)
    Client("http://h", cookies="a=b", timeout=2.5)
    Client("http://h", cookies={"a": "b"}, headers={"X": "y"}, timeout=Timeout(total=60))
    Client("http://h", cookies=jar, proxy="http://127.0.0.1:3128", session=session)
    Client("http://h", cookies=Path("cookies.txt"))
    Client("http://h", cookies=browser_cookies("http://h"))
    Client("http://h", token=TrustedClient("key", client="bot", user_id="1", provider_account_id="1", username="Ada"))
    Client("http://h", "token")  # type: ignore[call-arg]  # credentials are named
    Client("http://h", token=b"t")  # type: ignore[arg-type]  # a token is text
    Client("http://h", cookies=["a=b"])  # type: ignore[arg-type]  # not a list
    Client("http://h", timeout="5")  # type: ignore[arg-type]  # not a string


def sign_in(client: Client, jar: CookieJar) -> None:
    """Sign in and out in every way that is promised."""
    assert_type(login("http://h", token="t"), User)
    login("http://h", cookies=jar)
    login("http://h", cookies=Path("cookies.json"))
    login("http://h", username="ada")
    assert_type(logout("http://h"), bool)
    assert_type(client.whoami(), User)
    assert_type(client.refresh(), User)
    client.delete_account(confirm=True)
    client.delete_account(True)  # type: ignore[call-arg]  # by its name
    assert_type(AuthError("words", status=403).has_expired, bool)


def ask(client: Client, sampling: Sampling) -> None:
    """Ask in every way that is promised."""
    assert_type(client.ask("Why?"), Message)
    assert_type(client.ask([{"role": "user", "content": "Why?"}]), Message)
    assert_type(client.ask(({"role": "user", "content": "Why?"},), model="m", keep=True), Message)
    client.ask("Why?", sampling=sampling)
    client.ask("Why?", sampling="k50")
    client.ask("Why?", sampling={"top_k": 50, "top_p": None})
    client.ask("Why?", system_prompt="s", user_profile="u", response_instructions="r", plugins=[{"url": "http://p"}])
    client.ask(None)  # type: ignore[arg-type]  # there is no question
    client.ask({"role": "user", "content": "Why?"})  # type: ignore[arg-type]  # one message is no list
    client.ask("Why?", "model")  # type: ignore[arg-type, call-arg]  # options are named
    client.ask("Why?", sampling=50)  # type: ignore[arg-type]  # not a number
    client.ask()  # type: ignore[call-arg]  # there is no question


def stream(client: Client) -> Iterator[str]:
    """Read a reply in every way that is promised."""
    with client.stream("Why?") as reply:
        assert_type(reply, Stream)
        for text in reply:
            assert_type(text, str)
            yield text
        assert_type(next(reply), str)
        assert_type(reply.finish(), Message)
        assert_type(reply.message, Message | None)
        assert_type(reply.text, str)
        assert_type(reply.chat_id, str)
        assert_type(reply.message_id, str)
        assert_type(reply.diverged, bool)
        reply.close()
        reply.text = ""  # type: ignore[misc]  # read only
    yield from client.stream("Why?", keep=True)


def events(reply: Stream) -> str:
    """Tell the kinds of events apart."""
    for event in reply.events():
        assert_type(event, Event)
        if isinstance(event, TokenEvent):
            return event.text
        if isinstance(event, PendingEvent):
            return f"{event.queue_position + event.queue_size}"
        if isinstance(event, PluginEvent):
            return event.thought + event.action_taken + event.action_input + event.action_response
        if isinstance(event, MessageEvent):
            return str(assert_type(event.message, Message))
        assert_type(event, UnknownEvent)
        return event.event_type
    return ""


def values(client: Client, message: Message) -> None:
    """Read the fields of values."""
    assert_type(client.list_models(), list[ModelInfo])
    assert_type(client.close(), tuple[str, ...])
    assert_type(client.close(timeout=1.5), tuple[str, ...])
    for model in client.list_models():
        assert_type(model.name, str)
        assert_type(model.presets, tuple[Preset, ...])
        assert_type([preset.sampling.to_json() for preset in model.presets], list[dict[str, Any]])
    assert_type(message.content, str | None)
    assert_type(message.created_at, datetime | None)
    assert_type(message.work_parameters, Mapping[str, Any] | None)
    assert_type(Message.from_json({}), Message)
    message.content = ""  # type: ignore[misc]  # frozen
    assert_type(Timeout().read, float | None)
    Sampling(top_k=1, temperature=1)
    Sampling(top_k=0.5)  # type: ignore[arg-type]  # a whole number
    Timeout(read=None, total=5)


def errors(client: Client) -> None:
    """Catch errors by their own names and by those of requests and Python."""
    try:
        client.ask("Why?")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIError as error:
        assert_type(error.status, int)
        assert_type(error.path, str)
        logging.info("%s %s", error.method, error.detail)
    except TransportTimeout as error:
        assert_type(error.phase, Literal["connect", "read", "first_token", "idle", "total"])
    except CancelledReplyError as error:
        assert_type(error.reason, Literal["cancelled", "timeout", "deleted"])
    except OAError as error:
        assert_type(error.chat_id, str | None)
        assert_type(error.message_id, str | None)
        assert_type(error.text, str)
    except (requests.HTTPError, requests.ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        logging.info("%s", error)
