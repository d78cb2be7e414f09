"""Which branch of a chat is in use, and how it ends."""

from __future__ import annotations

from typing import NamedTuple

from oa_client._calls.cleanup import blocking_state
from oa_client._transcripts.tree import Tree
from oa_client._values.message import Message

#: States in which an answer is still to come.
OPEN_STATES = frozenset({"pending", "in_progress"})


class Prompt(NamedTuple):
    """A prompt that stands in a chat."""

    id: str
    parent_id: str | None
    content: str | None

    @classmethod
    def of(cls, message: Message) -> Prompt:
        """Return what matters here of a message."""
        return cls(message.id, message.parent_id, message.content)


class Doubt(NamedTuple):
    """A prompt of which it is not known whether the server took it; nobody has asked for an answer to it."""

    parent_id: str | None
    text: str

    def find(self, tree: Tree) -> Message | None:
        """Return the prompt if it was taken."""
        for message in reversed(tree.children(self.parent_id)):
            if message.role == "prompter" and message.content == self.text and not tree.children(message.id):
                return message
        return None


class Branch(NamedTuple):
    """
    Which branch is in use.

    Attributes:
        tail: the message that it runs through; None is the one that the server knows of.
        ends_there: whether it ends there; else it goes on to the newest messages below.
        doubt: a prompt that may be its last, instead.
    """

    tail: str | None = None
    ends_there: bool = False
    doubt: Doubt | None = None

    def resolve(self, tree: Tree) -> Branch:
        """Return the branch without a doubt."""
        if self.doubt is None:
            return self
        prompt = self.doubt.find(tree)
        if prompt is not None:
            return Branch(prompt.id)
        return Branch(self.doubt.parent_id, ends_there=self.doubt.parent_id is not None)


class End(NamedTuple):
    """
    The end of the branch in use.

    Attributes:
        prompt: the last one; None if the chat is empty.
        answer_id: its answer; None if there is none and none is coming.
        is_open: whether it is not known that the answer is complete.
    """

    prompt: Prompt | None = None
    answer_id: str | None = None
    is_open: bool = False

    def has(self, message: Message) -> bool:
        """Whether a message is one of the two."""
        return message.id in (self.answer_id, None if self.prompt is None else self.prompt.id)


def has_failed(answer: Message) -> bool:
    """Whether an answer is not complete and never will be."""
    if answer.state in OPEN_STATES:
        # One that should have come long ago does not come any more.
        return blocking_state([answer]) is None
    return answer.state != "complete"
