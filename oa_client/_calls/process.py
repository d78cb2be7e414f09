"""
The process that made something.

A forked child has copies of its parent's sockets, and none of its threads. What it read would be missing in the parent,
and so would a chat that it deleted or a socket that it shut down. So all that was open at the fork is the parent's.
"""

from __future__ import annotations

import os

from oa_client._values.errors import ConfigurationError


class Process:
    """The process in which this was made."""

    __slots__ = ("_id",)

    def __init__(self) -> None:
        self._id = os.getpid()

    @property
    def is_this(self) -> bool:
        """Whether that is this process, and not a parent that was forked since."""
        return os.getpid() == self._id

    def check(self) -> None:
        """
        See that it is this process.

        Raises:
            ConfigurationError: if it is not.
        """
        if not self.is_this:
            raise ConfigurationError(
                "this client belongs to the process that was forked, which goes on with it: make a new client here"
            )
