"""The embedded model: its shape, never its words."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from oa_client.local import MODEL, LocalServer, LocalServerError
from oa_client.local._models import embedded as embedded_module
from oa_client.local._models.embedded import DEMO, Embedded, Manner, to_chat, to_fields
from tests.local.gguf import TEMPLATE, write_gguf
from tests.local.support import PATIENCE, User

real = pytest.mark.skipif(
    not MODEL.downloaded or find_spec("xllamacpp") is None,
    reason=f"{MODEL.name} is not downloaded, or xllamacpp not installed",
)

USER = [{"role": "user", "content": "Count to a hundred."}]


@pytest.fixture(scope="module")
def embedded() -> Iterator[Embedded]:
    """The real model."""
    model = Embedded()
    yield model
    model.close()


def test_names_are_translated() -> None:
    """Every one of Open-Assistant's has a place, what is not said is left out."""
    everything = {
        "top_k": 50,
        "top_p": 0.9,
        "typical_p": 0.5,
        "temperature": 0.7,
        "repetition_penalty": 1.2,
        "max_new_tokens": 8,
    }

    assert to_fields(everything) == {
        "top_k": 50,
        "top_p": 0.9,
        "typical_p": 0.5,
        "temperature": 0.7,
        "repeat_penalty": 1.2,
        "max_tokens": 8,
    }
    assert to_fields(dict.fromkeys(everything)) == {"temperature": 0.0, "max_tokens": 256}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model file that only a runtime which is none can load."""
    return write_gguf(tmp_path / "tiny.gguf", {"llama.context_length": 512, **TEMPLATE})


@pytest.mark.parametrize(("asked", "given"), [(1024, 256), (256, 256), (1, 1), (0, 1), (-1, 1)])
def test_new_tokens_are_capped(asked: int, given: int) -> None:
    """And never without end, which is what llama.cpp takes -1 for."""
    assert to_fields({"max_new_tokens": asked})["max_tokens"] == given


def test_only_the_small_model_has_a_manner_of_its_own() -> None:
    """Any other is asked as the caller says, up to its context."""
    own = Manner("own", "", context_tokens=512)

    assert to_fields({"max_new_tokens": 1024, "temperature": None}, own) == {"max_tokens": 512}
    assert to_fields({"max_new_tokens": -1, "temperature": 0.5}, own) == {"max_tokens": 1, "temperature": 0.5}
    assert to_chat(USER, own) == USER


def test_there_is_always_a_system_prompt() -> None:
    """The default stands first where the conversation has none, and prompters are users."""
    system = {"role": "system", "content": "Be brief."}

    assert to_chat([system, *USER]) == [system, *USER]
    assert to_chat([{"role": "prompter", "content": "hi"}]) == [
        {"role": "system", "content": DEMO.system_prompt},
        {"role": "user", "content": "hi"},
    ]


def fake_runtime(monkeypatch: pytest.MonkeyPatch, server: Any) -> SimpleNamespace:
    """Put a runtime in the place of xllamacpp and return the settings that it is given."""
    settings = SimpleNamespace(
        ui=True, model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
    )
    runtime = SimpleNamespace(CommonParams=lambda: settings, Server=server)
    monkeypatch.setitem(sys.modules, "xllamacpp", runtime)
    return settings


class Runtime:
    """A server whose loop runs."""

    def handle_metrics(self) -> str:
        """Answer, as the loop does."""
        return ""


class Chunks(Runtime):
    """A server that gives these chunks, or raises."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = chunks
        self.stopped_at: int | None = None

    def handle_chat_completions(self, body: Any, callback: Any) -> None:
        """Call back with each chunk until the callback says stop."""
        for index, chunk in enumerate(self.chunks):
            if isinstance(chunk, Exception):
                raise chunk
            if callback(chunk):
                self.stopped_at = index
                return


def text(piece: str | None) -> dict[str, Any]:
    """A chunk with a piece of text."""
    return {"choices": [{"delta": {"content": piece}}]}


def test_the_runtime_is_shut_off_and_careful(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key on its own web server, no pages on it, half of the cores, two slots."""
    settings = fake_runtime(monkeypatch, lambda settings: Chunks())
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    Embedded(tiny)

    assert len(settings.api_keys[0]) > 30
    assert settings.ui is False
    assert settings.cpuparams.n_threads == settings.cpuparams_batch.n_threads == 3
    assert settings.n_parallel == 2
    assert settings.n_ctx == 1024
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    Embedded(tiny)
    assert settings.cpuparams.n_threads == 1


def test_pieces_are_handed_over(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks without text are skipped."""
    chunks = Chunks(text(None), text("a"), {"choices": []}, {"timings": {}}, text("b"))
    fake_runtime(monkeypatch, lambda settings: chunks)

    assert list(Embedded(tiny).generate(USER, {}, threading.Event())) == ["a", "b"]


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        pytest.param({"error": {"message": "too long"}}, RuntimeError, "too long", id="an error chunk"),
        pytest.param({"error": {}}, RuntimeError, "the model failed", id="without a reason"),
        pytest.param({"choices": [{}]}, KeyError, "delta", id="an error in the callback"),
        pytest.param(ValueError("no messages"), ValueError, "no messages", id="an exception"),
    ],
)
def test_errors_are_handed_over(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, chunk: Any, error: type[Exception], message: str
) -> None:
    """What the runtime would swallow, reports as a chunk or raises is raised where the text is read."""
    fake_runtime(monkeypatch, lambda settings: Chunks(text("a"), chunk, text("never")))
    pieces = Embedded(tiny).generate(USER, {}, threading.Event())

    assert next(pieces) == "a"
    with pytest.raises(error, match=message):
        next(pieces)


def test_a_cancelled_answer_stops_at_the_next_token(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback says so to the runtime."""
    chunks = Chunks(text("a"), text("b"))
    fake_runtime(monkeypatch, lambda settings: chunks)
    cancelled = threading.Event()
    cancelled.set()
    list(Embedded(tiny).generate(USER, {}, cancelled))

    assert chunks.stopped_at == 0


def test_without_the_runtime(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LocalServerError, match=r"pip install 'oa-client\[local\]'"):
        Embedded(tiny)


def test_a_file_that_cannot_be_loaded(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it and what may be wrong, or for the small model what to do."""

    def fail(settings: object) -> None:
        raise RuntimeError("Failed to init server")

    fake_runtime(monkeypatch, fail)
    monkeypatch.setattr(embedded_module, "_downloaded_path", lambda: tiny)
    with pytest.raises(LocalServerError, match=rf"could not load the model file {tiny}: delete it and run `oa-client"):
        Embedded()
    with pytest.raises(LocalServerError, match=rf"could not load the model file {tiny}: it may be .* kind \(llama\)"):
        Embedded(tiny)


def test_a_closed_or_forked_model_refuses(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear error instead of waiting for threads that are not there."""
    fake_runtime(monkeypatch, lambda settings: Chunks())
    model = Embedded(tiny)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(LocalServerError, match="fork"):
        next(model.generate(USER, {}, threading.Event()))
    monkeypatch.undo()
    model.close()
    with pytest.raises(LocalServerError, match="closed"):
        next(model.generate(USER, {}, threading.Event()))


@real
def test_the_model_answers_over_the_protocol() -> None:
    """Pieces come, and the message is what they make together."""
    with LocalServer() as server:
        user = User(server, "inference")
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="Say hello.").json()
        answer = user.post_answer(chat_id, parent_id=prompt["id"], sampling_parameters={"max_new_tokens": 8}).json()
        with user.events(chat_id, answer["id"]) as events:
            received = [event for event in events if event["event_type"] != "pending"]

    assert server.model == MODEL.name
    assert [event["event_type"] for event in received[-2:]] == ["token", "message"]
    assert "".join(event["text"] for event in received[:-1]) == received[-1]["message"]["content"]


@real
def test_the_model_stops_within_one_token(embedded: Embedded) -> None:
    """Cancelled after a piece, it gives at most those that were on their way, and another can be asked for."""
    cancelled = threading.Event()
    pieces = embedded.generate(USER, {"max_new_tokens": 256}, cancelled)
    next(pieces)
    cancelled.set()
    rest = list(pieces)
    left = embedded.generate(USER, {"max_new_tokens": 256}, threading.Event())
    next(left)
    left.close()  # type: ignore[attr-defined] # it is a generator

    assert len(rest) < 200
    assert list(embedded.generate(USER, {"max_new_tokens": 1}, threading.Event()))


class Reading(Runtime):
    """A server that counts the tokens of the prompt, four characters each, as llama.cpp tells them."""

    def __init__(self, context: int) -> None:
        self.context = context
        self.chats: list[list[dict[str, str]]] = []

    def handle_chat_completions(self, body: Any, callback: Any) -> None:
        """Refuse what does not fit into the context, tell the progress, and answer with a word."""
        self.chats.append(body["messages"])
        tokens = sum(len(message["content"]) for message in body["messages"]) // 4
        if tokens > self.context:
            callback({"error": {"type": "exceed_context_size_error", "message": "no", "n_prompt_tokens": tokens}})
            return
        for done in (0, tokens):
            if callback({"choices": [], "prompt_progress": {"total": tokens, "processed": done}}):
                return
        callback(text("yes"))


def chat(*lengths: int, system: int = 0) -> list[dict[str, str]]:
    """A conversation with turns of these lengths in characters, and a system prompt if it has one."""
    turns = [{"role": ("user", "assistant")[index % 2], "content": "x" * size} for index, size in enumerate(lengths)]
    return [*([{"role": "system", "content": "s" * system}] if system else []), *turns]


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        pytest.param(chat(1536), [1536], id="it fits exactly"),
        pytest.param(chat(1500, 100, 300), [300], id="the oldest turns go, and no answer comes first"),
        pytest.param(chat(1000, 100, 400, 100, 300), [400, 100, 300], id="the later turns stay"),
        pytest.param(chat(1000, 100, 600, system=800), [800, 600], id="the system prompt stays"),
        pytest.param(chat(4000), [1505], id="the beginning of the question goes"),
        pytest.param(chat(40_000, 4, 4, system=40), [40, 4], id="more than the context"),
    ],
)
def test_a_conversation_that_is_too_long_loses_its_beginning(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, asked: list[dict[str, str]], read: list[int]
) -> None:
    """As on the real server: a quarter of the 512 tokens is kept for the answer."""
    runtime = Reading(512)
    fake_runtime(monkeypatch, lambda settings: runtime)

    assert list(Embedded(tiny).generate(asked, {}, threading.Event())) == ["yes"]
    assert [len(message["content"]) for message in runtime.chats[-1]] == read


def test_what_can_never_fit_is_not_even_counted(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is asked at most 64 characters for each of the 384 tokens, from the first time on."""
    runtime = Reading(512)
    fake_runtime(monkeypatch, lambda settings: runtime)

    assert list(Embedded(tiny).generate(chat(10_000_000), {}, threading.Event())) == ["yes"]
    assert [sum(len(message["content"]) for message in one) <= 384 * 64 for one in runtime.chats] == [True, True]


def test_a_system_prompt_that_leaves_no_room_is_an_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, since nothing can be left out."""
    fake_runtime(monkeypatch, lambda settings: Reading(512))
    with pytest.raises(RuntimeError, match="the system prompt is too long for this model"):
        list(Embedded(tiny).generate(chat(4, system=2100), {}, threading.Event()))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The real model as a file of the user's own."""
    path = tmp_path / "my-model.gguf"
    path.symlink_to(MODEL.path)
    return path


@real
def test_a_model_of_ones_own(own: Path) -> None:
    """It is listed by the name of its file beside the alias, and answers with as many tokens as are asked for."""
    with LocalServer(model=own) as server:
        user = User(server, "inference")
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="Count to a hundred.").json()
        answer = user.post_answer(
            chat_id,
            parent_id=prompt["id"],
            model_config_name="my-model",
            sampling_parameters={"max_new_tokens": 8, "temperature": 0},
        ).json()
        models = user.send("GET", "/configs/model_configs").json()
        with user.events(chat_id, answer["id"]) as events:
            received = [event for event in events if event["event_type"] != "pending"]

    assert server.model == "my-model"
    assert [model["name"] for model in models] == ["my-model", "OA_SFT_Llama_30B_6"]
    assert models[0]["description"] == "Smollm2 135M 8k Lc100K Mix1 Ep2, 98 MB, run on this machine"
    assert answer["work_parameters"]["model_config"]["model_id"] == "my-model"
    assert 1 <= len(received) <= 9
    assert "".join(event["text"] for event in received[:-1]) == received[-1]["message"]["content"]


@real
def test_the_context_is_respected(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than it is answered all the same, with room for the answer, and a whole system prompt."""
    monkeypatch.setattr(embedded_module, "MOST_CONTEXT_TOKENS", 256)
    sent: list[Any] = []
    write = embedded_module._write

    def record(*request: Any) -> Iterator[str]:
        sent.append(request)
        return write(*request)

    monkeypatch.setattr(embedded_module, "_write", record)
    system = {"role": "system", "content": "Be brief."}
    model = Embedded(own)
    for words in (150, 230, 5000):
        question = {"role": "user", "content": " ".join(["word"] * words)}
        list(model.generate([system, question], {"max_new_tokens": 4}, threading.Event()))
    model.close()
    words_sent = [len(request[1]["messages"][1]["content"]) // 5 for request in sent]

    # About as many tokens, and some for the template: 230 and 5000 are shortened, the latter twice, and before
    # anything else to 64 characters for each of the 192 tokens that there is room for.
    assert words_sent == pytest.approx([149, 229, 174, 2406, 186, 172], abs=12)
    assert {request[1]["messages"][0]["content"] for request in sent} == {"Be brief."}


@real
def test_an_answer_that_nobody_wants_is_not_begun(embedded: Embedded) -> None:
    """The model does not even read the question."""
    cancelled = threading.Event()
    cancelled.set()

    assert list(embedded.generate([{"role": "user", "content": "word " * 2000}], {}, cancelled)) == []


@real
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork, and glibc's on_exit")
def test_a_forked_child_can_leave() -> None:
    """With its own status, and with what it has printed, instead of waiting for llama.cpp's threads for ever."""
    code = (
        "import os, sys\n"
        "from oa_client.local._models.embedded import Embedded\n"
        "model = Embedded()\n"
        "if os.fork() == 0:\n"
        "    print('child', flush=False)\n"
        "    sys.exit(3)\n"
        "status = os.waitstatus_to_exitcode(os.wait()[1])\n"
        "model.close()\n"
        "print('parent', status)\n"
    )
    # From Python 3.12 on there is a warning where a process with threads forks.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "child\nparent 3\n", "")


@real
def test_the_runtime_understands_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value is read back from the runtime's settings; a wrong name would be ignored silently."""
    monkeypatch.setattr("secrets.token_urlsafe", lambda length: "key")
    model = Embedded()
    values = {"top_k": 7, "top_p": 0.5, "typical_p": 0.25, "temperature": 0.75, "repetition_penalty": 1.25}
    with requests.post(
        f"{model._server.listening_address}/completion",
        json={"prompt": "a", **to_fields({**values, "max_new_tokens": 3})},
        headers={"Authorization": "Bearer key"},
        timeout=PATIENCE,
    ) as response:
        settings = response.json()["generation_settings"]
    with requests.post(f"{model._server.listening_address}/completion", json={}, timeout=PATIENCE) as refused:
        status = refused.status_code
    model.close()

    assert status == 401
    assert (settings["top_k"], settings["max_tokens"]) == (7, 3)
    assert [settings[name] for name in ("top_p", "typical_p", "temperature", "repeat_penalty")] == pytest.approx(
        [0.5, 0.25, 0.75, 1.25]
    )


@real
def test_a_chat_template_that_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    """The error names the template, and does not take the file for damaged."""
    data = MODEL.path.read_bytes()
    start = data.index(b"tokenizer.chat_template") + len("tokenizer.chat_template") + 4 + 8
    path = tmp_path / "odd.gguf"
    path.write_bytes(data[:start] + b"{% bogus %}" + data[start + 11 :])
    with pytest.raises(LocalServerError, match=r"the chat template in the model file .*odd\.gguf cannot be used"):
        Embedded(path)
