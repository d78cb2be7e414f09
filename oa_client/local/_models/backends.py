"""The protocol of a backend, and a backend without a model."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

#: characters shown of an error; a traceback in it would be much longer
MOST_SAID = 500

# A file's path up to its last part, on POSIX and Windows; the slashes of a URL, a date or "and/or" are none.
_FOLDERS = re.compile(r"""(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'"]+[/\\])+(?=[^\s/\\])""")
_QUOTED_FOLDERS = re.compile(r"""(?<=['"])(?:[A-Za-z]:)?[/\\](?:[^/\\:'"]+[/\\])*(?=[^/\\'"]+['"])""")
_TRACEBACK = "Traceback (most recent call last)"


@runtime_checkable
class Backend(Protocol):
    """
    Writes answers; any object with these members is a backend.

        class Shout:
            name = "shout"
            description = "Says what you said, but louder"
            slots = 4

            def generate(self, messages, sampling, cancelled):
                words = messages[-1]["content"].upper().split()
                for word in words[: sampling["max_new_tokens"]]:
                    if cancelled.is_set():
                        return
                    yield word + " "

            def close(self):
                pass

    `LocalServer(Shout())` answers with it. So that `LocalServer("shout")` and `oa-client serve --backend shout` find it
    by name, its distribution names it in its metadata:

        [options.entry_points]
        oa_client.backends =
            shout = shouting:Shout

    When a server starts, it calls the named object with those of the arguments `model`, `upstream`, `upstream_model`
    and `api_key` that the user gave; the object chooses which of them it takes. It returns a backend, or a list with a
    backend for each of its models, the default first. If the user can mend a failure, it should raise
    `LocalServerError`.

    Attributes:
        name: the model's name in the server's list.
        description: a sentence for people who choose a model.
        slots: how many answers it can write at once, at least 1. Other answers wait in the queue.
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
            messages: `{"role", "content"}`, from the first to the prompt. Roles are
                "system" (only the first one), "user" and "assistant".
            sampling: Open-Assistant's six names, None where the caller did not say;
                `max_new_tokens` is always an integer, perhaps not a positive one.
            cancelled: set when nobody needs the answer any more; return within one token then. Later pieces are
                discarded.

        Raises:
            Exception: any; its text, without folders and at most 500 characters of it, becomes the `error` event
                of the answer, and the server goes on.
        """
        ...

    def close(self) -> None:
        """Release all resources. Called once, when no answer is being written, for backends found by name."""
        ...


def words_of(error: BaseException) -> str:
    """
    Return the text of an error for the user, at most `MOST_SAID` characters.

    Paths are cut to the name of the file, because a user need not know the folders of the server's machine. A traceback
    in the text is cut to its last line.
    """
    words = str(error)
    if isinstance(error, KeyError) and words:  # its text is only the key
        words = f"{type(error).__name__}: {words}"
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    if _TRACEBACK in words:
        words = words.rstrip().rpartition("\n")[2]
    words = _FOLDERS.sub("", _QUOTED_FOLDERS.sub("", words)).strip()
    return words[:MOST_SAID] or type(error).__name__


class Lorem:
    """
    Pseudo-Latin without a model: the same words every time, one word a token, with no delay.

    Writes `max_new_tokens` words, at most `MOST_WORDS`.
    """

    MOST_WORDS = 100_000  # words wait in memory until somebody reads them

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
        """Yield the words, each but the first with a leading space, as a tokenizer would."""
        count = min(sampling["max_new_tokens"], self.MOST_WORDS)
        words = itertools.cycle(self.WORDS)
        for index in range(count):
            if cancelled.is_set():
                return
            word = next(words)
            yield f" {word}" if index else word.capitalize()

    def close(self) -> None:
        """Do nothing: it holds no resources."""
