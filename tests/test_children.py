"""A child process that made a client leaves no chat behind, however it ends."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from oa_client.testing import OAServer, Pause

pytestmark = pytest.mark.oa_surface("inference", "website")

# A process of its own, as pytest has threads, which do not go with forking; a file, as spawn imports it.
PROGRAM = """
import json, multiprocessing, sys
from oa_client import Client

def child(url, credentials):
    global stream
    stream = Client(url, **credentials).stream("Hi")
    assert next(stream) == "Hello"
    # It is left open, and the client too.

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    process = context.Process(target=child, args=(sys.argv[1], json.loads(sys.argv[2])))
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_child_that_leaves_a_stream_open(oa_server: OAServer, tmp_path: Path, method: str) -> None:
    """A child of multiprocessing deletes the chats of its own client at its end, by whatever method it was started."""
    oa_server.reply("Hello world", fault=Pause(after=1))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, oa_server.url, json.dumps(oa_server.credentials), method],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    oa_server.assert_no_chat_left()
