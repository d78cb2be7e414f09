"""The project's own virtual environment, `.venv` beside setup.cfg: made on first use, and brought up to date."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
BIN = HOME / ("Scripts" if os.name == "nt" else "bin")


def prepare(extras: str) -> Path:
    """
    Install the package, editable, with some extras, and return the folder of its commands.

    Nothing is done if the same was installed before and neither setup.cfg nor pyproject.toml has changed since.
    """
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever runs this may have an older one
        sys.exit(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]} ({sys.executable})")
    wanted = hashlib.sha256((ROOT / "setup.cfg").read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = HOME / f"installed-{extras}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return BIN
    if not (BIN / "python").exists() and not (BIN / "python.exe").exists():
        print(f"Making {HOME}", file=sys.stderr)
        try:
            venv.create(HOME, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit("Python's venv does not work here; on Debian and Ubuntu: apt install python3-venv")
    print(f"Installing oa-client[{extras}]", file=sys.stderr)
    command = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[{extras}]"]
    if subprocess.run(command).returncode != 0:  # noqa: S603 - our own words
        sys.exit("pip could not install the package; its message is above")
    stamp.write_text(wanted)
    return BIN
