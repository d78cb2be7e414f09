"""The embedded model: its shape, never its words."""

from __future__ import annotations

import os
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
from oa_client.local._embedded import DEFAULT_SYSTEM_PROMPT, Embedded, to_chat, to_fields
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


@pytest.mark.parametrize(("asked", "given"), [(1024, 256), (256, 256), (1, 1), (0, 1), (-1, 1)])
def test_new_tokens_are_capped(asked: int, given: int) -> None:
    """And never without end, which is what llama.cpp takes -1 for."""
    assert to_fields({"max_new_tokens": asked})["max_tokens"] == given


def test_there_is_always_a_system_prompt() -> None:
    """The default stands first where the conversation has none, and prompters are users."""
    system = {"role": "system", "content": "Be brief."}

    assert to_chat([system, *USER]) == [system, *USER]
    assert to_chat([{"role": "prompter", "content": "hi"}]) == [
        {"role": "system", "content": DEFAULT_SYSTEM_PROMPT},
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


class Chunks:
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


def test_the_runtime_is_shut_off_and_careful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key on its own web server, no pages on it, half of the cores, two slots."""
    settings = fake_runtime(monkeypatch, lambda settings: Chunks())
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    Embedded(Path("model"))

    assert len(settings.api_keys[0]) > 30
    assert settings.ui is False
    assert settings.cpuparams.n_threads == settings.cpuparams_batch.n_threads == 3
    assert settings.n_parallel == 2
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    Embedded(Path("model"))
    assert settings.cpuparams.n_threads == 1


def test_pieces_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks without text are skipped."""
    chunks = Chunks(text(None), text("a"), {"choices": []}, {"timings": {}}, text("b"))
    fake_runtime(monkeypatch, lambda settings: chunks)

    assert list(Embedded(Path("model")).generate(USER, {}, threading.Event())) == ["a", "b"]


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
    monkeypatch: pytest.MonkeyPatch, chunk: Any, error: type[Exception], message: str
) -> None:
    """What the runtime would swallow, reports as a chunk or raises is raised where the text is read."""
    fake_runtime(monkeypatch, lambda settings: Chunks(text("a"), chunk, text("never")))
    pieces = Embedded(Path("model")).generate(USER, {}, threading.Event())

    assert next(pieces) == "a"
    with pytest.raises(error, match=message):
        next(pieces)


def test_a_cancelled_answer_stops_at_the_next_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback says so to the runtime."""
    chunks = Chunks(text("a"), text("b"))
    fake_runtime(monkeypatch, lambda settings: chunks)
    cancelled = threading.Event()
    cancelled.set()
    list(Embedded(Path("model")).generate(USER, {}, cancelled))

    assert chunks.stopped_at == 0


def test_without_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LocalServerError, match=r"pip install 'oa-client\[local\]'"):
        Embedded(Path("model"))


def test_a_file_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it and what to do."""

    def fail(settings: object) -> None:
        raise RuntimeError("Failed to init server")

    fake_runtime(monkeypatch, fail)
    with pytest.raises(LocalServerError, match=r"could not load the model file model.*oa-client setup"):
        Embedded(Path("model"))


def test_a_closed_or_forked_model_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear error instead of waiting for threads that are not there."""
    fake_runtime(monkeypatch, lambda settings: Chunks())
    model = Embedded(Path("model"))
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


@real
def test_a_conversation_that_is_too_long_is_an_error(embedded: Embedded) -> None:
    """The runtime's own words are raised."""
    with pytest.raises(RuntimeError, match="context"):
        list(embedded.generate([{"role": "user", "content": "word " * 20_000}], {}, threading.Event()))


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
