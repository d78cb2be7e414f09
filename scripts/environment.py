"""
The project's own virtual environment, `.venv` beside setup.cfg: made on first use, and brought up to date.

Python 3.6 can read this file and those that import it, so that an older Python gets a sentence and no SyntaxError.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - whoever runs this may have an older one
    sys.exit("Python 3.10 or newer is needed; this is {} ({})".format(sys.version.split()[0], sys.executable))  # noqa: UP032

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
BIN = HOME / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
#: In the words of pip and uv if the index cannot be reached; they end with a build dependency that does not exist.
_UNREACHABLE = "Retry(total=0,", "Max retries exceeded", "Failed to fetch"


def prepare(extras: str) -> Path:
    """
    Install the package, editable, with some extras, and return the folder of its commands.

    Nothing is done if the same was installed before and neither setup.cfg nor pyproject.toml has changed since.
    """
    wanted = hashlib.sha256((ROOT / "setup.cfg").read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = HOME / f"installed-{extras}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return BIN
    if not HOME.exists():
        print(f"Making {HOME}", file=sys.stderr)
        # pip comes below, where it is also brought into an environment that somebody else has made without it.
        venv.create(HOME)
    if not _runs("-c", "import sys; sys.exit(sys.version_info < (3, 10))"):
        sys.exit(f"{HOME} holds no working Python 3.10 or newer: remove it, and run this again")
    print(f"Installing oa-client[{extras}]", file=sys.stderr)
    command = [*_installer(), "--editable", f"{ROOT}[{extras}]"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")  # noqa: S603 - our own words
    if done.returncode != 0:
        if any(words in done.stderr for words in _UNREACHABLE):
            sys.exit(
                "The package index, from which the dependencies come, cannot be reached: is there a network? "
                "Behind a proxy, set HTTPS_PROXY"
            )
        sys.exit(f"{done.stderr}The package could not be installed; the reason is above")
    stamp.write_text(wanted)
    return BIN


def _installer() -> list[str]:
    """Return the command that installs packages: pip, which is brought if it is missing, else uv."""
    if _runs("-m", "pip", "--version") or _runs("-m", "ensurepip"):
        return [str(PYTHON), "-m", "pip", "install", "--quiet"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    sys.exit(
        f"{HOME} has no pip, and Python's ensurepip, which would bring it, does not work here (on Debian and Ubuntu: "
        f"apt install python3-venv). Mend that, or install uv, or remove {HOME}; then run this again"
    )


def _runs(*arguments: str) -> bool:
    """Whether the environment's Python does something without an error."""
    try:
        done = subprocess.run([str(PYTHON), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own words
    except OSError:
        return False
    return done.returncode == 0
