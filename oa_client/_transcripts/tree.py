"""The messages of a chat as a tree."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime, timezone

from oa_client._values.json_object import as_utc
from oa_client._values.message import Message

#: The states of complete messages.
SETTLED = ("manual", "complete")
_NO_TIME = datetime.max.replace(tzinfo=timezone.utc)


class Tree:
    """
    The messages of a chat: several answers to a prompt, several prompts after an answer.

    They may come in any order. If two have the same id, the last one counts. A message whose parent is missing is a
    root, and so is the first message of a circle. The order is by time, then by id; messages without a time come last.

    Args:
        messages: of one chat.
        tail_id: a message on the active thread; an id that is not among the messages counts as None.

    Attributes:
        messages: parents before children, otherwise in order.
        tail_id: as given, or None if that message is missing.
    """

    messages: list[Message]
    tail_id: str | None

    def __init__(self, messages: Iterable[Message], tail_id: str | None = None) -> None:
        ordered = sorted({message.id: message for message in messages}.values(), key=_key)
        self._by_id = {message.id: message for message in ordered}
        self._parents = self._find_parents()
        self._children: dict[str | None, list[Message]] = {None: []}
        for message in ordered:
            self._children.setdefault(self._parents[message.id], []).append(message)
        self.tail_id = tail_id if tail_id in self._by_id else None
        self.messages = self._sorted_down()

    def get(self, message_id: str) -> Message | None:
        """Return a message, or None if it is missing."""
        return self._by_id.get(message_id)

    def children(self, message_id: str | None) -> list[Message]:
        """Return the children of a message, in order; None has the roots."""
        return list(self._children.get(message_id, ()))

    def siblings(self, message_id: str) -> list[Message]:
        """Return a message and its siblings, in order; an empty list if the message is missing."""
        return self.children(self._parents[message_id]) if message_id in self._by_id else []

    def path(self, message_id: str) -> list[Message]:
        """Return the messages from the root to this one; an empty list if it is missing."""
        path = []
        here: str | None = message_id if message_id in self._by_id else None
        while here is not None:
            path.append(self._by_id[here])
            here = self._parents[here]
        return path[::-1]

    def thread(self) -> list[Message]:
        """
        Return the active thread, from a root to a leaf.

        At each level, take the branch that holds the tail, or else the newest complete message, or else the newest.
        """
        active = {message.id for message in self.path(self.tail_id)} if self.tail_id is not None else set()
        thread = []
        level = self._children[None]
        while level:
            # max() takes the first of equals, so the newest.
            message = max(reversed(level), key=lambda item: (item.id in active, item.state in SETTLED))
            thread.append(message)
            level = self._children.get(message.id, [])
        return thread

    def _find_parents(self) -> dict[str, str | None]:
        """Return the parent of each message, by id; a circle is opened at its first message."""
        parents = {item.id: item.parent_id if item.parent_id in self._by_id else None for item in self._by_id.values()}
        # The walk up that reached each message first, so that none is visited twice.
        walks: dict[str, str] = {}
        for start in self._by_id:
            here: str | None = start
            while here is not None and here not in walks:
                walks[here] = start
                here = parents[here]
            if here is not None and walks[here] == start:
                parents[self._first_of_circle(parents, here)] = None
        return parents

    def _first_of_circle(self, parents: dict[str, str | None], member: str) -> str:
        circle = [member]
        while (here := parents[circle[-1]]) is not None and here != member:
            circle.append(here)
        return min((self._by_id[item] for item in circle), key=_key).id

    def _sorted_down(self) -> list[Message]:
        ranks = {message_id: rank for rank, message_id in enumerate(self._by_id)}
        ready = [(ranks[message.id], message) for message in self._children[None]]
        messages = []
        while ready:
            _, message = heapq.heappop(ready)
            messages.append(message)
            for child in self._children.get(message.id, ()):
                heapq.heappush(ready, (ranks[child.id], child))
        return messages


def _key(message: Message) -> tuple[bool, datetime, str]:
    time = message.created_at
    return time is None, _NO_TIME if time is None else as_utc(time), message.id
