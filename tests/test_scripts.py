"""The scripts that the README tells to run, where the machine is not as it should be."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Those that whoever has whichever Python may start, and what they import; mkdocs alone imports the other one.
SCRIPTS = sorted({*(ROOT / "scripts").glob("*.py"), *(ROOT / ".ci").glob("*.py")} - {ROOT / "scripts/site_hooks.py"})
POSIX = pytest.mark.skipif(os.name != "posix", reason="uses programs in sh")


@pytest.mark.parametrize("script", [pytest.param(script, id=script.name) for script in SCRIPTS])
def test_old_python_can_read_it(script: Path) -> None:
    """Python 3.6 finds no syntax in it that it does not know, nor `from __future__ import annotations`."""
    tree = ast.parse(script.read_text(encoding="utf-8"), feature_version=(3, 6))

    assert [] == [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]


@pytest.mark.parametrize("script", ["demo.py", "test.py", "floors.py"])
@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 20)])
def test_old_python_is_told(script: str, version: tuple[int, ...]) -> None:
    """One line says which Python is needed."""
    code = f"import runpy, sys; sys.version_info = {version}; runpy.run_path(sys.argv[1], run_name='__main__')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "scripts" / script)], env=environment, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("Python 3.10 or newer is needed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the scripts, and little to install."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = small\n[options.extras_require]\nlocal =\n")
    return tmp_path


def prepare(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have a project's environment prepared, without a network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "1"}
    return subprocess.run(
        [sys.executable, "-c", "from environment import prepare; print(prepare('local'))"],
        cwd=project / "scripts",
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_environment_without_pip_and_without_a_network(project: Path) -> None:
    """Pip is brought; where the index cannot be reached, that is told, and not which package is missing."""
    venv.create(project / ".venv")
    done = prepare(project)

    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "The package index, from which the dependencies come, cannot be reached: is there a network? "
        "Behind a proxy, set HTTPS_PROXY"
    ]


def put(file: Path, text: str) -> None:
    """Write a program in sh."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@POSIX
def test_environment_without_pip_and_ensurepip(project: Path) -> None:
    """Uv is used if it is there, and what was installed so is not installed again; else there are ways out."""
    put(project / ".venv/bin/python", '[ "$1" != -m ]')
    alone = prepare(project, PATH=str(project / "tools"))
    put(project / "tools/uv", f'echo "$@" >> {project}/asked')
    with_uv = [prepare(project, PATH=str(project / "tools")) for _ in range(2)]

    assert alone.returncode == 1
    assert all(words in alone.stderr for words in ("has no pip", "apt install python3-venv", "uv", "remove"))
    assert [done.stdout for done in with_uv] == [f"{project}/.venv/bin\n"] * 2
    (asked,) = (project / "asked").read_text().splitlines()
    assert asked == f"pip install --quiet --python {project}/.venv/bin/python --editable {project}[local]"


@POSIX
@pytest.mark.parametrize("python", [None, "exit 1"])
def test_environment_that_is_broken(project: Path, python: str | None) -> None:
    """One whose Python is gone or too old is to be removed."""
    (project / ".venv").mkdir()
    if python is not None:
        put(project / ".venv/bin/python", python)
    done = prepare(project)

    assert done.returncode == 1
    assert done.stderr == f"{project}/.venv holds no working Python 3.10 or newer: remove it, and run this again\n"
