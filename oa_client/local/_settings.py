"""Those settings of the real server that a client notices."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """
    How the server behaves towards its clients. The defaults are the real server's, but for `rate_limit`.

        LocalServer(settings=Settings(message_max_length=2000, rate_limit=(20, 600)))

    Attributes:
        message_max_length: characters of a prompt; more are refused with 413. None for no limit.
        chat_max_messages: messages of a chat, prompts and answers; more are refused with 413.
        rate_limit: how many answers a user may ask for in how many seconds; None for no limit. The real server has
            `(20, 600)`, which would surprise on your own machine. As there, the limit shows as a plain 500, lasts a
            minute longer than it says, and counts failed requests too.
        work_queue_max_size: answers that may wait for a model; one more gets a 503, stays pending and is never written.
            None for no limit.
        message_queue_expire: seconds that an answer's unread events are kept after its last token, and that the place
            of a waiting answer is remembered.
        assistant_message_timeout: seconds that an answer may wait in the queue before it ends with the error "Timeout";
            0 for no limit.
        pending_event_interval: seconds between two pending events, until the first token.
        ping_interval: seconds between two comments in a stream, whatever else is sent.
        allowed_model_config_names: the models that are listed and may be asked; None for all.
        access_token_minutes: how long access tokens are valid.
        refresh_token_minutes: how long refresh tokens are valid; neither server accepts them for anything.

    Raises:
        ValueError: if a time is negative or not a number, an interval is 0, or a limit is below 1.
    """

    message_max_length: int | None = None
    chat_max_messages: int | None = None
    rate_limit: tuple[int, float] | None = None
    work_queue_max_size: int | None = None
    message_queue_expire: float = 60
    assistant_message_timeout: float = 60
    pending_event_interval: float = 1
    ping_interval: float = 15
    allowed_model_config_names: Collection[str] | None = None
    access_token_minutes: float = 60
    refresh_token_minutes: float = 7 * 24 * 60

    def __post_init__(self) -> None:
        times, seconds = self.rate_limit or (None, 0)
        limits = {
            "message_max_length": self.message_max_length,
            "chat_max_messages": self.chat_max_messages,
            "rate_limit": times,
            "work_queue_max_size": self.work_queue_max_size,
        }
        for name, limit in limits.items():
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be 1 or more, or None, not {limit}")
        spans = {
            "rate_limit": seconds,
            "message_queue_expire": self.message_queue_expire,
            "assistant_message_timeout": self.assistant_message_timeout,
            "pending_event_interval": self.pending_event_interval,
            "ping_interval": self.ping_interval,
            "access_token_minutes": self.access_token_minutes,
            "refresh_token_minutes": self.refresh_token_minutes,
        }
        for name, span in spans.items():
            if math.isnan(span) or span < 0:
                raise ValueError(f"{name} must be a time, 0 or more, not {span}")
        if not (self.pending_event_interval and self.ping_interval):
            raise ValueError("pending_event_interval and ping_interval must be above 0")
        if isinstance(self.allowed_model_config_names, str):
            raise ValueError("allowed_model_config_names must be a collection of names, not one name")
