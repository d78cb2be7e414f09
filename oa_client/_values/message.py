"""One message of a chat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from oa_client._values.json_object import OBJECT, TEXT, check_type, clean, join, read_times, split


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message of a chat, as the server sends it.

    `str(message)` is its content. The value is frozen; do not change the JSON inside `reports`, `work_parameters`,
    `used_plugin` and `extra`.

    Attributes:
        id: opaque.
        content: the text; None until the message is complete.
        chat_id: the chat it belongs to.
        parent_id: the message it answers; None for a chat's first.
        role: "prompter" or "assistant".
        state: "manual" for a prompt; "pending", "in_progress", "complete", "aborted_by_worker",
            "cancelled" or "timeout" for an answer.
        created_at: an aware UTC time.
        score: the user's vote: -1, 0 or 1.
        reports: the user's reports, as the server sends them.
        work_parameters: the model, sampling and instructions of the answer; None on a prompt. Only the inference server
            gives the exact `seed`: the website rounds it.
        safe_content: the text after the safety filter, if there is one.
        safety_level: of the safety filter.
        safety_label: of the safety filter.
        safety_rots: of the safety filter.
        used_plugin: the plugin that the answer used, with its outcome; None if it used none.
        extra: fields that this version does not know.
    """

    id: str
    content: str | None = None
    chat_id: str | None = None
    parent_id: str | None = None
    role: str = "assistant"
    state: str = "complete"
    created_at: datetime | None = None
    score: int = 0
    reports: Sequence[Any] = field(default_factory=list, hash=False, repr=False)
    work_parameters: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    safe_content: str | None = field(default=None, repr=False)
    safety_level: int | None = field(default=None, repr=False)
    safety_label: str | None = field(default=None, repr=False)
    safety_rots: str | None = field(default=None, repr=False)
    used_plugin: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __str__(self) -> str:
        return self.content or ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def from_json(cls, data: Any) -> "Message":
        """
        Make a message from the server's JSON object.

        A time that cannot be read becomes None, and stays in `extra` as it came: it must not cost the answer.

        Raises:
            ProtocolError: if `data` is not an object, has no id, or a field has a wrong type.
        """
        values, extra = split(cls, data, "message")
        check_type(values, "message", str, "role", "state", required=("id",))
        check_type(values, "message", TEXT, "content", "chat_id", "parent_id")
        check_type(values, "message", TEXT, "safe_content", "safety_label", "safety_rots")
        check_type(values, "message", int, "score")
        check_type(values, "message", (int, type(None)), "safety_level")
        check_type(values, "message", list, "reports")
        check_type(values, "message", OBJECT, "work_parameters", "used_plugin")
        clean(values, "content")
        read_times(values, extra, "created_at")
        return cls(**values, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads back to an equal message; times have an offset."""
        return join(self)
