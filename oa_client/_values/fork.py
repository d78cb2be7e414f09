"""
What a forked child forgets.

It has copies of its parent's sockets, and none of its threads. A chat that it deleted, or a socket that it shut down,
would be missing in its parent, and what it read would be lost there. So all that is open is the parent's alone: a
stream of it is closed in the child, and a client starts with new connections.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """What a child must not share with its parent."""

    def _forget(self) -> None:
        """Be as in a process that has just begun; locks may be held by threads that are not there."""


_things: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_in_children(thing: Forgetful) -> None:
    """Have a thing forget, in each child that this process forks."""
    _things.add(thing)


def _forget_all() -> None:
    for thing in list(_things):
        thing._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
