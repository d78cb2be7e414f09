"""How much of a conversation a model gets to read."""

from __future__ import annotations

from collections.abc import Sequence

MARGIN = 0.98  # tokens are not spread evenly over the text; what is too much again is shortened again

Turn = dict[str, str]


def shortened(chat: Sequence[Turn], share: float) -> list[Turn]:
    """
    The end of a conversation: so much of it that its tokens are at most about this share of what they were.

    The system prompt stays whole. Of the turns the oldest go first, and none of the assistant's begins:
    there are chat templates that refuse that. If the last turn alone is too long, its beginning goes.

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
