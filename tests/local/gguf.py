"""Writes small files in the GGUF format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEMPLATE = {"tokenizer.chat_template": "{{ messages }}"}
TENSOR = (3, (64, 2), 0)  # Q4_1, 128 elements in 4 blocks of 20 bytes, at the beginning
TENSOR_BYTES = 80


def write_gguf(
    path: Path,
    metadata: dict[str, Any] | None = None,
    tensors: tuple[tuple[int, tuple[int, ...], int], ...] = (TENSOR,),
    version: int = 3,
    weights: int = TENSOR_BYTES,
) -> Path:
    """
    Write a file with such metadata (text, integers, lists of text or numbers) and return its path.

    A tensor is the number of its type, its dimensions and its offset; `weights` is how many bytes follow.
    """
    metadata = {"general.architecture": "llama", **(metadata or {})}
    data = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for name, value in metadata.items():
        data += _text(name) + _value(value)
    for kind, dimensions, offset in tensors:
        data += _text("weights") + struct.pack("<I", len(dimensions))
        data += b"".join(struct.pack("<Q", size) for size in dimensions) + struct.pack("<IQ", kind, offset)
    path.write_bytes(data + b"\0" * (-len(data) % 32) + b"\1" * weights)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    kind, pack = _ITEMS[type(value[0])]
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(map(pack, value))


_ITEMS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    str: (8, _text),
    float: (6, lambda item: struct.pack("<f", item)),
    list: (9, lambda item: _value(item)[4:]),  # the number of the type stands once
}
