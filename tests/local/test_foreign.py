"""Clients that were not written for this server, and know nothing of it: they work with it as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oa_client.local import LocalServer
from tests.local.support import PATIENCE, User

SCRIPTS = Path(__file__).parent / "foreign"
PYTHON = Path(__file__).resolve().parents[2] / ".foreign" / "bin" / "python"
COMMAND = "bash .ci/foreign"

gpt4free = pytest.mark.skipif(not PYTHON.exists(), reason=f"needs the gpt4free package: {COMMAND}")


def run(python: Path | str, script: str, folder: Path, *arguments: str) -> Any:
    """What a script prints, run where it finds nothing of this project."""
    command = [str(python), str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@gpt4free
def test_the_gpt4free_provider(tmp_path: Path) -> None:
    """It streams an answer, token by token, and deletes its chat."""
    with LocalServer("lorem") as server:
        said = run(PYTHON, "gpt4free.py", tmp_path, server.url, json.dumps(server.cookies), "", "Hi 🙂")
        left = User(server, "website").send("GET", "/api/chat").json()

    assert said["error"] is None
    assert said["texts"][:3] == ["Lorem", " ipsum", " dolor"]
    assert len(said["texts"]) == 40
    assert left["chats"] == []


@gpt4free
@pytest.mark.parametrize(
    ("cookies", "model", "error"),
    [
        pytest.param(None, "gpt-5", "RuntimeError: Model gpt-5 not found", id="an unknown model"),
        pytest.param({"next-auth.session-token": "garbage"}, "", "ContentTypeError: 403", id="a wrong cookie"),
    ],
)
def test_the_gpt4free_provider_is_refused(tmp_path: Path, cookies: Any, model: str, error: str) -> None:
    """In the words that it expects, or without any, as by the real website."""
    with LocalServer("lorem") as server:
        cookies = json.dumps(cookies or server.cookies)
        said = run(PYTHON, "gpt4free.py", tmp_path, server.url, cookies, model, "Hi")

    assert said["texts"] == []
    assert said["error"].startswith(error)


@pytest.mark.parametrize("surface", ["website", "inference"])
def test_a_script_by_hand(tmp_path: Path, surface: str) -> None:
    """A conversation of two turns, with all that can be done to it."""
    with LocalServer("lorem") as server:
        (session,) = server.cookies.values()
        credential = session if surface == "website" else server.token
        seen = run(sys.executable, "plain.py", tmp_path, server.url, surface, credential)

    assert seen == {
        "turns": [[12, True], [12, True]],
        "listed": ["A conversation"],
        "roles": ["prompter", "assistant", "prompter", "assistant"],
        "score": 1,
        "events of a finished answer": [200 if surface == "website" else 204, ""],
        "left": [],
    }
