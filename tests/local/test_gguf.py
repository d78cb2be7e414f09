"""What is read of a model file before it is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from oa_client.local import MODEL, LocalServerError
from oa_client.local._models.gguf import ModelHeader, read_header
from tests.local.gguf import TEMPLATE, TENSOR_BYTES, write_gguf


def test_a_header_is_read(tmp_path: Path) -> None:
    """Past lists of every kind, the file's name without its ending is the model's."""
    metadata = {
        "general.name": " Tiny Chat ",
        "llama.context_length": 512,
        "tokenizer.ggml.tokens": ["a", "", "ü"],
        "tokenizer.ggml.scores": [0.5, 1.5],
        "nested": [["a"], ["b", "c"]],
        **TEMPLATE,
    }
    path = write_gguf(tmp_path / "tiny-chat.Q4_1.gguf", metadata)

    assert read_header(path) == ModelHeader(
        name="tiny-chat.Q4_1",
        title="Tiny Chat",
        architecture="llama",
        context_tokens=512,
        has_template=True,
        file_bytes=path.stat().st_size,
    )


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"general.architecture": 5, "llama.context_length": 0, "general.name": ["a"]}, id="other types"),
    ],
)
def test_a_header_that_tells_little(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """What is not there, or makes no sense, is nothing; the number of a part is no part of the name."""
    header = read_header(write_gguf(tmp_path / "big-00001-of-00003.gguf", metadata))

    assert (header.name, header.title, header.context_tokens, header.has_template) == ("big", "", None, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"PK\3\4...", "not a model in the GGUF format, but a zip archive", id="zip"),
        pytest.param(b"\n<!DOCTYPE html><html>", "but a web page", id="page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "but a Git LFS pointer", id="pointer"),
        pytest.param(b'\x40\0\0\0\0\0\0\0{"__metadata__"', "but a safetensors file", id="safetensors"),
        pytest.param(b"tjgg\1\0\0\0", "that llama.cpp had before GGUF", id="ggml"),
        pytest.param(b"weights", "something that begins with b'weights'", id="anything"),
        pytest.param(b"GGUF", "is cut or damaged: .* within its 4 bytes", id="only the magic"),
        pytest.param(b"GGUF\1\0\0\0", "is GGUF of version 1; 2 and 3 can be read", id="version"),
        pytest.param(b"GGUF\3\0\0\0" + b"\xff" * 40, "is cut or damaged", id="numbers without end"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, words: str) -> None:
    """The error says what was found, and where."""
    path = tmp_path / "file.gguf"
    path.write_bytes(content)
    with pytest.raises(LocalServerError, match=f"{path} .*{words}"):
        read_header(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    """A path with nothing, a folder, and what is neither."""
    with pytest.raises(LocalServerError, match=r"there is no model file .*nothing\.gguf"):
        read_header(tmp_path / "nothing.gguf")
    with pytest.raises(LocalServerError, match=r"is a folder: name the \.gguf file in it"):
        read_header(tmp_path)
    with pytest.raises(LocalServerError, match="is not an ordinary file"):
        read_header(Path(os.devnull))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """The error says why."""
    path = write_gguf(tmp_path / "secret.gguf")
    path.chmod(0)
    with pytest.raises(LocalServerError, match=r"cannot read .*Permission denied"):
        read_header(path)


def test_a_file_cut_anywhere(tmp_path: Path) -> None:
    """Each cut is an error: in the header that it does not end, in the weights how many bytes there should be."""
    whole = write_gguf(tmp_path / "whole.gguf", TEMPLATE).read_bytes()
    path = tmp_path / "cut.gguf"
    words = []
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(LocalServerError) as error:
            read_header(path)
        words.append(str(error.value))

    assert f"is cut: {len(whole) - 1} of {len(whole)} bytes are there" in words[-1]
    assert sum("of " in text and "bytes are there" in text for text in words) >= TENSOR_BYTES


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param((3, (64,) * 5, 0), id="too many dimensions"),
        pytest.param((3, (2**63,) * 4, 0), id="too large"),
        pytest.param((0, (1,), 2**63), id="too far"),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path: Path, tensor: tuple[int, tuple[int, ...], int]) -> None:
    """It is an error, found at once."""
    path = write_gguf(tmp_path / "odd.gguf", tensors=(tensor,))
    with pytest.raises(LocalServerError, match="is cut"):
        read_header(path)


def test_a_tensor_of_an_unknown_kind(tmp_path: Path) -> None:
    """Only its beginning must be there; llama.cpp may know more."""
    assert read_header(write_gguf(tmp_path / "new.gguf", tensors=((99, (64,), 0),), weights=0))


@pytest.mark.skipif(not MODEL.downloaded, reason=f"{MODEL.name} is not downloaded")
def test_the_real_file() -> None:
    """It is a chat model, trained on 8192 tokens, and whole."""
    header = read_header(MODEL.path)

    assert (header.architecture, header.context_tokens, header.has_template) == ("llama", 8192, True)
    assert header.file_bytes == MODEL.file_bytes
