"""A chat, without its messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from oa_client._values.json_object import TEXT, check_type, clean, join, read_times, split


@dataclass(frozen=True, slots=True)
class ChatInfo:
    """
    A chat as the server describes it, without its messages.

    Attributes:
        id: opaque.
        created_at: an aware UTC time.
        modified_at: an aware UTC time; only a new prompt changes it.
        title: if you set none, the whole first prompt, however long; None before the first prompt.
        hidden: whether lists leave it out.
        allow_data_use: whether its messages may be used for training.
        active_thread_tail_message_id: the message that the active thread leads to. The server stores any string that a
            client sends. In lists and for a new chat it is None even if it is set.
        extra: fields that this version does not know.
    """

    id: str
    created_at: datetime | None = None
    modified_at: datetime | None = None
    title: str | None = None
    hidden: bool = False
    allow_data_use: bool = True
    active_thread_tail_message_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Any) -> "ChatInfo":
        """
        Make a chat from the server's JSON object, without the messages in it.

        A time that cannot be read becomes None, and stays in `extra` as it came.

        Raises:
            ProtocolError: if `data` is not an object, has no id, or a field has a wrong type.
        """
        values, extra = split(cls, data, "chat")
        extra.pop("messages", None)
        check_type(values, "chat", str, required=("id",))
        check_type(values, "chat", TEXT, "title", "active_thread_tail_message_id")
        check_type(values, "chat", bool, "hidden", "allow_data_use")
        clean(values, "title")
        read_times(values, extra, "created_at", "modified_at")
        return cls(**values, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads back to an equal chat; times have an offset."""
        return join(self)


@dataclass(frozen=True, slots=True)
class ChatPage:
    """
    One page of the list of chats, the newest made first.

    Attributes:
        chats: may be empty.
        next: the cursor for older chats, or None; opaque. The page that it leads to may be empty.
        prev: the cursor for newer chats, or None; opaque. The page that it leads to may be empty.
        extra: fields that this version does not know.
    """

    chats: tuple[ChatInfo, ...] = ()
    next: str | None = None
    prev: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Any) -> "ChatPage":
        """
        Make a page from the server's JSON object.

        Raises:
            ProtocolError: if the object is not a page.
        """
        values, extra = split(cls, data, "page of chats")
        check_type(values, "page of chats", list, required=("chats",))
        check_type(values, "page of chats", TEXT, "next", "prev")
        chats = tuple(map(ChatInfo.from_json, values.pop("chats")))
        return cls(chats, **values, extra=extra)
