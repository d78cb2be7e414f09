"""The failures of requests, before a surface puts them in its own words."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

logger = logging.getLogger("oa_client.local")

BUSY = "The server is currently busy. Please try again later."
NOT_COMPLETE = "Parent message is not complete"


class RefusalError(Exception):
    """The server refuses, with a reason: a text, or the list of wrong fields."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class BreakdownError(Exception):
    """
    The real server crashes: a 500 without a reason.

    Its body is empty or "Internal Server Error", depending on the place of the crash.
    """

    def __init__(self, *, empty: bool) -> None:
        super().__init__(empty)
        self.empty = empty


def store_trouble(error: Exception) -> str:
    """Log that the store cannot be read or written, and return the words for whoever asked."""
    logger.error("the store of the chats fails: %s", error)
    words = f"The local server's store of chats fails: {error}"
    if isinstance(error, sqlite3.OperationalError):
        # SQLite calls a disk full in several ways, and deletes on it only what needs no more room.
        words += ". If its disk is full, make room there, or delete other chats"
    return words
