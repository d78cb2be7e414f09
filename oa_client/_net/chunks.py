"""The chunked transfer coding (RFC 9112, 7.1), for bytes that come in any pieces."""

from __future__ import annotations

from oa_client._wire.limits import CHUNK_DIGITS_LIMIT, CHUNK_LINE_LIMIT


class ChunkError(Exception):
    """The bytes are not in the chunked coding."""


class Dechunker:
    """
    Decode a body from its chunks.

    Attributes:
        is_over: whether the last chunk and the trailers have come.
        excess: whether bytes came after them, which nobody has asked for.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.excess = False
        self._held = b""
        # bytes of the chunk that have not come yet, with its line end.
        self._left = 0
        self._is_last = False

    def feed(self, data: bytes) -> bytes:
        """
        Take bytes as they come and return the part of the body in them, also of an incomplete chunk.

        Raises:
            ChunkError: if the bytes are not chunks.
        """
        data = self._held + data
        parts: list[bytes] = []
        place, size = 0, len(data)
        while True:
            if self._left:
                end = place + self._left
                parts.append(data[place : end - 2])
                if end > size:
                    # If the line end is cut in two, wait for the rest.
                    place = max(place, min(size, end - 2))
                    self._left = end - place
                    break
                if data[end - 2 : end] != b"\r\n":
                    raise ChunkError("a chunk is longer than it says")
                place, self._left = end, 0
            end = data.find(b"\r\n", place)
            if end < 0:
                break
            line = data[place:end]
            place = end + 2
            if not self._is_last:
                self._left = _size(line) + 2
                if self._left == 2:
                    self._is_last, self._left = True, 0
            elif not line:
                self.is_over, self.excess = True, place < size
                break
        self._held = data[place:]
        if len(self._held) > CHUNK_LINE_LIMIT and not self.is_over:
            raise ChunkError(f"a line between chunks is longer than {CHUNK_LINE_LIMIT} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _size(line: bytes) -> int:
    # int() alone would take signs, blanks, underscores and 0x.
    digits = line if line.isalnum() else line.partition(b";")[0].strip()
    try:
        if digits.isalnum() and len(digits) <= CHUNK_DIGITS_LIMIT and digits[1:2] not in (b"x", b"X"):
            return int(digits, 16)
    except ValueError:
        pass
    raise ChunkError("a chunk has no size")
