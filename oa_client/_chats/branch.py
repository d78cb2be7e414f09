"""The branch of a chat that is in use, and its end."""

from __future__ import annotations

from typing import NamedTuple

from oa_client._calls.cleanup import blocking_state
from oa_client._transcripts.tree import Tree
from oa_client._values.message import Message

#: States in which an answer is still to come.
OPEN_STATES = frozenset({"pending", "in_progress"})


class Prompt(NamedTuple):
    """A prompt in a chat."""

    id: str
    parent_id: str | None
    content: str | None

    @classmethod
    def of(cls, message: Message) -> Prompt:
        """Return the prompt in a message."""
        return cls(message.id, message.parent_id, message.content)


class UncertainPrompt(NamedTuple):
    """A prompt that the server may have taken or not; nobody has asked for its answer."""

    parent_id: str | None
    text: str

    def find(self, tree: Tree) -> Message | None:
        """Return the prompt if the server took it."""
        for message in reversed(tree.children(self.parent_id)):
            if message.role == "prompter" and message.content == self.text and not tree.children(message.id):
                return message
        return None


class Branch(NamedTuple):
    """
    The branch in use.

    Attributes:
        tail: the message that it runs through; None stands for the server's choice.
        ends_there: whether it ends there; otherwise it goes on to the newest messages below.
        uncertain: a prompt that may be its last message instead.
    """

    tail: str | None = None
    ends_there: bool = False
    uncertain: UncertainPrompt | None = None

    def resolve(self, tree: Tree) -> Branch:
        """Return the branch without an uncertain prompt."""
        if self.uncertain is None:
            return self
        prompt = self.uncertain.find(tree)
        if prompt is not None:
            return Branch(prompt.id)
        return Branch(self.uncertain.parent_id, ends_there=self.uncertain.parent_id is not None)


class BranchEnd(NamedTuple):
    """
    The end of the branch in use.

    Attributes:
        prompt: the last prompt; None if the chat is empty.
        answer_id: its answer; None if it has none and none is coming.
        is_open: whether the answer may be incomplete.
    """

    prompt: Prompt | None = None
    answer_id: str | None = None
    is_open: bool = False

    def has(self, message: Message) -> bool:
        """Return whether a message is one of the two."""
        return message.id in (self.answer_id, None if self.prompt is None else self.prompt.id)


def has_failed(answer: Message) -> bool:
    """Return whether an answer is not complete and never will be."""
    if answer.state in OPEN_STATES:
        # An answer that should have come long ago no longer comes.
        return blocking_state([answer]) is None
    return answer.state != "complete"
