"""The text of an answer: tokens put together, and compared with the final message."""

from __future__ import annotations

import re

from oa_client._values.json_object import SURROGATE

_STOP_SEQUENCES = ("</s>", "<|endoftext|>", "<|im_end|>")
_HIGH_SURROGATE_AT_END = re.compile("[\ud800-\udbff]\\Z")


def join_surrogates(text: str) -> tuple[str, str]:
    """
    Put together the pairs that a worker has split over two tokens.

    Returns:
        the text, and the half of a pair at its end, which waits for the next token.
    """
    if not SURROGATE.search(text):
        return text, ""
    rest = ""
    half = _HIGH_SURROGATE_AT_END.search(text)
    if half:
        text, rest = text[: half.start()], half[0]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), rest


def rest_of(final: str, yielded: str, half: str) -> tuple[str, bool]:
    """
    Compare the final text with what was yielded.

    Returns:
        what is yet to be yielded: what the final text adds, or U+FFFD for the half of a pair that was held back; and
        whether the two differ by more than white space and stop sequences at their ends.
    """
    if final.startswith(yielded):
        return final[len(yielded) :], False
    rest = "\N{REPLACEMENT CHARACTER}" if half else ""
    return rest, _bare(final) != _bare(yielded + rest)


def _bare(text: str) -> str:
    """Return a text without white space and stop sequences at its ends."""
    text = text.strip()
    for stop in _STOP_SEQUENCES:
        text = text.removesuffix(stop).rstrip()
    return text
