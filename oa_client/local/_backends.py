"""What can answer: the protocol of a backend, and one that needs no model."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Backend(Protocol):
    """
    Something that writes an answer.

    Attributes:
        name: the model's name, as the server lists it.
        description: a sentence for people who choose a model.
        slots: how many answers it can write at once, at least 1.
    """

    name: str
    description: str
    slots: int

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        cancelled: threading.Event,
    ) -> Iterator[str]:
        """
        Yield the answer piece by piece. Called in a thread of its own for each answer.

        Args:
            messages: `{"role", "content"}` from the first to the one to be answered. Roles are
                "system" (only the first one), "user" and "assistant".
            sampling: Open-Assistant's six names, None where the caller did not say.
            cancelled: set when nobody wants the answer any more; return within one token then.

        Raises:
            Exception: any; its text becomes the `error` event of the answer.
        """
        ...

    def close(self) -> None:
        """Give everything back. Called once, with no answer under way."""
        ...


class Lorem:
    """
    Pseudo-Latin without a model: the same words every time, one word a token, with no delay.

    Writes `max_new_tokens` words, at most `MOST_WORDS`.
    """

    MOST_WORDS = 100_000  # they wait in memory when nobody reads them

    WORDS = (
        *("lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do"),
        *("eiusmod", "tempor", "incididunt", "ut", "labore", "et", "dolore", "magna", "aliqua"),
    )

    def __init__(self) -> None:
        self.name = "lorem"
        self.description = "Not a model: pseudo-Latin words, the same every time"
        self.slots = 2

    def generate(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        cancelled: threading.Event,
    ) -> Iterator[str]:
        """Yield the words, each but the first with a leading space, as a tokenizer would cut them."""
        count = min(sampling["max_new_tokens"], self.MOST_WORDS)
        words = itertools.cycle(self.WORDS)
        for index in range(count):
            if cancelled.is_set():
                return
            word = next(words)
            yield f" {word}" if index else word.capitalize()

    def close(self) -> None:
        """Nothing to give back."""
