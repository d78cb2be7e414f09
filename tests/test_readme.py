"""The README is true: its Python runs, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oa_client.local import LocalServer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("block", range(len(PYTHON)))
def test_python_runs(block: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python block runs as it stands, and prints something."""
    with LocalServer(backend="lorem") as server:
        monkeypatch.setenv("OA_BASE_URL", server.url)
        monkeypatch.setenv("OA_TOKEN", server.token)
        exec(compile(PYTHON[block], f"README block {block}", "exec"), {"__name__": "__main__"})  # noqa: S102 - ours

    out = capsys.readouterr().out
    assert "orem ipsum" in out
    assert "no answer" not in out


def test_ci_runs_the_two_commands() -> None:
    """The README's two commands are the ones that CI starts with, and the scripts are there."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in SHELL if line.startswith("python3 ")]

    assert [line.split()[1] for line in commands] == ["scripts/demo.py", "scripts/test.py"]
    for line in commands:
        assert " ".join(line.split()[:2]) in ci
        assert (ROOT / line.split()[1]).is_file()
