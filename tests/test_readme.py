"""The README is true: its Python runs, and its commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbclient
import nbformat
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


def _is_notebook(block: str) -> bool:
    return re.search(r"^(_ = await|async for) ", block, re.MULTILINE) is not None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server that the environment leads to."""
    with LocalServer(backend="lorem") as made:
        monkeypatch.setenv("OA_BASE_URL", made.url)
        yield made


def sign_in(server: LocalServer, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the credentials into the environment that a block reads."""
    if "OA_COOKIE" in block:
        monkeypatch.setenv("OA_COOKIE", "; ".join(f"{name}={value}" for name, value in server.cookies.items()))
    else:
        monkeypatch.setenv("OA_TOKEN", server.token)


@pytest.mark.parametrize("block", [pytest.param(block, id=str(i)) for i, block in enumerate(PYTHON)])
def test_python_runs(
    block: str, server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each Python block runs as it stands, those for notebooks in a notebook, and prints an answer."""
    sign_in(server, block, monkeypatch)

    if _is_notebook(block):
        out = run_in_notebook(block)
    else:
        exec(compile(block, "README", "exec"), {"__name__": "__main__"})  # noqa: S102 - ours
        out = capsys.readouterr().out

    assert "orem ipsum" in out
    assert "no answer" not in out


def run_in_notebook(block: str) -> str:
    """Run a block as a cell of a notebook, by a real kernel, and return what it prints."""
    cell = nbformat.v4.new_code_cell(block)  # type: ignore[no-untyped-call]  # nbformat has no types
    notebook = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]  # as above
    nbclient.NotebookClient(notebook, timeout=60).execute()
    return "".join(output["text"] for output in notebook.cells[0].outputs if output["output_type"] == "stream")


def test_ci_runs_the_two_commands() -> None:
    """The README's two commands are the ones that CI starts with, and the scripts are there."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in SHELL if line.startswith("python3 ")]

    assert [line.split()[1] for line in commands] == ["scripts/demo.py", "scripts/test.py"]
    for line in commands:
        assert " ".join(line.split()[:2]) in ci
        assert (ROOT / line.split()[1]).is_file()
