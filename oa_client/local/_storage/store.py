"""The chats of all users, and their messages."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from oa_client.local._storage.clock import Clock, written
from oa_client.local._storage.database import Database
from oa_client.local._storage.records import StoredChat as Chat
from oa_client.local._storage.records import StoredMessage as Message

TOLD = """
    CREATE TEMP VIEW told AS
    SELECT
        message.*,
        chat.user_id,
        (
            SELECT json_group_array(json_object('id', id, 'report_type', report_type, 'reason', reason))
            FROM (SELECT * FROM report WHERE message_id = message.id ORDER BY id)
        ) AS reports
    FROM message JOIN chat ON chat.id = message.chat_id
"""
"""Messages with whose they are, and the complaints about them."""


class Store:
    """
    Reads and writes chats and messages. For one thread only: the event loop's.

    What a method has written is kept when it returns. An id of the wrong kind is one that is unknown.
    """

    def __init__(self, database: Database, clock: Clock = time.time) -> None:
        self._database = database
        self._execute = database.execute
        self._clock = clock
        self._execute(TOLD)
        # NOTE: ids must grow even if the clock was put back since they were last made.
        newest = [
            self._execute("SELECT max(id) FROM chat").fetchone()[0],
            self._execute("SELECT max(id) FROM message").fetchone()[0],
        ]
        self._last_ticks = max((_ticks(uuid.UUID(id)) for id in newest if id is not None), default=0)

    def create_chat(self, user_id: str) -> Chat:
        """Make an empty chat for a user, who must exist."""
        id, now = self._new_id(), written(self._clock())
        self._execute(
            "INSERT INTO chat (id, user_id, created_at, modified_at) VALUES (?, ?, ?, ?)", (id, user_id, now, now)
        )
        return Chat(id, user_id, now, now, None, False, True, None)

    def chat(self, user_id: str, chat_id: str) -> Chat | None:
        """The user's chat with this id."""
        row = self._execute("SELECT * FROM chat WHERE id = ? AND user_id = ?", (chat_id, user_id)).fetchone()
        return None if row is None else _chat(row)

    def chats_before(self, user_id: str, id: str | None, *, hidden: bool, limit: int) -> list[Chat]:
        """The user's chats made before that one, or all, the newest first. The hidden ones too if `hidden`."""
        rows = self._execute(
            """
            SELECT * FROM chat
            WHERE user_id = ? AND (? OR NOT hidden) AND (? IS NULL OR id < ?)
            ORDER BY id DESC LIMIT ?
            """,
            (user_id, hidden, id, id, limit),
        )
        return [_chat(row) for row in rows]

    def chats_after(self, user_id: str, id: str, *, hidden: bool, limit: int) -> list[Chat]:
        """The user's chats made after that one, the oldest first. The hidden ones too if `hidden`."""
        rows = self._execute(
            "SELECT * FROM chat WHERE user_id = ? AND (? OR NOT hidden) AND id > ? ORDER BY id LIMIT ?",
            (user_id, hidden, id, limit),
        )
        return [_chat(row) for row in rows]

    def update_chat(self, chat: Chat, changes: Mapping[str, Any]) -> None:
        """Change a chat's title, hidden, allow_data_use, active_thread_tail_message_id; None changes nothing."""
        self._execute(
            """
            UPDATE chat SET
                title = coalesce(:title, title),
                hidden = coalesce(:hidden, hidden),
                allow_data_use = coalesce(:allow_data_use, allow_data_use),
                active_thread_tail_message_id =
                    coalesce(:active_thread_tail_message_id, active_thread_tail_message_id)
            WHERE id = :id
            """,
            {**changes, "id": chat.id},
        )

    def delete_chat(self, chat: Chat) -> None:
        """Forget the chat and its messages, with all that was said about them; also on a full disk, if SQLite can."""
        try:
            self._delete_chat(chat)
        except sqlite3.OperationalError:
            # A deletion is written beside the file first, for which there is no room yet.
            self._database.make_room()
            self._delete_chat(chat)

    def _delete_chat(self, chat: Chat) -> None:
        self._execute("DELETE FROM chat WHERE id = ?", (chat.id,))

    def messages(self, chat_id: str) -> list[Message]:
        """The messages of a chat, parents before their children."""
        return [_message(row) for row in self._execute("SELECT * FROM told WHERE chat_id = ? ORDER BY id", (chat_id,))]

    def message(self, message_id: str) -> Message | None:
        """The message with this id, in whatever chat."""
        row = self._execute("SELECT * FROM told WHERE id = ?", (message_id,)).fetchone()
        return None if row is None else _message(row)

    def count_messages(self, chat_id: str) -> int:
        """How many messages a chat has."""
        count: int = self._execute("SELECT count(*) FROM message WHERE chat_id = ?", (chat_id,)).fetchone()[0]
        return count

    def thread(self, message: Message) -> list[Message]:
        """The messages from the root of the tree down to this one."""
        path = [message]
        while (parent_id := path[-1].parent_id) is not None:
            parent = self.message(parent_id)
            assert parent is not None  # noqa: S101 - for the type checker: it is a foreign key
            path.append(parent)
        return path[::-1]

    def add_prompt(self, chat: Chat, parent_id: str | None, content: str) -> Message:
        """Add what the user says. The first prompt of a chat becomes its title, whatever its length."""
        with self._database.transaction():
            message = self._add(chat.id, parent_id, "prompter", content, "manual", None)
            self._execute(
                "UPDATE chat SET modified_at = ?, title = coalesce(title, ?) WHERE id = ?",
                (message.created_at, content, chat.id),
            )
        return message

    def add_answer(self, prompt: Message, work_parameters: Mapping[str, Any], *, queued: bool) -> Message:
        """Add an answer that is still to be written."""
        return self._add(prompt.chat_id, prompt.id, "assistant", None, "pending", work_parameters, queued)

    def set_state(self, message_id: str, state: str) -> None:
        """Note what has become of an answer."""
        self._execute("UPDATE message SET state = ? WHERE id = ?", (state, message_id))

    def complete(self, message_id: str, content: str, used_plugin: Mapping[str, Any] | None) -> None:
        """Note what an answer says, and that it says no more."""
        self._execute(
            "UPDATE message SET state = 'complete', content = ?, used_plugin = ? WHERE id = ?",
            (content, _json(used_plugin), message_id),
        )

    def cancel_waiting(self, user_id: str, parent_id: str) -> None:
        """Cancel what the user has asked and is not begun yet, except to this prompt."""
        self._execute(
            """
            UPDATE message SET state = 'cancelled'
            WHERE state = 'pending' AND parent_id <> ? AND chat_id IN (SELECT id FROM chat WHERE user_id = ?)
            """,
            (parent_id, user_id),
        )

    def recover(self) -> list[Message]:
        """
        Take up what a server has left that did not get to close.

        What it was writing is lost: those answers are aborted. Returns those that still wait, in
        their order.
        """
        self._execute("UPDATE message SET state = 'aborted_by_worker' WHERE state = 'in_progress'")
        rows = self._execute("SELECT * FROM told WHERE state = 'pending' AND queued ORDER BY id")
        return [_message(row) for row in rows]

    def vote(self, message_id: str, score: int) -> None:
        """Note how good an answer is."""
        self._execute("UPDATE message SET score = ? WHERE id = ?", (score, message_id))

    def add_evaluation(self, message: Message, inferior_message_ids: Sequence[str]) -> None:
        """Note which messages are worse than this one."""
        self._execute(
            "INSERT INTO evaluation VALUES (?, ?, ?, ?)",
            (self._new_id(), message.user_id, message.id, _json(inferior_message_ids)),
        )

    def add_report(self, message: Message, report_type: str, reason: str) -> None:
        """Note a complaint about a message."""
        self._execute("INSERT INTO report VALUES (?, ?, ?, ?)", (self._new_id(), message.id, report_type, reason))

    def _add(
        self,
        chat_id: str,
        parent_id: str | None,
        role: str,
        content: str | None,
        state: str,
        work_parameters: Mapping[str, Any] | None,
        queued: bool = False,
    ) -> Message:
        id = self._new_id()
        self._execute(
            """
            INSERT INTO message (id, chat_id, parent_id, role, content, state, created_at, queued, work_parameters)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (id, chat_id, parent_id, role, content, state, written(self._clock()), queued, _json(work_parameters)),
        )
        message = self.message(id)
        assert message is not None  # noqa: S101 - for the type checker
        return message

    def _new_id(self) -> str:
        """
        A version 7 UUID later than every one before it.

        Its first 60 bits of time are milliseconds and their fraction (RFC 9562, section 6.2, method 3);
        `uuid.uuid7` comes with Python 3.14 only.
        """
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        ticks = (milliseconds << 12) | (nanoseconds * 4096 // 1_000_000)
        self._last_ticks = ticks = max(ticks, self._last_ticks + 1)
        high = (ticks >> 12) << 16 | 7 << 12 | ticks & 0xFFF
        low = 0b10 << 62 | secrets.randbits(62)
        return str(uuid.UUID(int=high << 64 | low))


def _ticks(id: uuid.UUID) -> int:
    """The time in an id, in 4096ths of a millisecond."""
    high = id.int >> 64
    return (high >> 16) << 12 | high & 0xFFF


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _chat(row: sqlite3.Row) -> Chat:
    values = dict(row)
    return Chat(**{**values, "hidden": bool(values["hidden"]), "allow_data_use": bool(values["allow_data_use"])})


def _message(row: sqlite3.Row) -> Message:
    values = dict(row)
    for name in ("work_parameters", "used_plugin", "reports"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return Message(**{**values, "queued": bool(values["queued"])})
