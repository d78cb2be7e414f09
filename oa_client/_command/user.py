"""Describe a user in a few words."""

from __future__ import annotations

from oa_client._command.output import one_line
from oa_client._values.user import User


def describe(user: User) -> str:
    """Return a user's name, or else another known field, and the role."""
    name = user.name or user.email or user.id or "somebody without a name"
    return one_line(f"{name} ({user.role})" if user.role else name)
