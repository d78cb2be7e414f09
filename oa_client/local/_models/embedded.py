"""A model in this process, run by llama.cpp through xllamacpp."""

from __future__ import annotations

import ctypes
import importlib
import os
import queue
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oa_client.local._errors import INSTALL, LocalServerError
from oa_client.local._models.gguf import ModelHeader, read_header
from oa_client.local._models.weights import MODEL
from oa_client.local._models.window import shortened

SLOTS = 2
MOST_CONTEXT_TOKENS = 4096  # for each slot; llama.cpp keeps room for all of them from the start
PROMPT_SHARE = 0.75  # of the context; the rest is for the answer
# On the average: what is longer cannot fit. To count special tokens llama.cpp takes the square of their number.
TOKEN_CHARACTERS = 64
BATCH_TOKENS = 256  # of a prompt, read between two looks at whether anybody wants the answer


@dataclass(frozen=True)
class Manner:
    """
    How a model is asked.

    None is what the model, or its chat template, does by itself.
    """

    name: str
    description: str
    context_tokens: int = MOST_CONTEXT_TOKENS
    most_new_tokens: int | None = None
    temperature: float | None = None
    system_prompt: str | None = None


DEMO = Manner(
    MODEL.name,
    f"A small demo model ({MODEL.parameters} parameters) that is often wrong",
    most_new_tokens=256,  # a model this small starts to repeat itself after that
    temperature=0.0,  # at 0.1 every third answer to an English question comes in French
    # Without one the model's template makes up its own, and the answers to an English question come in French.
    system_prompt="You are a helpful assistant. Answer in English.",
)

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


class TooLongError(Exception):
    """The model was not asked, since the prompt has so many tokens."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


class Embedded:
    """
    A model in this process: SmolLM2 135M, which writes fluent English and is often wrong, or any GGUF file.

    Loading SmolLM2 takes about 0.4 s and 240 MB; during that time the process does nothing else. Half
    of the machine's cores are used, since llama.cpp's threads wait for each other by spinning: with
    all of them taken, one busy neighbour makes it four times slower than with half.

    Each answer has a context of the model's own size, but of `MOST_CONTEXT_TOKENS` at most. A
    conversation that takes more than three quarters of it loses its oldest turns, and in the end the
    beginning of the question, as on the real server; the system prompt stays.

    Nothing is downloaded here.

    Args:
        model: a GGUF file with a chat model; its name without the ending becomes the model's name.
            Without it, SmolLM2 as `oa-client setup` has put it on this machine.

    Raises:
        LocalServerError: if the model is not downloaded, xllamacpp is not installed, or the file is not
            there, not whole, not GGUF, has a chat template that llama.cpp does not understand, or cannot
            be loaded.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None) -> None:
        if model is None:
            path, self._manner, has_template = _downloaded_path(), DEMO, False
            advice = "delete it and run `oa-client setup`"
        else:
            path = Path(model).expanduser()
            header = read_header(path)
            self._manner, has_template = _manner(header), header.has_template
            kind = header.architecture or "unknown"
            advice = (
                f"it may be damaged, need more memory than there is, or be of a kind ({kind}) that the installed "
                "xllamacpp does not know or that does not write text"
            )
        self.name = self._manner.name
        self.description = self._manner.description
        self.slots = SLOTS
        self._pid = os.getpid()
        self._server: Any = _load(path, self._manner.context_tokens, has_template, advice)
        _loaded.add(self)

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        cancelled: threading.Event,
    ) -> Iterator[str]:
        """
        Yield the answer as the model writes it.

        Cancelled, it ends at the next token, or after `BATCH_TOKENS` of the prompt.

        Raises:
            LocalServerError: in a forked child, where the model's threads do not exist, or when closed.
            RuntimeError: what the model reports, or if the system prompt leaves no room for a question.
        """
        if os.getpid() != self._pid:
            raise LocalServerError("the embedded model does not survive a fork: start a server in the child")
        if (server := self._server) is None:
            raise LocalServerError("the embedded model is closed")
        limit = int(self._manner.context_tokens * PROMPT_SHARE)
        chat = to_chat(messages, self._manner)
        fields = to_fields(sampling, self._manner)
        most = limit * TOKEN_CHARACTERS
        if (length := sum(len(turn["content"]) for turn in chat)) > most:
            chat = shortened(chat, most / length)
        while True:
            try:
                yield from _write(server, {"messages": chat, **fields}, limit, cancelled)
            except TooLongError as error:
                # Counted by the model before it has read anything, in some milliseconds.
                chat = shortened(chat, limit / error.tokens)
            else:
                return

    def close(self) -> None:
        """Unload the model; idempotent."""
        self._server = None


def to_fields(sampling: Mapping[str, Any], manner: Manner = DEMO) -> dict[str, Any]:
    """
    Translate Open-Assistant's sampling parameters into llama.cpp's request fields.

    None is left out, since llama.cpp refuses it. The number of new tokens lies between 1 and what
    the model is good for: 0 and less would mean "without end".
    """
    said = {FIELD_NAMES[name]: value for name, value in sampling.items() if value is not None}
    if manner.temperature is not None:
        said.setdefault("temperature", manner.temperature)
    most = manner.most_new_tokens or manner.context_tokens
    said["max_tokens"] = max(1, min(said.get("max_tokens", most), most))
    return said


def to_chat(messages: Sequence[Mapping[str, str]], manner: Manner = DEMO) -> list[dict[str, str]]:
    """Translate role names, and put the model's system prompt first where there is none."""
    chat = [
        {"role": ROLE_NAMES.get(message["role"], message["role"]), "content": message["content"]}
        for message in messages
    ]
    if manner.system_prompt is not None and (not chat or chat[0]["role"] != "system"):
        chat.insert(0, {"role": "system", "content": manner.system_prompt})
    return chat


def _manner(header: ModelHeader) -> Manner:
    about = f"{header.title or header.name}, {round(header.file_bytes / 1e6)} MB, run on this machine"
    if not header.has_template:
        about += "; its file has no chat template, so ChatML is used, which it may not understand"
    context = min(header.context_tokens or MOST_CONTEXT_TOKENS, MOST_CONTEXT_TOKENS)
    return Manner(header.name, about, context_tokens=context)


def _downloaded_path() -> Path:
    if not MODEL.downloaded:
        megabytes = round(MODEL.download_bytes / 1e6)
        raise LocalServerError(
            f"the model {MODEL.name} is not downloaded: run `oa-client setup` ({megabytes} MB, once)"
        )
    return MODEL.path


def _load(path: Path, context_tokens: int, has_template: bool, advice: str) -> Any:
    try:
        # By name: the package carries no types.
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalServerError(f"the model runtime is not installed: {INSTALL}") from error
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx = context_tokens * SLOTS  # shared between the slots
    settings.n_parallel = SLOTS
    settings.n_batch = BATCH_TOKENS
    threads = max(1, (os.cpu_count() or 1) // 2)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = 0
    settings.warmup = False
    settings.endpoint_metrics = True  # asked for below
    # xllamacpp opens an HTTP server of its own, by default without a key and to every web page.
    settings.api_keys = [secrets.token_urlsafe(32)]
    # Before the release of June 2026 it was called webui.
    setattr(settings, "ui" if hasattr(settings, "ui") else "webui", False)
    try:
        return _start(xllamacpp, settings)
    except RuntimeError as error:
        if has_template and _loads_without_template(xllamacpp, settings):
            raise LocalServerError(
                f"the chat template in the model file {path} cannot be used: llama.cpp does not understand it. "
                "The rest of the file is good; take a file of this model with another template"
            ) from error
        raise LocalServerError(f"could not load the model file {path}: {advice}") from error


def _start(xllamacpp: Any, settings: Any) -> Any:
    # NOTE: no watchdog. It holds the interpreter's lock until it is done, so that no thread could watch it.
    server = xllamacpp.Server(settings)
    # Its loop may be yet to begin, and it would not hear then that it is to end: the destructor would wait without
    # end, with the interpreter's lock. So something is asked that the loop alone can answer.
    server.handle_metrics()
    return server


def _loads_without_template(xllamacpp: Any, settings: Any) -> bool:
    """Whether nothing but its chat template keeps a model from being loaded, which llama.cpp does not tell."""
    settings.chat_template = "chatml"
    try:
        _start(xllamacpp, settings)
    except RuntimeError:
        return False
    return True


def _write(server: Any, body: Mapping[str, Any], limit: int, cancelled: threading.Event) -> Iterator[str]:
    """
    Yield the answer to one request, in which the prompt may have `limit` tokens.

    Raises:
        TooLongError: before anything else, if it has more.
    """
    left = threading.Event()
    pieces: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()

    def receive(chunk: Chunk) -> bool:
        # xllamacpp swallows what a callback raises and then stops without a word.
        try:
            for piece in _texts(chunk, limit):
                pieces.put(piece)
        except Exception as error:
            pieces.put(error)
            return True
        return cancelled.is_set() or left.is_set()

    # With the progress the callback comes before the prompt is read and after each batch of it.
    request = {**body, "stream": True, "return_progress": True}
    thread = threading.Thread(
        target=_complete, args=(server, request, receive, pieces), name="oa-client local model", daemon=True
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


def _texts(chunk: Chunk, limit: int) -> Iterator[str]:
    """Yield the texts of one chunk, in which llama.cpp reports its errors too."""
    if (error := chunk.get("error")) is not None:
        if error.get("type") == "exceed_context_size_error":
            raise TooLongError(error["n_prompt_tokens"])
        raise RuntimeError(error.get("message") or "the model failed")
    if (progress := chunk.get("prompt_progress")) is not None and progress["total"] > limit:
        raise TooLongError(progress["total"])
    for choice in chunk.get("choices", ()):
        if text := choice["delta"].get("content"):
            yield text


_loaded: weakref.WeakSet[Embedded] = weakref.WeakSet()


def _leave_without_unloading() -> None:
    """
    Have a forked child end without the destructors of llama.cpp, which wait for threads that it does not have.

    Those of the models are never called, and those of the library are jumped over: glibc calls what was
    registered last first, and that is `_exit` with the child's own status. Elsewhere than on Linux
    with glibc a child that ends by `sys.exit` hangs; `os._exit`, as multiprocessing's, is always good.
    """
    servers = [model._server for model in _loaded if model._server is not None]
    if not servers:
        return
    for server in servers:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    if hasattr(_libc, "on_exit"):
        _libc.on_exit(_libc._exit, None)


if hasattr(os, "register_at_fork"):
    _libc = ctypes.CDLL(None)  # not in the child, where a thread that is not there may hold the loader's lock
    os.register_at_fork(after_in_child=_leave_without_unloading)
