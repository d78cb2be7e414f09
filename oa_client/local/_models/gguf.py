"""
Check a model file before the runtime loads it, which would say only that it failed.

The format is GGUF (llama.cpp's `ggml/include/gguf.h`): little-endian, the numbers of tensors and metadata, the
metadata, the place of each tensor, and then the tensors.
"""

from __future__ import annotations

import math
import mmap
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oa_client.local._errors import LocalServerError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
#: bytes, where the file does not say
ALIGNMENT = 32
#: of a tensor
MOST_DIMENSIONS = 4

# The format in the struct module, by the number of a value's type; texts and arrays have none.
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9

# The elements and bytes of a block, by the number of a tensor's type. For a tensor of another type, only its beginning
# is checked.
_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    20: (32, 18),  # IQ4_NL
    23: (256, 136),  # IQ4_XS
    30: (1, 2),  # BF16
    39: (32, 17),  # MXFP4
}

# Files that people mistake for a model, by their beginning.
_OTHERS = (
    (rb"PK\x03\x04", "a zip archive, or a PyTorch checkpoint"),
    (rb"version https://git-lfs", "a Git LFS pointer to the file, which `git lfs pull` fetches"),
    (rb"\s*<(?i:!doctype|html|head)", "a web page"),
    (rb"(?s:.{8}\{\")", "a safetensors file, which llama.cpp's convert_hf_to_gguf.py converts"),
    (rb"ggml|lmgg|fmgg|tjgg|algg", "a model in a format that llama.cpp had before GGUF"),
)


@dataclass(frozen=True)
class ModelHeader:
    """
    The header before the weights.

    `name` is the file's, without its ending and the number of a part. `title` is the authors' name for the model, often
    a poor one, or "". `context_tokens` is how many tokens the model was trained to read and write at once, or None if
    the file does not say.
    """

    name: str
    title: str
    architecture: str
    context_tokens: int | None
    has_template: bool
    file_bytes: int


def read_header(path: Path) -> ModelHeader:
    """
    Read the header of a model file, and check that all the weights follow.

    Raises:
        LocalServerError: if the file is missing, cannot be read, is not GGUF (the error says what it seems to be), or
            is cut.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise LocalServerError(f"{path} is a folder: name the .gguf file in it")
        if not stat.S_ISREG(status.st_mode):
            raise LocalServerError(f"{path} is not an ordinary file")
        if (size := status.st_size) == 0:
            raise LocalServerError(f"{path} is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(path, data, size)
    except FileNotFoundError:
        raise LocalServerError(f"there is no model file {path}") from None
    except OSError as error:
        raise LocalServerError(f"cannot read the model file {path}: {error.strerror}") from error


def _read(path: Path, data: mmap.mmap, size: int) -> ModelHeader:
    if data[:4] != MAGIC:
        raise LocalServerError(f"{path} is not a model in the GGUF format, but {_seen(data[:64])}")
    try:
        reader = _Reader(data)
        version = reader.number("<I")
        if version not in VERSIONS:
            raise LocalServerError(f"{path} is GGUF of version {version}; {VERSIONS[0]} and {VERSIONS[1]} can be read")
        tensors, values = reader.number("<Q"), reader.number("<Q")
        metadata = {reader.text(): reader.value(reader.number("<I")) for _ in range(values)}
        needed = _end_of_weights(reader, tensors, metadata)
    except (struct.error, OverflowError, RecursionError, UnicodeDecodeError, ValueError, TypeError, ZeroDivisionError):
        raise LocalServerError(f"{path} is cut or damaged: its header does not end within its {size} bytes") from None
    if size < needed:
        raise LocalServerError(f"{path} is cut: {size} of {needed} bytes are there; download or copy it again")
    architecture = _text(metadata, "general.architecture")
    context = metadata.get(f"{architecture}.context_length")
    return ModelHeader(
        name=re.sub(r"-\d{5}-of-\d{5}$", "", path.stem),
        title=_text(metadata, "general.name"),
        architecture=architecture,
        context_tokens=context if isinstance(context, int) and context > 0 else None,
        has_template=bool(_text(metadata, "tokenizer.chat_template")),
        file_bytes=size,
    )


class _Reader:
    """Reads one value after the other; raises `struct.error` past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.place = len(MAGIC)

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self.place)
        self.place += struct.calcsize(form)
        return value

    def text(self) -> str:
        return self._bytes(self.number("<Q")).decode()

    def value(self, kind: int) -> Any:
        """Read one value of metadata; of an array, which nobody needs, keep only the place."""
        if kind == _TEXT:
            # NOTE: not every text is UTF-8 (merges of a tokenizer), but the names that we need are.
            return self._bytes(self.number("<Q")).decode(errors="replace")
        if kind != _ARRAY:
            return self.number(_form(kind))
        kind, count = self.number("<I"), self.number("<Q")
        if kind == _TEXT:
            for _ in range(count):
                self._skip(self.number("<Q"))
        elif kind == _ARRAY:
            for _ in range(count):
                self.value(kind)
        else:
            self._skip(count * struct.calcsize(_form(kind)))
        return None

    def _bytes(self, count: int) -> bytes:
        start = self.place
        self._skip(count)
        return self._data[start : self.place]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise struct.error


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(kind)
    return _NUMBERS[kind]


def _end_of_weights(reader: _Reader, tensors: int, metadata: dict[str, Any]) -> int:
    """Return the least number of bytes that the file must have."""
    end = 0
    for _ in range(tensors):
        reader.text()
        if (dimensions := reader.number("<I")) > MOST_DIMENSIONS:
            raise ValueError(dimensions)
        elements = math.prod(reader.number("<Q") for _ in range(dimensions))
        kind, offset = reader.number("<I"), reader.number("<Q")
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
        end = max(end, offset + elements // per_block * block_bytes)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    return -(-reader.place // alignment) * alignment + end if tensors else reader.place


def _text(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value.strip() if isinstance(value, str) else ""


def _seen(head: bytes) -> str:
    for pattern, what in _OTHERS:
        if re.match(pattern, head):
            return what
    return f"something that begins with {head[:8]!r}"
