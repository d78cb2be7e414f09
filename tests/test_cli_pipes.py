"""What goes into the command, and what comes out: pipes, files, terminals, and text that a server has written."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oa_client._command import run
from tests.accounts import SESSION, AccountScript
from tests.scripted import EventWriter, OpenAssistantScript, reply, response

COMMAND = [sys.executable, "-W", "error", "-m", "oa_client"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="such files are POSIX's")
#: What could forge a line or rewrite it, and how it is shown.
FORGED = "a\nb\r\x1b[2J\x9b\u2028\u202e\u2066"
SHOWN = "a\\nb\\r\\x1b[2J\\x9b\\u2028\\u202e\\u2066"


@pytest.fixture(autouse=True)
def signed_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that leads to the script of a test."""
    if "script" in request.fixturenames:
        script = request.getfixturevalue("script")
        monkeypatch.setenv("OA_BASE_URL", script.url)
        monkeypatch.setenv("OA_TOKEN" if script.surface == "inference" else "OA_COOKIE", "secret")


def prompts_of(script: OpenAssistantScript) -> list[str]:
    """The texts that were asked."""
    return [request.json()["content"] for request in script.requests if "prompter" in request.path]


@contextlib.contextmanager
def standard_input(kind: str, folder: Path) -> Iterator[Any]:
    """Give an end to read from, of a kind, with "a text" in it."""
    with contextlib.ExitStack() as stack:
        if kind == "file":
            (folder / "text").write_text("a text")
            yield stack.enter_context(open(folder / "text"))
        elif kind == "socket":
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.sendall(b"a text")
                ours.shutdown(socket.SHUT_WR)
                yield theirs
        elif kind == "/dev/null":
            yield subprocess.DEVNULL
        else:
            ours_fd, theirs_fd = os.openpty() if kind == "terminal" else os.pipe()[::-1]
            stack.callback(os.close, theirs_fd)
            os.write(ours_fd, b"a text\n" if kind == "terminal" else b"a text")
            if kind == "terminal":
                stack.callback(os.close, ours_fd)
            else:
                os.close(ours_fd)
            yield theirs_fd


@POSIX
@pytest.mark.parametrize("surface", ["inference"])
@pytest.mark.parametrize(
    ("kind", "arguments", "prompt"),
    [
        pytest.param("pipe", ["Summarize", "this:"], "Summarize this:\n\na text", id="pipe"),
        pytest.param("pipe", [], "a text", id="pipe alone"),
        pytest.param("pipe", ["-"], "a text", id="pipe that is named"),
        pytest.param("socket", ["Summarize this:"], "Summarize this:\n\na text", id="socket"),
        pytest.param("file", ["Summarize this:"], "Summarize this:\n\na text", id="file"),
        pytest.param("terminal", ["Hi"], "Hi", id="terminal"),
        pytest.param("/dev/null", ["Hi"], "Hi", id="null device"),
    ],
)
def test_what_is_piped_in(
    script: OpenAssistantScript, tmp_path: Path, kind: str, arguments: list[str], prompt: str
) -> None:
    """It follows the question, after an empty line; a terminal and a device are not read."""
    with standard_input(kind, tmp_path) as stdin:
        done = subprocess.run([*COMMAND, "ask", *arguments], stdin=stdin, capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.returncode) == ("Hello world\n", 0), done.stderr
    assert prompts_of(script) == [prompt]


@POSIX
@pytest.mark.parametrize("surface", ["inference"])
def test_standard_input_that_is_closed(script: OpenAssistantScript) -> None:
    """It counts as nothing: a question is asked without it, and without one there is none."""
    for question, status in (["Hi"], 0), ([], 2), (["-"], 2):
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "ask", *question]
        assert subprocess.run(command, capture_output=True, timeout=60).returncode == status

    assert prompts_of(script) == ["Hi"]


@pytest.mark.parametrize("surface", ["inference"])
def test_pipe_that_brings_nothing(script: OpenAssistantScript) -> None:
    """A line says what `ask` waits for, and how to avoid that; what comes later is read all the same."""
    with subprocess.Popen(
        [*COMMAND, "ask", "Summarize this:"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        waiting = process.stderr.readline()
        out, errors = process.communicate("a text", timeout=60)

    assert waiting.startswith("oa-client: waiting for standard input")
    assert "< /dev/null" in waiting
    assert (out, errors, prompts_of(script)) == ("Hello world\n", "", ["Summarize this:\n\na text"])


@POSIX
@pytest.mark.parametrize("surface", ["inference"])
@pytest.mark.parametrize("command", ["ask Hi", "models", "whoami"])
def test_closed_output(script: OpenAssistantScript, command: str) -> None:
    """Where there is no standard output, a command whose result goes there says so, and asks nothing."""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, *command.split()]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (
        1,
        "oa-client: standard output is closed, so the result cannot be printed\n",
    )
    assert script.requests == []


def test_text_of_a_server_forges_no_line(script: OpenAssistantScript, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line, and an answer has the line ends and tabs that it has, but nothing else that acts."""
    script.tokens = [FORGED, "\tb"]
    assert run(["ask", "Hi"]) == 0
    answer = capsys.readouterr().out
    script.events = lambda stream: stream.error(FORGED)
    assert run(["ask", "Hi"]) == 1
    error = capsys.readouterr().err

    assert answer == SHOWN.replace("\\n", "\n") + "\tb\n"
    assert error.endswith(f"oa-client: {SHOWN}\n")


def test_names_forge_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The names of users and models, and what is said of these, stay on their line."""
    # JSON can hold half of a character, which cannot be printed.
    config = json.dumps([{"name": FORGED, "description": FORGED + "\ud800"}]).encode()
    with AccountScript("website") as script:
        script.routes["GET /api/auth/session"] = script.session({**SESSION, "user": {"name": FORGED}})
        script.routes["GET /api/chat/models"] = reply(response(200, config, {"Content-Type": "application/json"}))
        statuses = [run(["whoami", script.url]), run(["models", "--server", script.url])]
    user, _, model = capsys.readouterr().out.splitlines()

    assert statuses == [0, 0]
    assert user == f"{SHOWN}, {script.url} (website)"
    assert model == f"{SHOWN}  {SHOWN}\\ud800"


@pytest.mark.parametrize("surface", ["inference"])
def test_terminal_that_cannot_hold_a_character(script: OpenAssistantScript) -> None:
    """It gets a question mark, whatever the command."""
    script.tokens = ["gr\xfcn \u0416"]
    done = subprocess.run(
        [*COMMAND, "ask", "Hi"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )

    assert done.stdout == b"gr\xfcn ?\n"


@POSIX
@pytest.mark.parametrize("named", [False, True])
def test_chat_that_is_left_can_be_deleted(
    script: OpenAssistantScript, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    """Where the reader leaves in mid-answer, the command that is named deletes the chat when the answer has ended."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        for number in range(1000):
            stream.token(str(number))
        stream.connection.wait_until_left()

    script.events = events
    script.message_state = "in_progress"
    options = ["--server", script.url] if named else []
    with subprocess.Popen(
        [*COMMAND, "ask", *options, "Hi"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        (line,) = process.stderr.read().splitlines()
    command = shlex.split(line.partition("ended: ")[2])

    assert (process.returncode, script.visible_chats, script.deleted_chats) == (1, [], [])
    assert line.startswith("oa-client: left on the server: chat c1; ")
    assert command == ["oa-client", "chats", "delete", *options, "c1"]
    # One that was cancelled may yet be queued, so it is not waited for.
    script.message_state = script.change_message("m1", state="cancelled")["state"]
    assert run(command[1:]) == 1
    assert "left on the server: chat c1; " in capsys.readouterr().err
    script.change_message("m1", state="complete")
    assert run(command[1:]) == 0
    assert (capsys.readouterr().out, script.deleted_chats) == ("Deleted chat c1.\n", ["c1"])


def test_deleting_a_chat_that_is_not_there(script: OpenAssistantScript, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, the others are deleted, and the status is 1."""
    assert run(["ask", "Hi"]) == 0
    capsys.readouterr()

    assert run(["chats", "delete", "c1"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "the server has no chat c1" in err


@pytest.mark.parametrize("group", [[], ["chats"]])
def test_summaries_are_whole(
    group: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help cuts no summary, however narrow the terminal is."""
    monkeypatch.setenv("COLUMNS", "40")

    assert run([*group, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
