"""Chats and messages, kept in memory until the server closes."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

FINISHED = frozenset({"complete", "aborted_by_worker"})
"""The states whose events the server no longer gives. Cancelled is not among them."""


@dataclass
class Message:
    """One turn of a chat. An answer's `content` is None until it is complete."""

    id: str
    chat_id: str
    parent_id: str | None
    role: str
    content: str | None
    state: str
    created_at: str
    work_parameters: dict[str, Any] | None = None
    used_plugin: dict[str, Any] | None = None
    score: int = 0
    reports: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The message as the server sends it: every key always there, in this order."""
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


@dataclass
class Chat:
    """A conversation: a tree of messages, linked by their `parent_id`."""

    id: str
    user_id: str
    created_at: str
    modified_at: str
    title: str | None = None
    hidden: bool = False
    allow_data_use: bool = True
    active_thread_tail_message_id: str | None = None
    messages: dict[str, Message] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The chat as it stands in lists, where the active message is never told, even when it is set."""
        return {
            "id": self.id,
            "created_at": self.created_at,
            "modified_at": self.modified_at,
            "title": self.title,
            "hidden": self.hidden,
            "allow_data_use": self.allow_data_use,
            "active_thread_tail_message_id": None,
        }

    def to_json(self) -> dict[str, Any]:
        """The whole chat with its messages."""
        return {
            **self.summary(),
            "active_thread_tail_message_id": self.active_thread_tail_message_id,
            "messages": [message.to_json() for message in self.messages.values()],
        }


class Store:
    """All chats of all users. For one thread only: the event loop's."""

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}
        self._chat_ids: dict[str, str] = {}  # by message id
        self._last_id = 0

    def create_chat(self, user_id: str) -> Chat:
        """Make an empty chat."""
        now = _now()
        chat = Chat(id=self._new_id(), user_id=user_id, created_at=now, modified_at=now)
        self._chats[chat.id] = chat
        return chat

    def chat(self, user_id: str, chat_id: str) -> Chat | None:
        """The user's chat with this id."""
        chat = self._chats.get(chat_id)
        return chat if chat is not None and chat.user_id == user_id else None

    def chats(self, user_id: str) -> list[Chat]:
        """Every chat of the user, the oldest first."""
        return [chat for chat in self._chats.values() if chat.user_id == user_id]

    def message(self, message_id: str) -> Message | None:
        """The message with this id, in whatever chat."""
        if (chat_id := self._chat_ids.get(message_id)) is None:
            return None
        return self._chats[chat_id].messages[message_id]

    def user_id(self, message: Message) -> str:
        """The id of the user whose message it is."""
        return self._chats[message.chat_id].user_id

    def add_prompt(self, chat: Chat, parent_id: str | None, content: str) -> Message:
        """Add what the user says. The first prompt of a chat becomes its title, whatever its length."""
        message = self._add(chat, parent_id, "prompter", content, "manual", None)
        if chat.title is None:
            chat.title = content
        chat.modified_at = message.created_at
        return message

    def add_answer(self, prompt: Message, work_parameters: dict[str, Any]) -> Message:
        """Add an answer that is still to be written."""
        return self._add(self._chats[prompt.chat_id], prompt.id, "assistant", None, "pending", work_parameters)

    def add_report(self, message: Message, report_type: str, reason: str) -> None:
        """Note a complaint about a message."""
        message.reports.append({"id": self._new_id(), "report_type": report_type, "reason": reason})

    def thread(self, message: Message) -> list[Message]:
        """The messages from the root of the tree down to this one."""
        messages = self._chats[message.chat_id].messages
        path = [message]
        while (parent_id := path[-1].parent_id) is not None:
            path.append(messages[parent_id])
        return path[::-1]

    def delete_chat(self, chat: Chat) -> None:
        """Forget the chat and its messages."""
        del self._chats[chat.id]
        for message_id in chat.messages:
            del self._chat_ids[message_id]

    def _add(
        self,
        chat: Chat,
        parent_id: str | None,
        role: str,
        content: str | None,
        state: str,
        work_parameters: dict[str, Any] | None,
    ) -> Message:
        message = Message(
            id=self._new_id(),
            chat_id=chat.id,
            parent_id=parent_id,
            role=role,
            content=content,
            state=state,
            created_at=_now(),
            work_parameters=work_parameters,
        )
        chat.messages[message.id] = message
        self._chat_ids[message.id] = chat.id
        return message

    def _new_id(self) -> str:
        """
        A version 7 UUID later than every one before it.

        Its first 60 bits of time are milliseconds and their fraction (RFC 9562, section 6.2, method 3);
        `uuid.uuid7` comes with Python 3.14 only.
        """
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        ticks = (milliseconds << 12) | (nanoseconds * 4096 // 1_000_000)
        self._last_id = ticks = max(ticks, self._last_id + 1)
        high = (ticks >> 12) << 16 | 7 << 12 | ticks & 0xFFF
        low = 0b10 << 62 | secrets.randbits(62)
        return str(uuid.UUID(int=high << 64 | low))


def _now() -> str:
    """The time as the server writes it: UTC, but without saying so."""
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
