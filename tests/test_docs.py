"""
The README and the pages of docs/ are true: their Python runs, and prints what they say.

A block ```` ```text ```` right behind one of Python is what that prints; `…` in it stands for any text. The blocks of
a page go on from each other, those of the README stand alone. Each runs on both surfaces, but those that read
`OA_COOKIE`, which are for the website.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import nbclient
import nbformat
import pytest

from oa_client import Client
from oa_client.local import MODEL, LocalServer
from tests.printed import matches

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """
    A piece of Python in a page.

    Attributes:
        place: the page and the line where it begins.
        source: the code.
        output: what the page says that it prints, or "".
    """

    place: str
    source: str
    output: str

    @property
    def code(self) -> Any:
        """The compiled code, its lines numbered as in the page."""
        line = int(self.place.partition(":")[2])
        return compile("\n" * line + self.source, self.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    @property
    def is_notebook(self) -> bool:
        """Whether it awaits outside a function."""
        return bool(self.code.co_flags & inspect.CO_COROUTINE)


def blocks_of(page: Path) -> list[Block]:
    """Return the Python blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[1], found[2] or "")
        for found in _PYTHON.finditer(text)
    ]


def texts_of(page: Path, language: str) -> list[str]:
    """Return the blocks of a language."""
    return [text for name, text in _FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


#: What runs together: each block of the README, and all of a page.
GROUPS = {block.place: [block] for block in blocks_of(README)}
GROUPS |= {page.name: blocks for page in PAGES if (blocks := blocks_of(page))}

CASES = [
    pytest.param(surface, blocks, id=f"{name}-{surface}")
    for name, blocks in GROUPS.items()
    for surface in ("website", "inference")
    if surface == "website" or not any("OA_COOKIE" in block.source for block in blocks)
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server that the environment leads to."""
    with LocalServer(backend="lorem") as made:
        monkeypatch.setenv("OA_BASE_URL", made.url)
        yield made


def run(blocks: list[Block], capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Block, str]]:
    """Run blocks, those for notebooks in one notebook, and yield each with what it prints."""
    notebook = [block for block in blocks if block.is_notebook]
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in blocks:
            if not block.is_notebook:
                exec(block.code, names)  # noqa: S102 - ours
                yield block, capsys.readouterr().out
    finally:
        # A page need not say at its end what each program does at its own.
        for value in names.values():
            if isinstance(value, Client):
                value.close()
    if notebook:
        yield from zip(notebook, run_in_notebook([block.source for block in notebook]), strict=True)


def run_in_notebook(sources: list[str]) -> list[str]:
    """Run the cells of a notebook, by a real kernel, and return what they print."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]  # type: ignore[no-untyped-call]  # nbformat has no types
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]  # as above
    nbclient.NotebookClient(notebook, timeout=60).execute()
    outputs = [[output for output in cell.outputs if output["output_type"] == "stream"] for cell in notebook.cells]
    return ["".join(output["text"] for output in some) for some in outputs]


@pytest.mark.parametrize(("surface", "blocks"), CASES)
def test_python_runs(
    surface: str,
    blocks: list[Block],
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Each Python block runs as it stands, and prints what the page says; those of the README print an answer."""
    cookie = "; ".join(f"{name}={value}" for name, value in server.cookies.items())
    monkeypatch.setenv(*(("OA_COOKIE", cookie) if surface == "website" else ("OA_TOKEN", server.token)))
    monkeypatch.chdir(tmp_path)

    for block, out in run(blocks, capsys):
        if block.output:
            assert matches(block.output, out), f"{block.place} prints:\n{out}"
        elif block.place.startswith(README.name):
            assert "orem ipsum" in out, block.place
        assert "no answer" not in out, block.place


@pytest.mark.skipif(
    not MODEL.downloaded or find_spec("xllamacpp") is None,
    reason=f"{MODEL.name} is not downloaded, or xllamacpp not installed",
)
def test_the_conversation_is_the_demo_models() -> None:
    """The demo model says in the README's conversation what stands there, and so remembers what it was about."""
    (block,) = (block for block in blocks_of(README) if "create_chat" in block.source)
    said = re.findall(r"chat\.ask\(.*  # (.+)", block.source)
    # In a process of its own, whose model goes with it.
    done = subprocess.run([sys.executable, "-c", block.source], capture_output=True, text=True, timeout=120)

    assert len(said) == 2
    assert done.stdout.splitlines() == said, done.stderr


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "index.md"], ids=["README", "index"])
def test_first_installation_is_of_the_checkout(page: Path) -> None:
    """What a page tells to install first works where no package index has the package."""
    installs = re.findall(r"pip install '?([^\s'`]+)", page.read_text(encoding="utf-8"))

    assert installs[0].partition("[")[0] == "."


def test_ci_runs_the_two_commands() -> None:
    """The README's two commands are the ones that CI starts with, and the scripts are there."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for text in texts_of(README, "sh") for line in text.splitlines()]
    commands = [line for line in lines if line.startswith("python3 ")]

    assert [line.split()[1] for line in commands] == ["scripts/demo.py", "scripts/test.py"]
    for line in commands:
        assert " ".join(line.split()[:2]) in ci
        assert (ROOT / line.split()[1]).is_file()


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in (README, *PAGES)])
def test_links_lead_somewhere(page: Path) -> None:
    """What a page links to in this repository is there."""
    links = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]

    assert not missing


@pytest.mark.parametrize("module", ["oa_client", "oa_client.local", "oa_client.provider", "oa_client.testing"])
def test_reference_is_complete(module: str) -> None:
    """The reference has each public name of a module once, and no other."""
    found = re.findall(rf"^::: {re.escape(module)}\.(\w+)$", pages_text(REFERENCE), re.MULTILINE)

    # The tree of errors is the docstring of a module.
    assert sorted(importlib.import_module(module).__all__) == sorted(
        set(found) - {"_errors", "local", "provider", "testing"}
    )
    assert len(found) == len(set(found))


def test_site_has_all_pages() -> None:
    """The table of contents of the site names each page once."""
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert sorted(re.findall(r"[\w/-]+\.md", site)) == sorted(
        str(page.relative_to(ROOT / "docs")) for page in (*PAGES, *REFERENCE)
    )


def pages_text(pages: list[Path]) -> str:
    """Return the text of some pages."""
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)
