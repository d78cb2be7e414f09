"""Models of another server, which has an OpenAI-compatible API: Ollama, vLLM, llama.cpp, LM Studio and others."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from oa_client.local._errors import INSTALL, LocalServerError

if TYPE_CHECKING:
    from oa_client.local._models.upstream import Upstream

SLOTS = 8  # the other server has a queue of its own
MOST_MODELS = 100  # are listed

FIELD_NAMES = {"top_p": "top_p", "temperature": "temperature", "max_new_tokens": "max_tokens"}
"""Open-Assistant's sampling names and those of the OpenAI API."""

DROPPED = ("top_k", "typical_p", "repetition_penalty")
"""Sampling names without a counterpart in that API, some of whose servers refuse what they do not know."""


class OpenAI:
    """
    One model of another server.

    What the caller says of `DROPPED` is not passed on, as the description tells; what the caller does
    not say is for the other server to decide.
    """

    def __init__(self, upstream: Upstream, model: str) -> None:
        self.name = _shown(model)
        self.description = (
            f"Answered by {upstream.origin}; {', '.join(DROPPED[:-1])} and {DROPPED[-1]} have no effect there"
        )
        self.slots = SLOTS
        self._upstream = upstream
        self._model = model

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        cancelled: threading.Event,
    ) -> Iterator[str]:
        """
        Yield the answer as it comes. Cancelled, the connection is closed at once, which stops the other server.

        Raises:
            LocalServerError: whatever goes wrong there, or on the way.
        """
        body = {"model": self._model, "messages": list(messages), "stream": True, **to_fields(sampling)}
        return self._upstream.complete(body, cancelled)

    def close(self) -> None:
        """Nothing to give back: each answer has a connection of its own."""


def open_models(*, upstream: str, upstream_model: str | None = None, api_key: str | None = None) -> list[OpenAI]:
    """
    The models that a server lists; that which answers by default first.

    Warns with a `UserWarning` if the key goes to another machine unencrypted.

    Args:
        upstream: the base of its API, such as `http://127.0.0.1:11434/v1`.
        upstream_model: the one that answers by default, else the first that it lists. With it the
            server need not list any, nor be there yet.
        api_key: goes to that address and no other; no variable of the environment is read.

    Raises:
        LocalServerError: if the extra is not installed, the address is none, or no model is named and none can be
            listed.
    """
    try:
        from oa_client.local._models.upstream import Upstream
    except ImportError as error:
        raise LocalServerError(f"the backend 'openai' is not installed: {INSTALL}") from error
    server = Upstream(upstream, api_key)
    if server.is_exposed:
        warnings.warn(
            f"the key of the upstream goes to {server.origin} unencrypted, for all on the way to read: use https",
            stacklevel=2,
        )
    if upstream_model is None:
        try:
            models = server.models()
        except LocalServerError as error:
            advice = "if it lists no models, name one with upstream_model= or --upstream-model"
            raise LocalServerError(f"{error} ({advice})") from None
        if not models:
            raise LocalServerError(f"the upstream {server.origin} lists no model: give it one")
    else:
        models = [upstream_model]
        with contextlib.suppress(LocalServerError):
            models += server.models()
    return [OpenAI(server, model) for model in dict.fromkeys(models[:MOST_MODELS])]


def to_fields(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Open-Assistant's sampling parameters; what has no counterpart, or was not said, is left out."""
    said = {FIELD_NAMES[name]: value for name, value in sampling.items() if name in FIELD_NAMES and value is not None}
    if "max_tokens" in said:
        said["max_tokens"] = max(1, said["max_tokens"])  # less is refused
    return said


def _shown(model: str) -> str:
    """A model's name as it is listed; llama.cpp calls its model by the path of the file."""
    for path in (PurePosixPath(model), PureWindowsPath(model)):
        if path.is_absolute():
            return path.name
    return model
