"""The server's list of models, each with its presets of sampling parameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from oa_client.local._models.backends import Backend
from oa_client.local._surfaces.bodies import read_sampling
from oa_client.local._surfaces.refusals import RefusalError

#: The default model of clients of the hosted service.
ALIAS = "OA_SFT_Llama_30B_6"

_PRESETS: tuple[tuple[str, str, dict[str, float]], ...] = (
    (
        "k50",
        "Top-k sampling with k=50",
        {"top_k": 50, "top_p": 0.95, "temperature": 0.75, "repetition_penalty": 1.2},
    ),
    (
        "k50-Creative",
        "Top-k sampling with k=50, higher temperature",
        {"top_k": 50, "top_p": 0.95, "temperature": 0.85, "repetition_penalty": 1.2},
    ),
    (
        "k50-Precise",
        "Top-k sampling with k=50, low temperature",
        {"top_k": 50, "top_p": 0.95, "temperature": 0.1, "repetition_penalty": 1.2},
    ),
    (
        "k50-Original",
        "Top-k sampling with k=50, highest temperature",
        {"top_k": 50, "top_p": 0.95, "temperature": 0.9, "repetition_penalty": 1.2},
    ),
    (
        "k50-Plugins",
        "Top-k sampling with k=50 and temperature=0.35",
        {"top_k": 50, "temperature": 0.35, "repetition_penalty": 1.1111111111111112},
    ),
    (
        "nucleus9",
        "Nucleus sampling with p=0.9",
        {"top_p": 0.9, "temperature": 0.8, "repetition_penalty": 1.2},
    ),
    (
        "typical2",
        "Typical sampling with p=0.2",
        {"typical_p": 0.2, "temperature": 0.8, "repetition_penalty": 1.2},
    ),
    (
        "typical3",
        "Typical sampling with p=0.3",
        {"typical_p": 0.3, "temperature": 0.8, "repetition_penalty": 1.2},
    ),
)


class Models:
    """
    The model of each backend under its own name, and the first also under the clients' default name.

    Args:
        backends: at least one.
        allowed: the names that may be used, None being all.
    """

    def __init__(self, backends: Sequence[Backend], allowed: Collection[str] | None = None) -> None:
        self._first = first = backends[0]
        self._allowed = allowed
        self._backends = {backend.name: backend for backend in backends}
        descriptions = {name: backend.description for name, backend in self._backends.items()}
        if ALIAS not in self._backends:
            descriptions[ALIAS] = f"Not that model: another name of {first.name}, which answers. {first.description}"
        self._descriptions = {
            name: description for name, description in descriptions.items() if allowed is None or name in allowed
        }

    def check(self, name: str) -> None:
        """
        Check that a model may be asked.

        Raises:
            RefusalError: 422 if it is not allowed, or missing.
        """
        if self._allowed is not None and name not in self._allowed:
            raise RefusalError(422, f"Model {name} not in allowed models: {','.join(self._allowed)}")
        if name not in self._descriptions:
            raise RefusalError(422, f"Model {name} not found")

    def backend(self, name: str) -> Backend:
        """Return the backend of the model with this name; the first if it is missing."""
        return self._backends.get(name, self._first)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the list as the server sends it."""
        presets = [
            {
                "name": name,
                "description": description,
                "sampling_parameters": read_sampling(values),
            }
            for name, description, values in _PRESETS
        ]
        return [
            {"name": name, "description": description, "parameter_configs": presets}
            for name, description in self._descriptions.items()
        ]
