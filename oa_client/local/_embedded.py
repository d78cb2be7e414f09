"""A small model in this process, run by llama.cpp through xllamacpp."""

from __future__ import annotations

import importlib
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oa_client.local._errors import INSTALL, LocalServerError
from oa_client.local._weights import MODEL

SLOTS = 2
CONTEXT_TOKENS = 8192  # shared between the slots
MOST_NEW_TOKENS = 256  # a model this small starts to repeat itself after that
DEFAULT_TEMPERATURE = 0.0  # at 0.1 every third answer to an English question comes in French
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant. Answer in English."

FIELD_NAMES = {
    "top_k": "top_k",
    "top_p": "top_p",
    "typical_p": "typical_p",
    "temperature": "temperature",
    "repetition_penalty": "repeat_penalty",
    "max_new_tokens": "max_tokens",
}
"""Open-Assistant's sampling names and llama.cpp's, which ignores a name that it does not know."""

ROLE_NAMES = {"prompter": "user"}
"""Open-Assistant's role names that differ from the chat template's, which accepts any silently."""

Chunk = Mapping[str, Any]


class Embedded:
    """
    SmolLM2 135M in this process. A demo: it writes fluent English and is often wrong.

    Loading takes about 0.4 s and 240 MB. Half of the machine's cores are used, since llama.cpp's
    threads wait for each other by spinning: with all of them taken, one busy neighbour makes it
    four times slower than with half.

    Raises:
        LocalServerError: if the model is not downloaded, xllamacpp is not installed, or the file
            cannot be loaded.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.name = MODEL.name
        self.description = f"A small demo model ({MODEL.parameters} parameters) that is often wrong"
        self.slots = SLOTS
        self._pid = os.getpid()
        self._server: Any = _load(path or _downloaded_path())

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        cancelled: threading.Event,
    ) -> Iterator[str]:
        """
        Yield the answer as the model writes it, at most `MOST_NEW_TOKENS` tokens.

        Raises:
            LocalServerError: in a forked child, where the model's threads do not exist, or when closed.
            RuntimeError: what the model reports, such as a conversation that is too long for it.
        """
        if os.getpid() != self._pid:
            raise LocalServerError("the embedded model does not survive a fork: start a server in the child")
        if (server := self._server) is None:
            raise LocalServerError("the embedded model is closed")
        left = threading.Event()
        pieces: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()

        def receive(chunk: Chunk) -> bool:
            # xllamacpp swallows what a callback raises and then stops without a word.
            try:
                for piece in _texts(chunk):
                    pieces.put(piece)
            except Exception as error:
                pieces.put(error)
                return True
            return cancelled.is_set() or left.is_set()

        body = {"messages": to_chat(messages), "stream": True, **to_fields(sampling)}
        thread = threading.Thread(
            target=_complete, args=(server, body, receive, pieces), name="oa-client local model", daemon=True
        )
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            left.set()
            thread.join()

    def close(self) -> None:
        """Unload the model; idempotent."""
        self._server = None


def to_fields(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """
    Translate Open-Assistant's sampling parameters into llama.cpp's request fields.

    None is left out, since llama.cpp refuses it; the temperature is low unless the caller said
    otherwise, and the number of new tokens lies between 1 and `MOST_NEW_TOKENS`: 0 and less would
    mean "without end".
    """
    said = {FIELD_NAMES[name]: value for name, value in sampling.items() if value is not None}
    most = said.get("max_tokens", MOST_NEW_TOKENS)
    return {
        "temperature": DEFAULT_TEMPERATURE,
        **said,
        "max_tokens": max(1, min(most, MOST_NEW_TOKENS)),
    }


def to_chat(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """
    Translate role names, and put a system prompt first where there is none.

    Without one the model's template makes up its own, and the answers to an English question come
    in French.
    """
    chat = [
        {"role": ROLE_NAMES.get(message["role"], message["role"]), "content": message["content"]}
        for message in messages
    ]
    if not chat or chat[0]["role"] != "system":
        chat.insert(0, {"role": "system", "content": DEFAULT_SYSTEM_PROMPT})
    return chat


def _downloaded_path() -> Path:
    if not MODEL.downloaded:
        megabytes = round(MODEL.download_bytes / 1e6)
        raise LocalServerError(
            f"the model {MODEL.name} is not downloaded: run `oa-client setup` ({megabytes} MB, once)"
        )
    return MODEL.path


def _load(path: Path) -> Any:
    try:
        # By name: the package carries no types.
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalServerError(f"the model runtime is not installed: {INSTALL}") from error
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx = CONTEXT_TOKENS
    settings.n_parallel = SLOTS
    threads = max(1, (os.cpu_count() or 1) // 2)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = 0
    settings.warmup = False
    # xllamacpp opens an HTTP server of its own, by default without a key and to every web page.
    settings.api_keys = [secrets.token_urlsafe(32)]
    # Before the release of June 2026 it was called webui.
    setattr(settings, "ui" if hasattr(settings, "ui") else "webui", False)
    try:
        return xllamacpp.Server(settings)
    except RuntimeError as error:
        raise LocalServerError(f"could not load the model file {path}: delete it and run `oa-client setup`") from error


def _complete(
    server: Any,
    body: Mapping[str, Any],
    receive: Callable[[Chunk], bool],
    pieces: queue.SimpleQueue[str | Exception | None],
) -> None:
    try:
        server.handle_chat_completions(body, receive)
    except Exception as error:
        pieces.put(error)
    finally:
        pieces.put(None)


def _texts(chunk: Chunk) -> Iterator[str]:
    """Yield the texts of one chunk, in which llama.cpp reports its errors too."""
    if (error := chunk.get("error")) is not None:
        raise RuntimeError(error.get("message") or "the model failed")
    for choice in chunk.get("choices", ()):
        if text := choice["delta"].get("content"):
            yield text
