"""Models of an OpenAI-compatible server: one that can do everything wrong, and a real one."""

from __future__ import annotations

import contextlib
import gzip
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from oa_client.local import MODEL, LocalServer, LocalServerError
from oa_client.local._models import upstream as upstream_module
from oa_client.local._models.embedded import Embedded
from oa_client.local._models.openai import DROPPED, FIELD_NAMES, OpenAI, open_models, to_fields
from oa_client.local._models.upstream import Upstream
from oa_client.local._surfaces.bodies import read_sampling
from tests.local.support import PATIENCE, User
from tests.local.upstream import DONE, END, Reply, UpstreamDouble, data, hello, token
from tests.scripted import json_response, response
from tests.tls import make_context, wrap

KEY = "sk-very-secret-0123456789"
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.fixture
def double() -> Iterator[UpstreamDouble]:
    """The other server."""
    with UpstreamDouble() as server:
        yield server


def ask(double: UpstreamDouble, key: str | None = None, **sampling: Any) -> list[str]:
    """The pieces of an answer of its first model."""
    (model,) = open_models(upstream=double.base, upstream_model="small", api_key=key)[:1]
    return list(model.generate(QUESTION, sampling, threading.Event()))


def test_the_answer_of_another_server(double: UpstreamDouble) -> None:
    """Its models are listed, and its pieces become tokens, without any name of its API in between."""
    with LocalServer("openai", upstream=double.base) as server:
        user = User(server, "website")
        listed = user.send("GET", "/api/chat/models").json()
        with user.events(*user.ask("Hi")) as events:
            received = [event for event in events if event["event_type"] != "pending"]

    assert server.model == "small"
    assert [model["name"] for model in listed] == ["small", "large", "OA_SFT_Llama_30B_6"]
    assert listed[0]["description"] == (
        f"Answered by {double.url}; top_k, typical_p and repetition_penalty have no effect there"
    )
    assert [event.get("text") for event in received] == ["Hello", " wörld", None]
    assert received[-1]["message"]["content"] == "Hello wörld"


def test_the_model_that_is_asked_for_answers(double: UpstreamDouble) -> None:
    """Not the first one, if another's name is sent."""
    with LocalServer("openai", upstream=double.base) as server:
        user = User(server, "inference")
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="Hi").json()
        answer = user.post_answer(chat_id, parent_id=prompt["id"], model_config_name="large").json()
        user.wait_for(chat_id, answer["id"], "complete")

    assert [body["model"] for body in double.asked] == ["large"]


def test_every_sampling_name_has_its_place(double: UpstreamDouble) -> None:
    """What the other server sees: those with a counterpart under its name, no others, and nothing that was not said."""
    everything = read_sampling(
        {
            "top_k": 50,
            "top_p": 0.5,
            "typical_p": 0.25,
            "temperature": 0.75,
            "repetition_penalty": 1.25,
            "max_new_tokens": 8,
        }
    )
    ask(double, **everything)
    ask(double, **read_sampling({}))
    common = {"model": "small", "messages": QUESTION, "stream": True}

    assert double.asked[0] == {**common, "top_p": 0.5, "temperature": 0.75, "max_tokens": 8}
    assert double.asked[1] == {**common, "max_tokens": 1024}
    assert {*FIELD_NAMES, *DROPPED} == set(everything)
    assert to_fields({"max_new_tokens": -1}) == {"max_tokens": 1}


@pytest.mark.parametrize(
    ("parts", "pieces"),
    [
        pytest.param([data(token("a")), data(token("b", "stop")), END], ["a", "b"], id="no [DONE]"),
        pytest.param([data(token("a")), b"data: [DONE]\n", END], ["a"], id="no blank line at the end"),
        pytest.param([data(token("a")), b"data: [DONE]", END], ["a"], id="no line end at the end"),
        pytest.param([b": ping\r\n\r\n", b"data:" + data(token("a"))[6:-2] + b"\r\n\r", b"\n", DONE], ["a"], id="CRLF"),
        pytest.param([data(token("ü🙂"))[:-9], data(token("ü🙂"))[-9:], DONE], ["ü🙂"], id="cut in two"),
        pytest.param([data(token("a")) + data(token("b")), DONE], ["a", "b"], id="two at once"),
        pytest.param([b'event: x\nid: 1\ndata: {"choices":\ndata: []}\n\n', DONE], [], id="two lines of data"),
        pytest.param([{"choices": [{"delta": None}, {}, {"delta": {"content": ["x"]}}]}, DONE], [], id="no text"),
        pytest.param([token("a"), DONE, token("b")], ["a"], id="nothing after [DONE]"),
    ],
)
def test_streams_of_many_kinds(double: UpstreamDouble, parts: list[Any], pieces: list[str]) -> None:
    """They are read all the same."""

    def answer(reply: Reply) -> None:
        for part in parts:
            reply.connection.send(END) if part == END else reply.send(part)
        reply.connection.wait_until_left()

    double.answer = answer

    assert ask(double) == pieces


def whole(response: bytes) -> Callable[[Reply], None]:
    """An answer that is one response."""
    return lambda reply: reply.connection.send(response)


def test_an_answer_that_is_not_streamed(double: UpstreamDouble) -> None:
    """From a server that cannot stream the text comes in one piece."""
    double.answer = whole(json_response({"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}))

    assert ask(double) == ["Hello"]


def test_a_stream_without_length_or_chunks(double: UpstreamDouble) -> None:
    """It ends with the connection, and each piece comes as it is sent."""
    received = threading.Event()

    def answer(reply: Reply) -> None:
        reply.connection.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + data(token("a")))
        reply.connection.wait(received)
        reply.connection.send(data(token("b", "stop")))
        reply.connection.close()

    double.answer = answer
    (model, _) = open_models(upstream=double.base)
    pieces = model.generate(QUESTION, {}, threading.Event())
    first = next(pieces)
    received.set()

    assert (first, list(pieces)) == ("a", ["b"])


def cut(reply: Reply) -> None:
    """End the connection in mid-answer."""
    reply.send(token("a"))
    reply.connection.send(b"ff\r\ndata: {")
    reply.connection.close()


def reset(reply: Reply) -> None:
    """Break the connection before the answer."""
    reply.connection.reset()


def half_refusal(reply: Reply) -> None:
    """Refuse, and end the connection in the middle of the reason."""
    reply.connection.send(response(500, b"x", {"content-length": "100"}))
    reply.connection.close()


def send(*values: Any) -> Callable[[Reply], None]:
    """An answer with these events that ends in good order."""

    def answer(reply: Reply) -> None:
        reply.send(*values)
        reply.end()

    return answer


PAGE = response(200, b"<html>Welcome</html>", {"content-type": "text/html; charset=utf-8"})
PACKED = gzip.compress(b'{"choices": [{"message": {"content": "Hello"}}]}')
FAULTS = [
    pytest.param(
        whole(json_response({"error": {"message": "Incorrect key"}}, 401)),
        r"answered 401: Incorrect key; is the key right\?",
        id="401",
    ),
    pytest.param(whole(json_response({"error": "no"}, 403)), r"answered 403: no; is the key right\?", id="403"),
    pytest.param(
        whole(json_response({"error": {"message": "model 'small' not found", "code": None}}, 404)),
        r"answered 404: model 'small' not found; is the model there",
        id="404 model",
    ),
    pytest.param(
        whole(response(404, b"<h1>404</h1>", {"content-type": "text/html"})),
        r"answered 404: a web page; .*does the address end in /v1",
        id="404 page",
    ),
    pytest.param(
        whole(json_response({"message": "Slow down"}, 429, {"retry-after": "20"})),
        "answered 429: Slow down; it says to wait 20 s; wait, or look at",
        id="429",
    ),
    pytest.param(
        whole(json_response({"detail": "Too fast"}, 429, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"})),
        "answered 429: Too fast; it says to wait until Fri, 31 Dec 1999",
        id="429 with a date",
    ),
    pytest.param(whole(response(500, b"boom")), "answered 500: boom$", id="500 text"),
    pytest.param(whole(response(503)), "answered 503: Service Unavailable$", id="503 empty"),
    pytest.param(whole(json_response([1], 400)), r"answered 400: \[1\]$", id="400 of another shape"),
    pytest.param(whole(response(204)), "answered 204: No Content$", id="204"),
    pytest.param(whole(PAGE), r"answers with a web page, not with its API", id="page"),
    pytest.param(whole(json_response({"error": {"message": "no GPU"}})), "reports: no GPU$", id="error with 200"),
    pytest.param(
        whole(response(200, b"{", {"content-type": "application/json"})), "something else than JSON", id="no JSON"
    ),
    pytest.param(whole(json_response({"choices": 5})), "no chat completion", id="no completion"),
    pytest.param(
        send(token("a"), {"error": {"message": "out of memory"}}), "reports: out of memory$", id="error event"
    ),
    pytest.param(send(token("a"), "{nonsense"), "an event that is not JSON", id="an event that is not JSON"),
    pytest.param(send(token("a"), [1]), "no chat completion", id="an event of another shape"),
    pytest.param(send(b"data: " + b"[" * 100_000 + b"\n\n"), "an event that is not JSON", id="nested without end"),
    pytest.param(send(token("a")), "ended the answer in the middle", id="no end"),
    pytest.param(send(token("a"), b"data: {"), "ended the answer in the middle", id="half an event"),
    pytest.param(
        whole(response(200, PACKED, {"content-type": "application/json", "content-encoding": "gzip"})),
        "answers with the content encoding gzip, though it was asked for none$",
        id="encoded",
    ),
    pytest.param(
        whole(response(500, PACKED, {"content-encoding": "GZip, br"})),
        "answered 500: Internal Server Error$",
        id="encoded refusal",
    ),
    pytest.param(cut, r"broke in mid-answer \(RemoteProtocolError\)$", id="cut"),
    pytest.param(reset, r"broke in mid-answer \(ConnectionResetError\)$", id="reset"),
    pytest.param(half_refusal, "answered 500: Internal Server Error$", id="half a refusal"),
    pytest.param(
        whole(response(307, b"", {"location": "http://user:secret@evil.example:80/v1"})),
        r"redirects to http://evil\.example:80, which is not followed",
        id="redirect",
    ),
    pytest.param(whole(response(308, b"", {"location": "/v2"})), "redirects to another path", id="redirect within"),
]


@pytest.mark.parametrize(("answer", "words"), FAULTS)
def test_what_goes_wrong_there_is_told(double: UpstreamDouble, answer: Callable[[Reply], None], words: str) -> None:
    """In one line that names the server, and says what to do where that is known."""
    double.answer = answer
    with pytest.raises(LocalServerError, match=words) as error:
        ask(double)

    assert str(error.value).partition(double.url)[1]
    assert "\n" not in str(error.value)


def test_an_error_there_is_the_error_event_here(double: UpstreamDouble) -> None:
    """The server lives on and answers the next question."""
    double.answer = cut
    with LocalServer("openai", upstream=double.base) as server:
        user = User(server, "inference")
        with user.events(*user.ask("Hi")) as events:
            failed = list(events)[-1]
        double.answer = hello
        with user.events(*user.ask("Hi")) as events:
            answered = list(events)[-1]

    assert failed["error"] == f"the connection to the upstream {double.url} broke in mid-answer (RemoteProtocolError)"
    assert failed["message"]["state"] == "aborted_by_worker"
    assert answered["message"]["content"] == "Hello wörld"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(send("x" * 1001), "sent an event of more than 1000 characters", id="a line"),
        pytest.param(send(*[b"data: xxxx\n"] * 300, b"\n"), "an event of more than 1000 characters", id="an event"),
        pytest.param(send(*[token("x")] * 200), "answers with more than 10000 bytes", id="a stream"),
        pytest.param(send(*[b": ping\n\n"] * 2000), "answers with more than 10000 bytes", id="a stream of nothing"),
        pytest.param(whole(json_response({"choices": "x" * 1001})), "answers with more than 1000 bytes", id="a body"),
    ],
)
def test_what_has_no_end(
    double: UpstreamDouble, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Reply], None], words: str
) -> None:
    """It does not fill the memory."""
    monkeypatch.setattr(upstream_module, "MOST_EVENT", 1000)
    monkeypatch.setattr(upstream_module, "MOST_BODY_BYTES", 1000)
    monkeypatch.setattr(upstream_module, "MOST_STREAM_BYTES", 10_000)
    double.answer = answer
    with pytest.raises(LocalServerError, match=words):
        ask(double)


def test_a_server_that_is_not_there() -> None:
    """At the start it is an error that says what to do, unless a model is named; then the answer fails."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    base = f"http://127.0.0.1:{port}/v1"
    words = rf"http://127\.0\.0\.1:{port} cannot be reached \(Connection refused\): is it running\?"
    with pytest.raises(LocalServerError, match=rf"{words} \(if it lists no models, name one"):
        LocalServer("openai", upstream=base).start()
    (model,) = open_models(upstream=base, upstream_model="mine")
    with pytest.raises(LocalServerError, match=f"{words}$"):
        list(model.generate(QUESTION, {}, threading.Event()))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_a_server_that_takes_no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after a while, and the error does not take it for one that is silent."""
    monkeypatch.setattr(upstream_module, "CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, contextlib.ExitStack() as waiting:
        for _ in range(3):
            line = waiting.enter_context(socket.socket())
            line.setblocking(False)
            line.connect_ex(busy.getsockname())
        with pytest.raises(LocalServerError, match=r"cannot be reached: no connection within 0\.05 seconds"):
            open_models(upstream=f"http://127.0.0.1:{busy.getsockname()[1]}/v1")


def test_a_server_that_never_answers(double: UpstreamDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while of silence it is given up, before the head and after it."""
    monkeypatch.setattr(upstream_module, "SILENCE_TIMEOUT", 0.05)
    double.answer = lambda reply: reply.connection.wait_until_left()
    with pytest.raises(LocalServerError, match=r"said nothing for 0\.05 seconds"):
        ask(double)

    def begin(reply: Reply) -> None:
        reply.send(token("a"))
        reply.connection.wait_until_left()

    double.answer = begin
    with pytest.raises(LocalServerError, match=r"said nothing for 0\.05 seconds"):
        ask(double)


def set_after(first: threading.Event, second: threading.Event) -> threading.Thread:
    """Start a thread that sets the second event once the first one is set."""

    def follow() -> None:
        first.wait(PATIENCE)
        second.set()

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


@pytest.mark.parametrize("words", [(), ("a",)], ids=["before the first token", "after it"])
def test_a_cancelled_answer_is_cut_off(double: UpstreamDouble, words: tuple[str, ...]) -> None:
    """The connection closes, though the other server is silent, and the generation ends."""
    begun, left = threading.Event(), threading.Event()

    def answer(reply: Reply) -> None:
        for word in words:
            reply.send(token(word))
        begun.set()
        reply.connection.wait_until_left()
        left.set()

    double.answer = answer
    cancelled = threading.Event()
    pieces = open_models(upstream=double.base)[0].generate(QUESTION, {}, cancelled)
    said = [next(pieces) for _ in words]
    canceller = set_after(begun, cancelled)
    rest = list(pieces)
    canceller.join()

    assert left.wait(PATIENCE)
    assert (said, rest) == (list(words), [])


def test_a_deleted_chat_stops_the_other_server(double: UpstreamDouble) -> None:
    """And so does closing this one."""
    left = [threading.Event(), threading.Event()]
    begun = [threading.Event(), threading.Event()]

    def answer(reply: Reply) -> None:
        index = len(double.asked) - 1
        reply.send(token("a"))
        begun[index].set()
        reply.connection.wait_until_left()
        left[index].set()

    double.answer = answer
    with LocalServer("openai", upstream=double.base) as server:
        user = User(server, "inference")
        chat_id, _ = user.ask("one")
        assert begun[0].wait(PATIENCE)
        user.delete(chat_id)
        assert left[0].wait(PATIENCE)
        user.ask("two")
        assert begun[1].wait(PATIENCE)
        started = time.monotonic()

    assert left[1].wait(PATIENCE)
    assert time.monotonic() - started < 5


def test_a_cancelled_answer_is_not_held_up_by_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the address is looked up or connected to, there is nothing to close; the generation ends all the same."""
    asked, release, cancelled = threading.Event(), threading.Event(), threading.Event()

    def look_up(*arguments: Any) -> Any:
        asked.set()
        release.wait(PATIENCE)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    model = OpenAI(Upstream("http://slow.example/v1", None), "m")
    canceller = set_after(asked, cancelled)
    pieces = list(model.generate(QUESTION, {}, cancelled))
    release.set()
    canceller.join()

    assert pieces == []


def test_a_connection_made_too_late_is_closed(double: UpstreamDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was cancelled while the address was looked up is not asked for."""
    cancelled, left = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    look_up = socket.getaddrinfo

    def look_up_late(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        cancelled.set()
        assert left.wait(PATIENCE)
        return look_up(*arguments, **options)

    model = OpenAI(Upstream(double.base, None), "m")
    monkeypatch.setattr("socket.getaddrinfo", look_up_late)
    pieces = list(model.generate(QUESTION, {}, cancelled))
    left.set()
    threads[0].join(PATIENCE)

    assert not threads[0].is_alive()
    assert (pieces, double.asked) == ([], [])


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"\xef\xbb\xbf" + data(token("a", "stop")), id="byte order mark"),
        pytest.param(data(token("a", "stop")).replace(b"\n", b"\r"), id="lone CR"),
        pytest.param(b"data:\n\n" + data(token("a", "stop")), id="no data"),
        pytest.param(b"event: ping\ndata: {}\n\n" + data(token("a", "stop")), id="ping"),
    ],
)
def test_framing_loses_nothing(double: UpstreamDouble, stream: bytes) -> None:
    """The answer of one token arrives, whatever framing and heartbeats the other server uses."""
    double.answer = send(stream)

    assert ask(double) == ["a"]


def test_the_key_goes_there_and_nowhere_else(
    double: UpstreamDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a bearer; without one nothing is sent, whatever the environment has, and no proxy sees either."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-server")
    monkeypatch.setenv("OA_UPSTREAM_KEY", "sk-of-the-command")
    with UpstreamDouble() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        ask(double, KEY)
        ask(double)

    assert proxy.requests == []
    assert [request.headers.get("authorization") for request in double.requests] == [
        *[f"Bearer {KEY}"] * 2,
        *[None] * 2,
    ]


def test_another_machine_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the environment; silence can be cut off there too, and a proxy that is not there is told."""
    left = threading.Event()

    def answer(reply: Reply) -> None:
        reply.send(token("a"))
        reply.connection.wait_until_left()
        left.set()

    with UpstreamDouble(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        model = open_models(upstream="http://192.0.2.1/v1")[0]
        cancelled = threading.Event()
        pieces = model.generate(QUESTION, {}, cancelled)
        first = next(pieces)
        cancelled.set()
        rest = list(pieces)
        assert left.wait(PATIENCE)
        hosts = {request.headers["host"] for request in proxy.requests}
    with pytest.raises(LocalServerError, match=r"cannot be reached through the proxy that the environment names$"):
        list(model.generate(QUESTION, {}, threading.Event()))

    assert (first, rest, hosts) == ("a", [], {"192.0.2.1"})


def test_a_redirect_does_not_take_the_key_along(double: UpstreamDouble) -> None:
    """The other host is not asked at all."""
    with UpstreamDouble() as other:
        double.answer = whole(response(307, b"", {"location": f"{other.base}/chat/completions"}))
        double.models = response(302, b"", {"location": f"{other.base}/models"})
        with pytest.raises(LocalServerError, match="not followed"):
            ask(double, KEY)
        with pytest.raises(LocalServerError, match="not followed"):
            open_models(upstream=double.base, api_key=KEY)

    assert other.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(whole(json_response({"error": {"message": f"wrong key {KEY}"}}, 401)), id="JSON"),
        pytest.param(whole(response(500, f"wrong key {KEY}".encode())), id="text"),
        pytest.param(send({"error": f"wrong key {KEY}"}), id="event"),
        pytest.param(whole(response(302, b"", {"location": f"http://{KEY}.example/"})), id="redirect"),
        pytest.param(whole(json_response({"error": "x" * 290 + KEY}, 401)), id="JSON that is cut"),
        pytest.param(whole(response(500, b"x" * 290 + KEY.encode())), id="text that is cut"),
        pytest.param(whole(response(429, b"", {"retry-after": "x" * 30 + KEY})), id="header that is cut"),
    ],
)
def test_the_key_is_told_to_nobody(double: UpstreamDouble, answer: Callable[[Reply], None]) -> None:
    """Not even if the other server does so; nor is it in a repr."""
    double.answer = answer
    with pytest.raises(LocalServerError, match=r"\*\*\*") as error:
        ask(double, KEY)
    server = LocalServer("openai", upstream=double.base, api_key=KEY)

    assert KEY[:4] not in str(error.value)
    assert KEY not in repr(server) + repr(vars(server)["_choice"]) + repr(Upstream(double.base, KEY))


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé"])
def test_a_key_that_no_header_can_hold(key: str) -> None:
    """It is refused without being told."""
    with pytest.raises(LocalServerError, match="the key of the upstream holds") as error:
        Upstream("http://127.0.0.1/v1", key)

    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://192.0.2.1/v1", True),
        ("http://127.0.0.1:9/v1", False),
        ("http://[::1]:9/v1", False),
        ("https://192.0.2.1/v1", False),
    ],
)
def test_a_key_that_goes_unencrypted(url: str, warned: bool, recwarn: pytest.WarningsRecorder) -> None:
    """There is a warning, if it leaves this machine."""
    assert Upstream(url, KEY).is_exposed == warned
    assert not Upstream(url, None).is_exposed


def test_the_warning_of_a_key_that_goes_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the server, not the key."""
    monkeypatch.setattr(Upstream, "models", lambda self: [])
    with pytest.warns(UserWarning, match=r"goes to http://192\.0\.2\.1 unencrypted") as warned:
        open_models(upstream="http://192.0.2.1/v1", upstream_model="m", api_key=KEY)

    assert KEY not in str(warned[0].message)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:11434", "is no address"),
        ("ftp://127.0.0.1/v1", "is no address"),
        ("http:///v1", "is no address"),
        ("http://127.0.0.1:99999/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://me:secret@127.0.0.1/v1", "holds a name or a password"),
        ("http://127.0.0.1/v1?key=secret", "goes on after its path"),
    ],
)
def test_an_address_that_is_none(url: str, words: str) -> None:
    """The error says why, and tells no secret in it."""
    with pytest.raises(LocalServerError, match=words) as error:
        LocalServer("openai", upstream=url).start()

    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("models", "named", "listed"),
    [
        pytest.param(["a", "b"], None, ["a", "b"], id="all"),
        pytest.param(["a", "b", "a"], "b", ["b", "a"], id="the named one first"),
        pytest.param(["a"], "a:latest", ["a:latest", "a"], id="a name that it does not list"),
        pytest.param(response(404), "a", ["a"], id="no list"),
        pytest.param(json_response({"data": [{"id": 5}, {"id": "a"}, {"id": ""}]}), None, ["a"], id="odd names"),
        pytest.param(["x" * 201, "x" * 200], None, ["x" * 200], id="a name that is too long"),
        pytest.param(response(200, rb'{"data": [{"id": "\ud83d"}, {"id": "a"}]}'), None, ["a"], id="half a character"),
        pytest.param(["/home/ada/m.gguf", r"C:\m\n.gguf", "org/m"], None, ["m.gguf", "n.gguf", "org/m"], id="paths"),
    ],
)
def test_which_models_are_listed(double: UpstreamDouble, models: Any, named: str | None, listed: list[str]) -> None:
    """Those that the other server lists; the named one answers by default, and is enough where it lists none."""
    double.models = models

    assert [model.name for model in open_models(upstream=double.base + "/", upstream_model=named)] == listed


@pytest.mark.parametrize(
    ("models", "words"),
    [
        pytest.param(json_response({"data": []}), "lists no model", id="none"),
        pytest.param(json_response({"models": []}), "no list of models.*name one with", id="another shape"),
        pytest.param(json_response({}, 401), r"answered 401.*is the key right\?", id="401"),
        pytest.param(PAGE, "a web page", id="page"),
        pytest.param(response(200, b"x"), "something else than JSON", id="no JSON"),
    ],
)
def test_models_that_cannot_be_listed(double: UpstreamDouble, models: bytes, words: str) -> None:
    """Start says so."""
    double.models = models
    with pytest.raises(LocalServerError, match=words):
        LocalServer("openai", upstream=double.base).start()


def test_what_openai_needs() -> None:
    """An address, and nothing that is for another backend."""
    with pytest.raises(ValueError, match="the backend 'openai' needs upstream"):
        LocalServer("openai")
    with pytest.raises(ValueError, match="the backend 'openai' takes no model"):
        LocalServer("openai", upstream="http://127.0.0.1/v1", model="x.gguf")
    with pytest.raises(ValueError, match="the backend 'lorem' takes no upstream"):
        LocalServer("lorem", upstream="http://127.0.0.1/v1")
    with pytest.raises(ValueError, match="of your own takes no api_key"):
        LocalServer(OpenAI(Upstream("http://127.0.0.1/v1", None), "m"), api_key=KEY)


class SecureDouble(UpstreamDouble):
    """The other server with TLS."""

    def __init__(self, folder: Path) -> None:
        self._context, self.certificate = make_context(folder)
        super().__init__()
        self.base = self.base.replace("http:", "https:")

    def _accept(self) -> None:
        self._listener = wrap(self._context, self._listener)
        super()._accept()


def test_a_server_with_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate must be trusted, by the variable of requests if need be; silence can be cut off there too."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with SecureDouble(tmp_path) as double:
        with pytest.raises(LocalServerError, match="is not trusted; REQUESTS_CA_BUNDLE"):
            ask(double)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(double.certificate))
        answered = ask(double)
        left = threading.Event()

        def answer(reply: Reply) -> None:
            reply.send(token("a"))
            reply.connection.wait_until_left()
            left.set()

        double.answer = answer
        cancelled = threading.Event()
        pieces = open_models(upstream=double.base)[0].generate(QUESTION, {}, cancelled)
        next(pieces)
        cancelled.set()
        rest = list(pieces)

    assert answered == ["Hello", " wörld"]
    assert rest == []
    assert left.is_set()


def test_a_server_without_tls() -> None:
    """Asked by https it answers by http, and the error says what may be wrong."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    continue

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(LocalServerError, match="does it talk http only"):
            open_models(upstream=f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
        thread.join()


@pytest.mark.skipif(
    not MODEL.downloaded or find_spec("xllamacpp") is None,
    reason=f"{MODEL.name} is not downloaded, or xllamacpp not installed",
)
def test_a_real_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's own: it lists its model by the name of the file, wants its key, answers, and takes all settings."""
    monkeypatch.setattr("secrets.token_urlsafe", lambda length: KEY)
    runtime = Embedded()
    monkeypatch.undo()
    base = f"{runtime._server.listening_address}/v1"
    with pytest.raises(LocalServerError, match=r"answered 401: .*; is the key right\?"):
        list(
            open_models(upstream=base, upstream_model="m", api_key="wrong")[0].generate(QUESTION, {}, threading.Event())
        )
    with LocalServer("openai", upstream=base, api_key=KEY) as server:
        user = User(server, "inference")
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="Say hello.").json()
        sampling = {"top_k": 5, "top_p": 0.9, "temperature": 0.1, "repetition_penalty": 1.2, "max_new_tokens": 8}
        answer = user.post_answer(chat_id, parent_id=prompt["id"], sampling_parameters=sampling).json()
        with user.events(chat_id, answer["id"]) as events:
            received = [event for event in events if event["event_type"] != "pending"]
    cancelled = threading.Event()
    pieces = open_models(upstream=base, api_key=KEY)[0].generate(QUESTION, {"max_new_tokens": 1000}, cancelled)
    first = next(pieces)
    cancelled.set()
    rest = list(pieces)
    runtime.close()

    assert server.model == MODEL.file_name
    assert received[-1]["event_type"] == "message"
    assert "".join(event["text"] for event in received[:-1]) == received[-1]["message"]["content"]
    assert first
    assert rest == []
