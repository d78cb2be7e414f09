"""Each example runs as a user would run it, on both surfaces, prints what it should, and leaves no chat behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from oa_client import Client
from oa_client.local import LocalServer
from tests.printed import matches
from tests.scripted import Surface

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

LOREM = "Lorem ipsum dolor sit amet…"
#: What is printed: by both surfaces, or by each. `…` stands for any text.
EXPECTED: dict[str, str | dict[Surface, str]] = {
    "accounts.py": {
        "inference": f"""
signed in as local, role: not told
{LOREM}
signed out: True
nobody is signed in any more
""",
        "website": f"""
signed in as local, role: general
until 2…
{LOREM}
signed out: True
nobody is signed in any more
""",
    },
    "async_app.py": f"""
…?
  {LOREM}
…?
  {LOREM}
…?
  {LOREM}
tokens: 120
{LOREM}
4 messages
""",
    "chats.py": """
title: The sky; may be used for training: False
hidden: listed False, listed with the hidden ones True
the newest chats:
  2…  (empty)
  2…  The sky
json: 'The sky', 2 messages
markdown: 'The sky', 2 messages
imported: 2 messages
deleted at once: True
deleted at once: True
""",
    "conversations.py": f"""
Two turns:
{LOREM}
  prompter   What is the capital of France?
  assistant  {LOREM}
  prompter   And of Italy?
  assistant  {LOREM}
The second prompt, edited:
  prompter   What is the capital of France?
  assistant  {LOREM}
  prompter   And of Spain?
  assistant  {LOREM}
A second draft of the answer, with the first one selected:
  the end is the first draft: True
After the answer that the edit replaced, by the id of the chat:
  prompter   What is the capital of France?
  assistant  {LOREM}
  prompter   And of Italy?
  assistant  {LOREM}
  prompter   And of Germany?
  assistant  {LOREM}
""",
    "feedback.py": {
        "inference": f"""
score -1: {LOREM}
score 1: {LOREM}
the second is better: told
reported: feedback, These are not rivers.
""",
        "website": f"""
score -1: {LOREM}
score 1: {LOREM}
the second is better: told
not reported: the website takes no reports…
""",
    },
    "models.py": f"""
lorem: k50, k50-Creative, …
OA_SFT_Llama_30B_6: k50, k50-Creative, …

temperature 0.1, top_k None:
{LOREM}

temperature 1.5, top_k None:
{LOREM}

temperature 0.75, top_k 50:
{LOREM}

sampling: no preset 'no such preset' for lorem; known are k50, …
""",
    "notebook.ipynb": f"""
{LOREM}
{LOREM}
{LOREM}
prompter manual
assistant complete
prompter manual
assistant complete
<!-- oa-client chat …# What is the capital of France?…## Assistant…And of Italy?…<!-- oa-client end -->…
{LOREM}
() ()
""",
    "plugins.py": f"""
Calculator: Works out the arithmetic in your question, exactly.
[thinking...]
[I should calculate 1234 * 5678: Calculator says 7006652]
{LOREM}
used: Calculator
""",
}


def test_all_are_here() -> None:
    """The table has all examples."""
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_file()) == sorted(EXPECTED)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_example(name: str, surface: Surface, tmp_path: Path) -> None:
    """An example prints what it should, says nothing on stderr, and leaves no chat on the server."""
    with LocalServer(backend="lorem") as server:
        cookie = "; ".join(f"{name}={value}" for name, value in server.cookies.items())
        credentials = {"OA_COOKIE": cookie} if surface == "website" else {"OA_TOKEN": server.token}
        variables = {**os.environ, **credentials, "OA_BASE_URL": server.url, "PYTHONPATH": str(ROOT)}
        if name.endswith(".ipynb"):
            printed = run_notebook(EXAMPLES / name, variables)
        else:
            command = [sys.executable, str(EXAMPLES / name)]
            done = subprocess.run(
                command, env=variables, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60
            )
            assert (done.returncode, done.stderr) == (0, "")
            printed = done.stdout
        with Client(server.url, token=server.token) as client:
            left = list(client.list_chats(include_hidden=True))

    expected = EXPECTED[name]
    assert matches(expected if isinstance(expected, str) else expected[surface], printed), printed
    assert left == []


def run_notebook(path: Path, variables: dict[str, str]) -> str:
    """Run a notebook by a real kernel, and return what its cells print."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types
    nbclient.NotebookClient(notebook, timeout=60).execute(env=variables)
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return "\n".join("".join(output.get("text", "") for output in cell.outputs).strip() for cell in cells)
