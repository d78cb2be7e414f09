"""Shorten a conversation for a model."""

from __future__ import annotations

from collections.abc import Sequence

#: tokens are not spread evenly over the text, so a result that is still too long is shortened again
MARGIN = 0.98

Turn = dict[str, str]


def shortened(chat: Sequence[Turn], share: float) -> list[Turn]:
    """
    Return the end of a conversation, with about this share of its tokens at most.

    The system prompt stays whole. The oldest turns go first, and the rest never begins with the assistant, which some
    chat templates refuse. If the last turn alone is too long, it loses its beginning.

    Raises:
        RuntimeError: if the system prompt leaves no room for the last turn.
    """
    system, turns = (list(chat[:1]), chat[1:]) if chat[0]["role"] == "system" else ([], chat)
    *earlier, last = turns
    length = sum(len(turn["content"]) for turn in chat)
    room = int(length * share * MARGIN) - sum(len(turn["content"]) for turn in system)
    if room <= 0:
        raise RuntimeError("the system prompt is too long for this model")
    kept = [{**last, "content": last["content"][-room:]}]
    room -= len(last["content"])
    for turn in reversed(earlier):
        room -= len(turn["content"])
        if room < 0:
            break
        kept.insert(0, turn)
    while kept[0]["role"] == "assistant" and len(kept) > 1:
        del kept[0]
    return [*system, *kept]
