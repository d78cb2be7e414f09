"""Chats and messages, as they were when they were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FINISHED = frozenset({"complete", "aborted_by_worker"})
"""The states in which the server no longer sends events; "cancelled" and "timeout" are not among them."""
#: The states after which more can come.
UNFINISHED = frozenset({"pending", "in_progress"})


@dataclass(frozen=True)
class StoredMessage:
    """
    One turn of a chat. An answer's `content` is None until it is complete.

    `user_id` is the owner of the chat. `queued` is whether an answer was ever in the queue; if a full queue refused it,
    it was not, and stays pending.
    """

    id: str
    chat_id: str
    user_id: str
    parent_id: str | None
    role: str
    content: str | None
    state: str
    created_at: str
    score: int
    queued: bool
    work_parameters: dict[str, Any] | None
    used_plugin: dict[str, Any] | None
    reports: Sequence[dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Return the message as the server sends it: always with every key, in this order."""
        return {
            "id": self.id,
            "parent_id": self.parent_id,
            "content": self.content,
            "chat_id": self.chat_id,
            "created_at": self.created_at,
            "role": self.role,
            "state": self.state,
            "score": self.score,
            "reports": self.reports,
            "work_parameters": self.work_parameters,
            "safe_content": None,
            "safety_level": None,
            "safety_label": None,
            "safety_rots": None,
            "used_plugin": self.used_plugin,
        }


@dataclass(frozen=True)
class StoredChat:
    """A conversation: a tree of messages, linked by their `parent_id`."""

    id: str
    user_id: str
    created_at: str
    modified_at: str
    title: str | None
    hidden: bool
    allow_data_use: bool
    active_thread_tail_message_id: str | None

    def summary(self) -> dict[str, Any]:
        """Return the chat as in lists, where the active message is always null, even if it is set."""
        return {
            "id": self.id,
            "created_at": self.created_at,
            "modified_at": self.modified_at,
            "title": self.title,
            "hidden": self.hidden,
            "allow_data_use": self.allow_data_use,
            "active_thread_tail_message_id": None,
        }

    def to_json(self, messages: Sequence[StoredMessage]) -> dict[str, Any]:
        """Return the whole chat with its messages."""
        return {
            **self.summary(),
            "active_thread_tail_message_id": self.active_thread_tail_message_id,
            "messages": [message.to_json() for message in messages],
        }
