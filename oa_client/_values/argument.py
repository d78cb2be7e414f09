"""Check arguments of the user, and show them in error messages."""

from __future__ import annotations

from collections.abc import Sequence


def is_number(value: object, *types: type) -> bool:
    """Return whether a value has one of the types; True and False do not count as numbers."""
    return isinstance(value, types) and not isinstance(value, bool)


def show(value: object) -> str:
    """Return a value as short text for an error message; Python refuses to write very large numbers."""
    try:
        text = repr(value)
    except ValueError:
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """Return the end of an error message: the nearest known names, or all of them, or that there are none."""
    if not known:
        return "; there are none"
    # Imported late: it takes as long to load as the rest of this package.
    from difflib import get_close_matches

    near = get_close_matches(name if isinstance(name, str) else "", known, n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; known are {', '.join(known)}"
