"""The blocking client: the calls it makes, what it refuses, and what it leaves."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import responses
from responses import matchers
from responses.registries import OrderedRegistry

from oa_client import (
    APIError,
    AsyncClient,
    AuthError,
    BusyError,
    Client,
    ConfigurationError,
    NotFoundError,
    OAError,
    ProtocolError,
    RateLimitError,
    RequestError,
    Sampling,
    Timeout,
    TransportTimeout,
)
from oa_client._calls.turns import Turns
from tests.scripted import (
    Connection,
    EventWriter,
    Handler,
    OpenAssistantScript,
    Request,
    ScriptedServer,
    Surface,
    empty_response,
    in_turn,
    json_response,
    message_json,
    reply,
    response,
    stall,
)

URL = "https://oa.test"
EVENTS = (
    b'data: {"event_type": "token", "text": "Hello"}\r\n\r\n'
    b'data: {"event_type": "message", "message": {"id": "m1", "content": "Hello"}}\r\n\r\n'
)


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script that does not wait to try again."""
    with Client(script.url, **script.credentials, max_retries=0) as made:
        yield made


@pytest.fixture
def first_outlasts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have a pending message keep others for longer than they wait.

    All of a client have the same limits, so it is otherwise the first of two whose limit passes first.
    """
    begin = Turns.begin
    monkeypatch.setattr(Turns, "begin", lambda turns, chat_id, message_id, _: begin(turns, chat_id, message_id, None))


def refusal(script: OpenAssistantScript, status: int, detail: Any) -> Handler:
    """Answer with an error in the words of the surface."""
    name = "message" if script.surface == "website" else "detail"
    return lambda connection, _: script.send_json(connection, {name: detail}, status)


def test_website_calls_and_bodies() -> None:
    """On the website the five calls have these methods, queries and bodies, in this order."""
    with responses.RequestsMock(registry=OrderedRegistry) as mock:
        mock.post(f"{URL}/api/chat", json={"id": "c1"}, match=[matchers.header_matcher({"Cookie": "a=b"})])
        mock.post(
            f"{URL}/api/chat/prompter_message",
            json={"id": "p1"},
            match=[matchers.json_params_matcher({"chat_id": "c1", "parent_id": None, "content": "Hi"})],
        )
        mock.post(
            f"{URL}/api/chat/assistant_message",
            json={"id": "m1"},
            match=[
                matchers.json_params_matcher(
                    {
                        "chat_id": "c1",
                        "parent_id": "p1",
                        "model_config_name": "OA_SFT_Llama_30B_6",
                        "sampling_parameters": {},
                        "plugins": [],
                    }
                )
            ],
        )
        mock.get(
            f"{URL}/api/chat/events",
            body=EVENTS,
            match=[matchers.query_param_matcher({"chat_id": "c1", "message_id": "m1"})],
        )
        mock.delete(f"{URL}/api/chat", match=[matchers.query_param_matcher({"chat_id": "c1"})])

        with Client(URL, cookies={"a": "b"}) as client:
            assert list(client.stream("Hi")) == ["Hello"]


def test_inference_calls_and_bodies() -> None:
    """On the inference server the five calls have these paths and bodies, every option in its field."""
    with responses.RequestsMock(registry=OrderedRegistry) as mock:
        bearer = matchers.header_matcher({"Authorization": "Bearer secret"})
        mock.post(f"{URL}/chats", json={"id": "c1"}, match=[bearer, matchers.json_params_matcher({})])
        mock.post(
            f"{URL}/chats/c1/prompter_message",
            json={"id": "p1"},
            match=[
                bearer,
                matchers.json_params_matcher({"parent_id": None, "content": "User: a\nAssistant: b\nAssistant:"}),
            ],
        )
        mock.post(
            f"{URL}/chats/c1/assistant_message",
            json={"id": "m1"},
            match=[
                bearer,
                matchers.json_params_matcher(
                    {
                        "parent_id": "p1",
                        "model_config_name": "llama",
                        "sampling_parameters": {"temperature": 0.5, "max_new_tokens": 7},
                        "plugins": [{"url": "http://plugin"}],
                        "system_prompt": "be brief",
                        "user_profile": "a child",
                        "user_response_instructions": "in rhyme",
                    }
                ),
            ],
        )
        mock.get(f"{URL}/chats/c1/messages/m1/events", body=EVENTS, match=[bearer])
        mock.delete(f"{URL}/chats/c1", match=[bearer])

        with Client(URL, token="secret", model="llama") as client:
            answer = client.ask(
                [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ],
                sampling={"temperature": 0.5, "max_new_tokens": 7, "top_k": None},
                plugins=[{"url": "http://plugin"}],
                user_profile="a child",
                response_instructions="in rhyme",
            )

        assert str(answer) == "Hello"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"messages": ""}, "messages is empty", id="no text"),
        pytest.param({"messages": []}, "messages is empty", id="no messages"),
        pytest.param({"messages": 5}, "messages must be", id="not messages"),
        pytest.param({"messages": [{"role": "user"}]}, r"messages\[0\]", id="no content"),
        pytest.param({"messages": [{"role": "robot", "content": "x"}]}, "'robot'", id="unknown role"),
        pytest.param({"messages": "a\0b"}, "NUL", id="NUL"),
        pytest.param({"messages": "a", "model": ""}, "model", id="no model"),
        pytest.param({"messages": "a", "model": 5}, "model", id="not a model"),
        pytest.param({"messages": "a", "sampling": 5}, "sampling", id="not sampling"),
        pytest.param({"messages": "a", "sampling": {"max_new_tokens": 0}}, "max_new_tokens", id="no new tokens"),
        pytest.param({"messages": "a", "sampling": {"temprature": 1}}, "temperature", id="unknown sampling value"),
        pytest.param({"messages": "a", "system_prompt": 5}, "system_prompt", id="not a system prompt"),
        pytest.param({"messages": "a", "user_profile": 5}, "user_profile", id="not a profile"),
        pytest.param({"messages": "a", "response_instructions": 5}, "response_instructions", id="not instructions"),
        pytest.param({"messages": "a", "plugins": "x"}, "plugins", id="not plugins"),
        pytest.param({"messages": "a", "plugins": [{"name": "x"}]}, r"plugins\[0\]", id="a plugin without url"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(
    script: OpenAssistantScript, client: Client, arguments: dict[str, Any], words: str
) -> None:
    """Each wrong argument raises an error that names it, and the server hears nothing."""
    with pytest.raises(ConfigurationError, match=words):
        client.stream(**arguments)

    assert script.calls == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"headers": ["X"]}, "headers must be a mapping", id="headers"),
        pytest.param({"session": "s"}, "session must be a requests.Session", id="session"),
        pytest.param({"timeout": (5, 5)}, "timeout must be seconds", id="timeout"),
        pytest.param({"max_retries": -1}, "max_retries", id="max_retries"),
        pytest.param({"model": ""}, "model", id="model"),
    ],
)
def test_bad_arguments_of_the_client_are_refused(arguments: dict[str, Any], words: str) -> None:
    """Each wrong argument of the constructor raises an error that names it."""
    with pytest.raises(ConfigurationError, match=words):
        Client(URL, **arguments)


@pytest.mark.parametrize(
    ("status", "detail", "error"),
    [
        pytest.param(400, "Message not found", RequestError, id="400"),
        pytest.param(403, "Not authenticated", AuthError, id="403"),
        pytest.param(404, "Chat not found", NotFoundError, id="404"),
        pytest.param(422, [{"loc": ["body"], "msg": "field required", "type": "missing"}], RequestError, id="422 list"),
        pytest.param(418, "teapot", APIError, id="another"),
    ],
)
def test_refused_answer_raises_by_status(
    script: OpenAssistantScript, client: Client, status: int, detail: Any, error: type[APIError]
) -> None:
    """Each status has its class, with the server's words unchanged, and the chat is deleted."""
    script.on_assistant = refusal(script, status, detail)

    with pytest.raises(error) as caught:
        client.stream("Hi")

    assert error is type(caught.value)
    assert (status, detail, "POST", "c1") == (
        caught.value.status,
        caught.value.detail,
        caught.value.method,
        caught.value.chat_id,
    )
    assert caught.value.path.endswith("/assistant_message")
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.response is not None
    assert status == caught.value.response.status_code
    assert script.deleted_chats == ["c1"]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"Retry-After": "soon"}, id="neither seconds nor a date"),
        pytest.param({"Retry-After": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, id="a date beyond all dates"),
        pytest.param({}, id="none"),
    ],
)
def test_unreadable_retry_after_is_none(header: Mapping[str, str]) -> None:
    """A Retry-After that cannot be read is as none."""
    with (
        ScriptedServer(reply(json_response({"detail": "x"}, 429, header))) as server,
        Client(server.url, token="t", max_retries=0) as client,
        pytest.raises(RateLimitError) as caught,
    ):
        client.stream("Hi")

    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [500, 502])
def test_unclear_failures_of_a_post_are_not_tried_again(script: OpenAssistantScript, status: int) -> None:
    """A POST that may have had an effect is sent once."""
    script.on_prompter = lambda connection, _: script.send_text(connection, "", status)

    with Client(script.url, **script.credentials) as client, pytest.raises(APIError):
        client.ask("Hi")

    assert script.calls.count("prompter") == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(json_response([]), "no id", id="a list"),
        pytest.param(json_response({"id": 5}), "no id", id="a number"),
        pytest.param(json_response({"id": ".."}), "has an id that is", id="dots"),
        pytest.param(json_response({"id": "a\nb"}), "has an id that is", id="a line end"),
        pytest.param(json_response({"id": "x" * 1000}), "has an id that is", id="too long"),
        pytest.param(response(200, b"[" * 100_000), "not JSON", id="deep JSON"),
        pytest.param(empty_response(), "no id", id="nothing"),
    ],
)
def test_answer_that_is_not_the_protocols_is_refused(answer: bytes, words: str) -> None:
    """What no Open-Assistant server says is a ProtocolError."""
    with (
        ScriptedServer(reply(answer)) as server,
        Client(server.url, token="t") as client,
        pytest.raises(ProtocolError, match=words),
    ):
        client.ask("Hi")


def test_one_pending_answer_at_a_time(surface: Surface) -> None:
    """The second answer is asked for when the first has begun, though nobody reads the first stream."""
    asked = threading.Event()
    with OpenAssistantScript(surface) as script, Client(script.url, **script.credentials) as client:

        def events(stream: EventWriter) -> None:
            if stream.message_id == "m1":
                stream.pending()
                stream.wait(asked)
            stream.token("Hello")
            stream.message(content="Hello")

        def tell(connection: Any, request: Any) -> None:
            # The first message is seen pending once, then it is in progress.
            default(connection, request)
            script.change_message("m1", state="in_progress")

        default, script.on_message = script.on_message, tell
        script.events = events
        first = client.stream("one")
        second = client.stream("two")
        asked.set()

        assert (list(second), list(first)) == (["Hello"], ["Hello"])
        assert script.calls.index("message") < len(script.calls) - 1 - script.calls[::-1].index("assistant")


@pytest.mark.usefixtures("first_outlasts_all")
def test_trouble_of_another_reply_is_not_ours(script: OpenAssistantScript) -> None:
    """If the message that is waited for cannot be read, the wait goes on to its limit."""
    script.events = lambda stream: stream.connection.wait_until_left()
    good, script.on_message = script.on_message, reply(response(200, b"<html>", {"connection": "close"}))
    with Client(script.url, **script.credentials, timeout=Timeout(first_token=2)) as client:
        first = client.stream("one")
        with pytest.raises(TransportTimeout):
            client.stream("two")
        first.close()
        script.on_message, script.message_state = good, "complete"

    assert script.visible_chats == []


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
def test_bad_timeout_of_close_is_refused(client: Client, timeout: Any) -> None:
    """close() takes seconds, or None."""
    with pytest.raises(ConfigurationError, match="timeout"):
        client.close(timeout)

    assert client.close(None) == ()


def test_answer_that_was_asked_for_is_looked_for(script: OpenAssistantScript) -> None:
    """A chat whose answer was asked for in vain is not deleted before the answer can be there."""
    released = threading.Event()
    stored, create_answer = threading.Event(), script.on_assistant

    def ask(connection: Any, request: Any) -> None:
        connection.wait(released)
        with contextlib.suppress(Exception):
            create_answer(connection, request)
        stored.set()

    def look(connection: Any, request: Any) -> None:
        get_chat(connection, request)
        released.set()

    script.on_assistant = ask
    get_chat, script.on_chat = script.on_chat, look
    with Client(script.url, **script.credentials, timeout=Timeout(read=1), max_retries=0) as client:
        with pytest.raises(TransportTimeout):
            client.ask("Hi")
        assert stored.wait(20)
        assert not script.chats["c1"].deleted
        script.change_message("m1", state="complete")

    assert script.deleted_chats == ["c1"]


def test_answer_that_did_not_come_is_not_waited_for_longer(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as an answer that was asked for in vain cannot come any more, the chat is deleted."""
    monkeypatch.setattr("oa_client._calls.cleanup.UNSURE", 0.5)
    monkeypatch.setattr("oa_client._calls.cleanup.FIRST_PAUSE", 60.0)
    monkeypatch.setattr("oa_client._calls.cleanup.LAST_PAUSE", 60.0)
    script.on_assistant = stall
    client = Client(script.url, **script.credentials, timeout=Timeout(read=1), max_retries=0)
    with pytest.raises(TransportTimeout):
        client.ask("Hi")

    assert client.close(timeout=20) == ()
    assert script.deleted_chats == ["c1"]


def test_message_that_stays_pending_does_not_keep_others_for_ever(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the first-token limit of a pending answer has passed, the next one is asked for."""
    now = [0.0]
    monkeypatch.setattr("oa_client._calls.turns.monotonic", lambda: now[0])
    default = script.events
    script.events = lambda stream: stream.connection.wait_until_left() if stream.message_id == "m1" else default(stream)
    with Client(script.url, **script.credentials, timeout=Timeout(first_token=300)) as client:
        first = client.stream("one")
        now[0] = 301.0
        second = client.ask("two")
        first.close()
        script.message_state = "complete"

    assert str(second) == "Hello world"
    assert "message" not in script.calls[: script.calls.index("assistant", script.calls.index("assistant") + 1)]


def test_closing_does_not_look_ever_more_rarely(script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody waits for close(), an answer that is final soon after the last look is soon seen."""
    monkeypatch.setattr("oa_client._calls.cleanup.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("oa_client._calls.cleanup.LAST_PAUSE", 60.0)
    monkeypatch.setattr("oa_client._calls.cleanup.CLOSING_PAUSE", 0.01)
    get_message, looks = script.on_message, itertools.count(1)

    def look(connection: Any, request: Any) -> None:
        # With pauses that double, the thirtieth look would come after months.
        script.message_state = "complete" if next(looks) >= 30 else "in_progress"
        get_message(connection, request)

    script.message_state, script.on_message = "in_progress", look
    client = Client(script.url, **script.credentials)
    client.stream("Hi").close()

    assert client.close(20) == ()
    assert script.deleted_chats == ["c1"]


@pytest.mark.usefixtures("first_outlasts_all")
def test_wait_for_the_turn_is_bounded(script: OpenAssistantScript) -> None:
    """If the first answer stays pending, the second runs into its first-token limit, and leaves no chat."""
    script.events = lambda stream: stream.connection.wait_until_left()
    with Client(script.url, **script.credentials, timeout=Timeout(first_token=2)) as client:
        first = client.stream("one")
        with pytest.raises(TransportTimeout) as caught:
            client.stream("two")
        first.close()
        script.message_state = "complete"

    assert caught.value.phase == "first_token"
    assert script.calls.count("assistant") == 1
    assert script.visible_chats == []


def test_refused_question_is_not_waited_for(script: OpenAssistantScript, client: Client) -> None:
    """If the chat of a refused question cannot be deleted at once, the stub in it is not taken for a pending answer."""

    def refuse(connection: Connection, request: Request) -> None:
        with script.update():
            script.chats["c1"].messages["stub"] = message_json("stub", "c1", "p1")
        refusal(script, 503, "busy")(connection, request)

    script.on_assistant = refuse
    script.on_delete = in_turn(reply(response(500, b"Internal Server Error")), script.on_delete)
    with pytest.raises(BusyError):
        client.ask("Hi")

    assert client.close() == ()
    assert script.deleted_chats == ["c1"]
    assert "update" not in script.calls


def test_closing_while_a_chat_is_made_ends_with_it(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """close() from another thread waits for the chat that is being made, and not for the time that it might take."""
    monkeypatch.setattr("oa_client._calls.cleanup.GRACE", 1000.0)
    is_closing = threading.Event()

    def create(connection: Connection, request: Request) -> None:
        connection.wait(is_closing)
        made(connection, request)

    made, script.on_create = script.on_create, create
    client = Client(script.url, **script.credentials)
    errors: list[OAError] = []

    def ask() -> None:
        try:
            client.ask("Hi")
        except OAError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    script.wait_until(lambda: script.calls == ["create"])
    client._engine.stop()
    is_closing.set()
    undeleted = client.close(20)
    asking.join(20)

    assert [type(error) for error in errors] == [ConfigurationError]
    assert undeleted == ()
    assert script.deleted_chats == ["c1"]


def test_no_thread_for_the_clean_up(
    script: OpenAssistantScript, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the clean-up cannot have its thread, leaving a stream is no error, and its chat goes when it can."""
    script.events = lambda stream: stream.connection.wait_until_left()
    script.message_state = "complete"
    stream = client.stream("Hi")

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        stream.close()

    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


@pytest.mark.skipif(sys.platform == "win32", reason="a thread cannot be sent a signal")
def test_closing_in_a_signals_handler(script: OpenAssistantScript, client: Client) -> None:
    """A signal's handler can close the client while the code below it is between two calls."""
    is_closed = threading.Event()

    def close(*_: object) -> None:
        # Without an end, were it to wait for the thread that it interrupts.
        client.close(None)
        is_closed.set()

    def answer(connection: Connection, request: Request) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        connection.wait(is_closed)
        connection.wait_until_left()

    script.on_prompter = answer
    before = signal.signal(signal.SIGUSR1, close)
    try:
        with pytest.raises(ConfigurationError, match="closed"):
            client.ask("Hi")
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("first_outlasts_all")
def test_turn_is_not_taken_while_the_server_is_in_trouble(surface: Surface) -> None:
    """An answer that cannot be looked at may still be pending, so no other is asked for: that would cancel it."""

    def events(stream: EventWriter) -> None:
        stream.pending()
        stream.connection.wait_until_left()

    failure = reply(response(500, b"Internal Server Error"))
    with OpenAssistantScript(surface) as script:
        script.events = events
        script.on_message = script.on_chats = script.on_chat = failure
        if surface == "website":
            script.on_chat = reply(empty_response(404))
        limits = Timeout(first_token=0.3)
        with Client(script.url, **script.credentials, timeout=limits, max_retries=0) as client:
            with client.stream("Hi"), pytest.raises(TransportTimeout):
                client.ask("And now?")
            asked = script.calls.count("assistant")
            client.close(timeout=0)

    assert asked == 1


def test_without_serialize_nobody_waits(script: OpenAssistantScript) -> None:
    """serialize=False asks for the second answer while the first is pending."""
    script.events = lambda stream: stream.connection.wait_until_left()
    with Client(script.url, **script.credentials, serialize=False) as client:
        client.stream("one")
        client.stream("two")
        script.message_state = "complete"

    assert script.calls.count("assistant") == 2


def test_preset_is_looked_up(surface: Surface) -> None:
    """A preset's name costs one call, once, and its values are sent; an unknown one is refused with the nearest."""
    models = [
        {
            "name": "OA_SFT_Llama_30B_6",
            "description": "",
            "parameter_configs": [
                {"name": "k50", "description": "", "sampling_parameters": {"top_k": 50, "typical_p": None, "new": 1}}
            ],
        }
    ]
    seen: list[Any] = []
    with OpenAssistantScript(surface) as script, Client(script.url, **script.credentials) as client:
        inner = script._handler

        def handler(connection: Any, request: Any) -> None:
            if request.path in ("/configs/model_configs", "/api/chat/models"):
                seen.append(request.path)
                script.send_json(connection, models)
            else:
                inner(connection, request)

        script._handler = handler
        client.ask("Hi", sampling="k50")
        client.ask("Hi", sampling="k50")
        with pytest.raises(ConfigurationError, match="did you mean 'k50'"):
            client.ask("Hi", sampling="k51")
        with pytest.raises(ConfigurationError, match="model 'x' is not on the server"):
            client.ask("Hi", sampling="k50", model="x")

        bodies = [request.json() for request in script.requests if request.path.endswith("assistant_message")]

    # The second time for the model that is not in the list, which may be old.
    assert len(seen) == 2
    assert [body["sampling_parameters"] for body in bodies] == [{"top_k": 50}, {"top_k": 50}]


def test_models_are_listed() -> None:
    """list_models() returns typed values."""
    answer = [{"name": "m", "description": "d", "parameter_configs": [], "size": 1}]
    with ScriptedServer(reply(json_response(answer))) as server, Client(server.url, token="t") as client:
        (model,) = client.list_models()

    assert (model.name, model.description, model.presets, model.extra) == ("m", "d", (), {"size": 1})


def test_sampling_value_is_sent_without_nulls(script: OpenAssistantScript, client: Client) -> None:
    """A Sampling sends what is set: the server refuses a null for max_new_tokens."""
    client.ask("Hi", sampling=Sampling(top_k=5))

    (body,) = [json.loads(request.body) for request in script.requests if "assistant" in request.path]
    assert body["sampling_parameters"] == {"top_k": 5}


def test_closed_client_refuses(script: OpenAssistantScript, client: Client) -> None:
    """After close() a call raises ConfigurationError; close() may be called again."""
    assert client.close() == ()
    assert client.close() == ()

    with pytest.raises(ConfigurationError, match="closed"):
        client.stream("Hi")
    with pytest.raises(ConfigurationError, match="closed"):
        client.list_models()


def test_close_ends_a_call_in_another_thread() -> None:
    """close() wakes a thread that waits for the server, which gets a ConfigurationError."""
    errors: list[BaseException] = []
    with ScriptedServer(stall) as server:
        client = Client(server.url, token="t")

        def ask() -> None:
            try:
                client.ask("Hi")
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        server.wait_until(lambda: server.requests)
        client.close()
        thread.join(20)

    assert [str(error) for error in errors] == ["the client was closed meanwhile"]
    assert isinstance(errors[0], ConfigurationError)


def test_close_ends_open_streams(script: OpenAssistantScript, client: Client) -> None:
    """A stream that is open when its client closes ends without an error, and its chat is deleted."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    stream = client.stream("Hi")
    first = next(stream)
    script.message_state = "complete"

    assert client.close() == ()
    assert (first, list(stream)) == ("Hello", [])
    assert script.deleted_chats == ["c1"]


def test_answer_that_is_not_final_in_time_is_hidden_and_reported(script: OpenAssistantScript, client: Client) -> None:
    """close() hides the chat of an answer that goes on, and returns its id."""
    script.message_state = "in_progress"

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    with client.stream("Hi") as stream:
        next(stream)

    assert client.close(timeout=1.5) == ("c1",)
    assert script.chats["c1"].hidden
    assert not script.chats["c1"].deleted


def test_interrupt_in_the_consumer_leaves_no_chat(script: OpenAssistantScript, client: Client) -> None:
    """KeyboardInterrupt inside the loop leaves by way of `with`, and the chat goes."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.connection.wait_until_left()

    script.events = events
    script.message_state = "complete"

    def consume() -> None:
        with client.stream("Hi") as stream:
            for _ in stream:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()

    assert client.close() == ()
    assert script.deleted_chats == ["c1"]


def press_ctrl_c(handler: Handler) -> Handler:
    """Return a handler that interrupts the main thread before it answers."""

    def answer(connection: Connection, request: Request) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        handler(connection, request)

    return answer


@pytest.mark.skipif(sys.platform == "win32", reason="a thread cannot be sent a signal")
@pytest.mark.parametrize("call", ["create", "prompter", "assistant", "events", "delete"])
def test_ctrl_c_during_a_call_leaves_no_chat(script: OpenAssistantScript, client: Client, call: str) -> None:
    """Ctrl-C while a call is in flight raises KeyboardInterrupt, and the chat goes, also one whose id was to come."""
    setattr(script, f"on_{call}", in_turn(press_ctrl_c(getattr(script, f"on_{call}")), getattr(script, f"on_{call}")))
    script.message_state = "complete"

    with pytest.raises(KeyboardInterrupt):
        client.ask("Hi")
    if call == "assistant":
        # Nobody reads it, and so it is never finished.
        script.wait_until(lambda: "m1" in script.chats["c1"].messages)
        script.change_message("m1", state="complete")

    assert client.close() == ()
    assert list(script.chats) == ["c1"]
    assert script.visible_chats == []


@pytest.mark.skipif(sys.platform == "win32", reason="a thread cannot be sent a signal")
def test_ctrl_c_while_a_chat_is_not_made(
    script: OpenAssistantScript, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the server does not answer the first call is waited out for a short time only."""
    monkeypatch.setattr("oa_client._calls.exchange.GRACE", 0.1)
    monkeypatch.setattr("oa_client._calls.cleanup.GRACE", 0.1)
    script.on_create = press_ctrl_c(stall)

    with pytest.raises(KeyboardInterrupt):
        client.ask("Hi")

    assert client.close() == ()
    script.wait_until(lambda: script.open_connections == 0)


def test_many_threads_share_a_client(surface: Surface) -> None:
    """Twenty threads with one client get twenty whole answers, and nothing is left."""
    answers: list[str] = []
    with (
        OpenAssistantScript(surface) as script,
        Client(script.url, **script.credentials, serialize=False) as client,
    ):
        threads = [threading.Thread(target=lambda: answers.append(str(client.ask("Hi")))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert answers == ["Hello world"] * 20
        assert script.visible_chats == []


def test_message_json_of_the_script_is_read_in_full(script: OpenAssistantScript, client: Client) -> None:
    """No field of a recorded message lands in `extra`."""
    message = client.ask("Hi")

    assert message.extra == {}
    assert message_json("m1", "c1", "p1").keys() <= set(type(message).__dataclass_fields__)


SECRETS: dict[str, Any] = {
    "cookies": {"next-auth.session-token": "s3cr3t"},
    "token": "s3cr3t",
    "headers": {"X-Key": "s3cr3t"},
    "proxy": "http://user:s3cr3t@127.0.0.1:9",
}


@pytest.mark.parametrize("face", [Client, AsyncClient])
@pytest.mark.parametrize("secret", SECRETS)
def test_pickle_has_the_settings_and_no_secret(face: type[Client], secret: str) -> None:
    """A client that was pickled has its settings, shows no secret, and says with its first call what is missing."""
    settings: dict[str, Any] = {"timeout": Timeout(read=7), "model": "some", "max_retries": 5, "serialize": False}
    client = face("http://127.0.0.1:9", **{secret: SECRETS[secret]}, **settings)

    data = pickle.dumps(client)
    again = pickle.loads(pickle.dumps(pickle.loads(data)))  # noqa: S301 - ours

    assert b"s3cr3t" not in data
    assert again.settings() == {"base_url": "http://127.0.0.1:9", **settings}
    assert type(again) is face
    with pytest.raises(ConfigurationError, match=f"not its {secret}: "):
        getattr(again, "wrapped", again).ask("Hi")


def test_pickled_client_takes_credentials_from_the_environment(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment has the address and its credentials, an unpickled client works."""
    monkeypatch.setenv("OA_BASE_URL", script.url)
    if script.surface == "website":
        monkeypatch.setenv("OA_COOKIE", "next-auth.session-token=session")
    else:
        monkeypatch.setenv("OA_TOKEN", "token")
    with Client(script.url, **script.credentials) as first, pickle.loads(pickle.dumps(first)) as again:  # noqa: S301 - ours
        answer = again.ask("Hi")

    assert str(answer) == "Hello world"


def test_settings_with_credentials_make_the_same_client(script: OpenAssistantScript) -> None:
    """What `settings(with_credentials=True)` returns is all that the constructor needs."""
    with Client(script.url, **script.credentials) as first:
        settings = first.settings(with_credentials=True)
    with Client(**pickle.loads(pickle.dumps(settings))) as again:  # noqa: S301 - ours
        assert str(again.ask("Hi")) == "Hello world"


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copied_client(script: OpenAssistantScript, make: Callable[[Client], Client]) -> None:
    """A client that was copied has the credentials too, and works when the first is closed."""
    with Client(script.url, **script.credentials, model="some") as first, make(first) as again:
        assert again.settings(with_credentials=True) == first.settings(with_credentials=True)
        first.close()
        assert str(again.ask("Hi")) == "Hello world"


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copy_of_a_pickled_client(make: Callable[[Client], Client]) -> None:
    """A copy of a client that lacks its credentials says so too."""
    again = make(pickle.loads(pickle.dumps(Client("http://127.0.0.1:9", token="t"))))  # noqa: S301 - ours

    with pytest.raises(ConfigurationError, match="not its token: "):
        again.ask("Hi")


@pytest.mark.parametrize(
    ("url", "is_exposed"),
    [
        pytest.param("http://oa.example.org", True, id="http"),
        pytest.param("http://192.168.1.2:8000", True, id="http in a private network"),
        pytest.param("https://oa.example.org", False, id="https"),
        pytest.param("http://127.0.0.1:8000", False, id="loopback"),
        pytest.param("http://localhost:8000", False, id="localhost"),
    ],
)
def test_warning_of_credentials_that_all_can_read(url: str, is_exposed: bool) -> None:
    """Credentials for plain http to another machine are warned of, without showing them; without them there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Client(url, token="s3cr3t")
        Client(url, headers={"authorization": "Basic s3cr3t"})
        Client(url, headers={"Cookie": "proxy=s3cr3t"})
        Client(url, headers={"X-Other": "s3cr3t"})
        Client(url)

    assert len(caught) == 3 * is_exposed
    assert "s3cr3t" not in "".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("face", [Client, AsyncClient])
def test_client_that_was_not_made_can_be_shown(face: type[Client] | type[AsyncClient]) -> None:
    """A debugger that shows an object whose `__init__` has failed gets a text."""
    made = face.__new__(face)

    assert "was not made" in repr(made)
