"""The command, run as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import pytest
import requests

from oa_client import APIError, Client, __main__
from oa_client._command import run
from oa_client._command.connection import INTERRUPT_TIMEOUT, CommandClient
from oa_client._command.terminal import on_enter
from oa_client.local import LocalServer
from tests.local.upstream import UpstreamDouble
from tests.scripted import EventWriter, OpenAssistantScript

COMMAND = [sys.executable, "-W", "error", "-m", "oa_client"]


def variables(script: OpenAssistantScript) -> dict[str, str]:
    """The environment that leads to a script."""
    name = "OA_TOKEN" if script.surface == "inference" else "OA_COOKIE"
    return {"OA_BASE_URL": script.url, name: "secret"}


def start(*arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the command with the test's environment and some variables more."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ask_prints_the_answer(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ask` prints the tokens and a line end to stdout, nothing else there, and leaves no chat."""
    for name, value in variables(script).items():
        monkeypatch.setenv(name, value)

    status = run(["ask", "--model", "llama", "--system", "be brief", "Why", "is", "it?"])

    assert (status, capsys.readouterr().out) == (0, "Hello world\n")
    assert script.visible_chats == []
    bodies = [request.json() for request in script.requests if request.body not in (b"", b"{}")]
    assert [body["content"] for body in bodies if "content" in body] == ["Why is it?"]
    assert [(body["model_config_name"], body["system_prompt"]) for body in bodies if "plugins" in body] == [
        ("llama", "be brief")
    ]


def test_ask_prints_tokens_as_they_come(script: OpenAssistantScript) -> None:
    """The first token is on stdout before the server sends the second."""
    printed = threading.Event()

    def events(stream: EventWriter) -> None:
        stream.pending(1, 2)
        stream.token("Hello")
        stream.wait(printed)
        stream.token(" world")
        stream.message()

    script.events = events
    with start("ask", "Hi", environment=variables(script)) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 100)
        printed.set()
        rest, errors = process.communicate(timeout=60)

    assert (first, rest, process.returncode) == (b"Hello", " world\n", 0), errors


def test_ask_keeps_control_characters_from_the_terminal(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences in an answer are not printed as such."""
    for name, value in variables(script).items():
        monkeypatch.setenv(name, value)
    script.tokens = ["a\x1b[2Jb\n", "c\td\x9b"]

    run(["ask", "Hi"])

    assert capsys.readouterr().out == "a\\x1b[2Jb\nc\td\\x9b\n"


def test_ask_says_if_the_final_text_is_another(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A final text that differs from the printed tokens is printed to stderr."""
    for name, value in variables(script).items():
        monkeypatch.setenv(name, value)
    script.final_text = "Goodbye"

    assert run(["ask", "Hi"]) == 0
    assert "The final text differs:\nGoodbye" in capsys.readouterr().err


def test_error_is_one_line_on_stderr(
    script: OpenAssistantScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of ours ends with status 1 and one line, which does not hold the credentials."""
    for name, value in variables(script).items():
        monkeypatch.setenv(name, value)
    script.events = lambda stream: stream.error("out of \x1b[2Jmemory")

    status = run(["ask", "Hi"])

    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.endswith("oa-client: out of \\x1b[2Jmemory\n")
    assert "secret" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["nonsense"], id="unknown command"),
        pytest.param(["ask"], id="no question"),
        pytest.param(["ask", ""], id="empty question"),
        pytest.param(["serve", "--backend", "nonsense"], id="unknown backend"),
        pytest.param(["serve", "--port", "70000"], id="no port"),
        pytest.param(["login"], id="no address"),
        pytest.param(["login", "http://h", "--token", "secret"], id="secret argument"),
        pytest.param(["login", "--cookie", "http://h"], id="address after an option"),
        pytest.param(["login", "http://h", "--user", "ada", "--cookies", "file"], id="two credentials"),
        pytest.param(["serve", "--host", "a b"], id="no host"),
        pytest.param(["serve", "--host", "192.0.2.1"], id="others without a token"),
        pytest.param(["serve", "--token-file", "no-such-file"], id="no token file"),
        pytest.param(["serve", "--token-file", __file__], id="no token in the file"),
        pytest.param(["serve", "--backend", "openai"], id="no upstream"),
        pytest.param(["serve", "--upstream-model", "large"], id="no upstream of the model"),
        pytest.param(["serve", "--backend", "lorem", "--model", "x.gguf"], id="a model for another backend"),
        pytest.param(["logout", "oa.example.org"], id="address without a scheme"),
        pytest.param(["whoami"], id="no address to ask"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is explained on stderr, without a secret that was given as an argument."""
    assert run(arguments) == 2
    explained = capsys.readouterr().err
    assert "Usage:" in explained
    assert "secret\n" not in explained
    assert "'secret'" not in explained


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["ask"], 'pipe one in, or "-" to read it from standard input', id="no question"),
        pytest.param(["ask", ""], "there is no question", id="empty question"),
        pytest.param(["serve", "--upstream-model", "large"], "needs --upstream", id="no upstream of the model"),
        pytest.param(["serve", "--backend", "openai"], "needs --upstream", id="no upstream"),
        pytest.param(["serve", "--backend", "lorem", "--model", "x"], "takes no --model", id="another's option"),
        pytest.param(["logout", "oa.example.org"], "URL is not", id="argument"),
        pytest.param(["login", "oa.example.org", "--user", "ada"], "mean https://oa.example.org?", id="no scheme"),
        pytest.param(["chats", "delete", "c1"], "no address: give --server URL", id="no address for chats"),
        pytest.param(["ask", "--server", "oa.example.org", "Hi"], "--server is not", id="option"),
        pytest.param(["whoami"], "no address: give a URL, set $OA_BASE_URL, or sign in", id="no address"),
    ],
)
def test_wrong_usage_is_told_in_words_of_the_command(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in those of the Python that is called."""
    run(arguments)
    (problem,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: "))

    assert words in problem
    assert not re.search("messages|base_url|upstream_model", problem)


def test_standard_input_that_is_no_text(script: OpenAssistantScript) -> None:
    """Whatever the locale makes of it, the command says so in one line, and asks nothing."""
    commands = (["ask", "-"], ["ask", "Hi"], ["login", script.url, "--token", "-"])
    for locale, command in (*(("C.UTF-8", command) for command in commands), ("C", commands[0])):
        done = subprocess.run(
            [*COMMAND, *command],
            env={**os.environ, **variables(script), "LC_ALL": locale},
            input=b"\xff\xfe",
            capture_output=True,
            timeout=60,
            check=False,
        )

        assert (done.returncode, done.stderr) == (1, b"oa-client: standard input is not UTF-8\n")
    assert script.requests == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")
def test_output_that_cannot_be_written(script: OpenAssistantScript) -> None:
    """A full disk ends with status 1 and one line, and leaves no chat."""
    script.message_state = "complete"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "ask", "Hi"],
            env={**os.environ, **variables(script)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, "oa-client: No space left on device\n")
    assert script.visible_chats == []


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        pytest.param(None, [()], id="the end"),
        pytest.param(BrokenPipeError, [(INTERRUPT_TIMEOUT,)], id="the reader has left"),
        pytest.param(__main__.Interrupted, [(INTERRUPT_TIMEOUT,)], id="Ctrl-C"),
        pytest.param(__main__.Terminated, [(INTERRUPT_TIMEOUT,)], id="SIGTERM"),
    ],
)
def test_how_long_a_broken_off_command_stays(
    script: OpenAssistantScript,
    error: type[BaseException] | None,
    waits: list[tuple[float, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Less long than a program that closes its client, as somebody waits for the shell; what is left is named."""
    closed = []

    class Noted(CommandClient):
        def close(self, *timeout: float | None) -> tuple[str, ...]:
            closed.append(timeout)
            return super().close(0)

    script.message_state = "in_progress"
    interrupted = contextlib.suppress(BrokenPipeError, __main__.Terminated)
    with interrupted, Noted(script.url, **script.credentials) as client:
        client.stream("Hi").close()
        if error is not None:
            raise error

    told = capsys.readouterr().err
    assert closed == waits
    assert "oa-client: left on the server: chat c1; " in told
    assert ("press Ctrl-C again" in told) == (error is __main__.Interrupted)


@pytest.mark.parametrize("error", [__main__.Interrupted, __main__.Terminated])
def test_second_interrupt_names_the_chat(
    script: OpenAssistantScript, error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C or SIGTERM while the chat is being deleted ends that, and names it."""

    class Impatient(CommandClient):
        def close(self, timeout: float | None = None) -> tuple[str, ...]:
            if timeout == INTERRUPT_TIMEOUT:
                raise error
            return super().close(timeout)

    script.message_state = "in_progress"
    with contextlib.suppress(__main__.Terminated), Impatient(script.url, **script.credentials) as client:
        client.stream("Hi").close()
        raise __main__.Interrupted

    assert "oa-client: left on the server: chat c1; " in capsys.readouterr().err


def test_models_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`models` prints a line for each, beginning with what `ask --model` takes."""
    with LocalServer("lorem") as server:
        monkeypatch.setenv("OA_BASE_URL", server.url)
        monkeypatch.setenv("OA_TOKEN", server.token)
        status = run(["models"])

    assert status == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["lorem", "OA_SFT_Llama_30B_6"]


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, 130, "\noa-client: deleting the chat; press Ctrl-C again to leave it\n\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_interrupted_ask_leaves_no_chat(
    script: OpenAssistantScript, number: signal.Signals, status: int, told: str
) -> None:
    """Ctrl-C or SIGTERM in mid-answer ends with a status of its own, without a traceback, and the chat goes."""

    def events(stream: EventWriter) -> None:
        stream.token("Hello")
        script.message_state = "complete"
        stream.connection.wait_until_left()

    script.events = events
    with start("ask", "Hi", environment=variables(script)) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"Hello"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (status, told)
    assert script.deleted_chats == ["c1"]


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("strike(SIGTERM)", 143, id="SIGTERM"),
        pytest.param("strike(SIGINT)", 130, id="Ctrl-C"),
        pytest.param("Late(SIGTERM); forever()", 143, id="SIGTERM in a finalizer"),
        pytest.param("Late(SIGINT); forever()", 130, id="Ctrl-C in a finalizer"),
        pytest.param("then(SIGTERM, SIGTERM)", -signal.SIGTERM, id="SIGTERM twice"),
        pytest.param("then(SIGTERM, SIGINT)", 130, id="Ctrl-C after SIGTERM"),
    ],
)
def test_a_signal_ends_the_command_without_a_word(body: str, status: int) -> None:
    """Wherever it strikes, while the command is imported too; a second SIGTERM ends the process at once."""
    program = f"""
import sys, time
from signal import *
strike = raise_signal
class Late:
    def __init__(self, number):
        self.number = number
    def __del__(self):
        strike(self.number)
def forever():
    while True:
        pause()
def then(first, second):
    try:
        strike(first)
    finally:
        strike(second)
class Finder:
    def find_spec(self, name, *_):
        if name == "oa_client._command":
            {body}
sys.meta_path.insert(0, Finder())
from oa_client.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_prints_how_to_reach_it_and_ends_on_a_signal() -> None:
    """`serve --json` prints one line that a client can be made from, and SIGTERM ends it with status 143."""
    with start("serve", "--backend", "lorem", "--json", environment={}) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        with Client(facts["url"], token=facts["token"]) as client:
            answer = client.ask("Hi", sampling={"max_new_tokens": 2})
        with Client(facts["url"], cookies=facts["cookies"]) as client:
            models = [model.name for model in client.list_models()]
        process.terminate()
        _, errors = process.communicate(timeout=60)

    assert str(answer) == "Lorem ipsum"
    assert facts["model"] in models
    assert (process.returncode, errors) == (143, "")


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_explains_itself_to_people() -> None:
    """Without --json the address and both kinds of credentials are printed as variables to set."""
    with start("serve", "--backend", "lorem", environment={}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert "OA_TOKEN=" in lines[2]
    assert "OA_COOKIE='next-auth.session-token=" in lines[3]
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
def test_serve_on_a_full_disk_that_nobody_hears_of(tmp_path: Path) -> None:
    """With its stderr full and unread it refuses each prompt, deletes a chat, and later has told it all in one line."""
    import resource

    file = tmp_path / "chats.db"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    command = [*COMMAND, "serve", "--backend", "lorem", "--store", str(file), "--json"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        os.close(writer)
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        with Client(facts["url"], token=facts["token"], max_retries=0) as client:
            kept, other = client.create_chat(), client.create_chat()
            size = max(path.stat().st_size for path in tmp_path.iterdir())
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
            refusals = []
            for _ in range(30):
                with pytest.raises(APIError) as caught:
                    kept.ask("x" * 2 * size)
                refusals.append(str(caught.value))
            other.delete()
            left = [chat.id for chat in client.list_chats()]
        process.terminate()
        while (received := len(os.read(reader, filled))) and (filled := filled - received):
            continue
        told = os.read(reader, 10_000).decode()
        status = process.wait(60)
    os.close(reader)

    assert [kept.id] == left
    assert all("store of chats fails: " in refusal and "make room there" in refusal for refusal in refusals)
    assert told.startswith("oa-client: the store of the chats fails: ")
    assert told.count("\n") == 1
    assert status == 143


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_keeps_chats_in_a_file(tmp_path: Path) -> None:
    """With --store the next one has the chats and the credentials, and says where they are; JSON stays one line."""
    file = tmp_path / "chats.db"
    with start("serve", "--backend", "lorem", "--store", str(file), "--json", environment={}) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        with Client(facts["url"], token=facts["token"]) as client:
            chat = client.create_chat()
        process.terminate()
        rest, _ = process.communicate(timeout=60)
    with start("serve", "--backend", "lorem", "--store", str(file), environment={}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        with Client(lines[0].split()[2].rstrip(","), token=facts["token"]) as client:
            kept = [one.id for one in client.list_chats()]
        process.terminate()
        process.communicate(timeout=60)

    assert rest == ""
    assert lines[4] == f"Chats are kept in {file}\n"
    assert kept == [chat.id]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal")
def test_serve_prints_an_address_of_the_chat_page_at_each_enter() -> None:
    """Each signs in once; both are good, and the command still ends on a signal."""
    keyboard, terminal = os.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, "serve", "--backend", "lorem"],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            addresses = [_page_address(process.stdout)]
            os.write(keyboard, b"\n")
            addresses.append(_page_address(process.stdout))
            statuses = [requests.get(url, timeout=60).status_code for url in (*addresses, addresses[0])]
            process.terminate()
            _, errors = process.communicate(timeout=60)
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert statuses == [200, 200, 403]
    assert (process.returncode, errors) == (143, "")


def _page_address(output: IO[str]) -> str:
    """Read until the chat page's address comes."""
    for line in output:
        if line.startswith("Chat page"):
            return line.split()[-1]
    raise AssertionError("no address came")


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_opens_the_chat_page(tmp_path: Path) -> None:
    """`--open` starts the browser with a file that leads to an address that signs in, which --json does not print."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser.py"
    browser.write_text(f"import sys; open({str(opened)!r}, 'w').write(sys.argv[1])")
    environment = {"BROWSER": f"{sys.executable} {browser} %s"}
    with start("serve", "--backend", "lorem", "--json", "--open", environment=environment) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        while not (opened.exists() and opened.read_text()):
            assert process.poll() is None
        file = Path(unquote(opened.read_text().removeprefix("file://")))
        modes = [path.stat().st_mode & 0o777 for path in (file.parent, file)]
        (address,) = re.findall(r"url=([^\"]+)", file.read_text())
        signed_in = requests.get(address, timeout=60).status_code
        process.terminate()
        process.communicate(timeout=60)

    assert set(facts) == {"url", "token", "cookies", "model"}
    assert (modes, file.parent.exists()) == ([0o700, 0o600], False)
    assert (address.startswith(f"{facts['url']}/chat?code="), signed_in) == (True, 200)


def test_enter_is_heard_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, a closed standard input and none at all start no thread."""
    closed = io.StringIO()
    closed.close()
    for stdin in (io.StringIO("\n"), closed, None):
        monkeypatch.setattr(sys, "stdin", stdin)
        before = threading.active_count()
        on_enter(lambda: None, threading.Event())

        assert threading.active_count() == before


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_passes_on_to_another_server() -> None:
    """With --upstream its models answer, and $OA_UPSTREAM_KEY, no other variable, goes there."""
    with UpstreamDouble() as upstream:
        environment = {"OA_UPSTREAM_KEY": "sk-of-the-upstream", "OPENAI_API_KEY": "sk-of-another-server"}
        command = ("serve", "--upstream", upstream.base, "--upstream-model", "large", "--json")
        with start(*command, environment=environment) as process:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            with Client(facts["url"], token=facts["token"]) as client:
                answer = client.ask("Hi")
                models = [model.name for model in client.list_models()]
            process.terminate()
            out, errors = process.communicate(timeout=60)

    assert (facts["model"], str(answer), models[:2]) == ("large", "Hello wörld", ["large", "small"])
    assert {request.headers["authorization"] for request in upstream.requests} == {"Bearer sk-of-the-upstream"}
    assert (out, errors) == ("", "")


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_serve_warns_of_a_key_that_goes_unencrypted() -> None:
    """In one line, without the key."""
    with UpstreamDouble() as proxy:
        environment = {"OA_UPSTREAM_KEY": "sk-secret", "http_proxy": proxy.url}
        command = ("serve", "--upstream", "http://192.0.2.1/v1", "--upstream-model", "m", "--json")
        with start(*command, environment=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.terminate()
            _, errors = process.communicate(timeout=60)

    assert errors == (
        "oa-client: the key of the upstream goes to http://192.0.2.1 unencrypted, for all on the way to read: "
        "use https\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("given", ["file", "variable"])
def test_serve_lets_other_machines_in_with_a_token(tmp_path: Path, given: str) -> None:
    """The token is that of the file or the variable, is not shown, and stderr says what it opens."""
    token = "correct-horse-battery-staple-0123456789"
    file = tmp_path / "my token"
    file.write_text(f"{token}\n")
    options = ["--token-file", str(file)] if given == "file" else []
    environment = {} if given == "file" else {"OA_SERVE_TOKEN": token}
    everywhere = "0.0.0.0"  # noqa: S104 - what is tested
    command = ("serve", "--backend", "lorem", "--host", everywhere, *options)
    with start(*command, environment=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[0].split()[2].rstrip(",")
        with Client(url, token=token) as client:
            chats = list(client.list_chats())
        with Client(url, cookies=token) as client:
            chats += client.list_chats()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    source = f"\"$(cat '{file}')\"" if given == "file" else '"$OA_SERVE_TOKEN"'

    assert chats == []
    assert (lines[2].endswith(f"OA_TOKEN={source}\n"), lines[3].endswith(f"OA_COOKIE={source}\n")) == (True, True)
    assert token not in "".join(lines) + errors
    assert (
        f"other machines can reach this server: {everywhere}, port {url.rpartition(':')[2]}. It is plain http" in errors
    )
    assert "browsers do not say what page a request comes from" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no model file"), (b"<!doctype html>", "not a model in the GGUF format, but a web page")],
)
def test_serve_with_a_model_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    """One line says what was found instead."""
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)

    status = run(["serve", "--model", str(file)])

    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("oa-client: ")
    assert words in err
    assert err.count("\n") == 1


def test_serve_tells_about_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a line of help."""
    run(["serve", "--help"])
    text = capsys.readouterr().out

    options = ("--backend", "--model", "--upstream", "--upstream-model", "--host", "--port", "--token-file", "--store")
    for option in options:
        assert re.search(rf"^  {option} [A-Z]+ +\w", text, re.MULTILINE), option
    assert "sent to that" in text


def test_ask_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    """With no address and no model downloaded, `ask` names `oa-client setup` and downloads nothing."""
    folder = tmp_path / "data"
    with start("ask", "Hi", environment={"OA_CLIENT_DATA": str(folder)}) as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "oa-client setup" in errors
    assert not folder.exists()


def test_setup_without_a_connection(tmp_path: Path) -> None:
    """Where there is no terminal `setup` prints a line of what it does and one of what went wrong."""
    environment = {"OA_CLIENT_DATA": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    with start("setup", environment=environment) as process:
        out, errors = process.communicate(timeout=60)

    assert (out, process.returncode) == ("", 1)
    assert [line.partition(" SmolLM2")[0] for line in errors.splitlines()] == [
        "Downloading",
        "oa-client: could not download",
    ]


def test_command_without_its_extra_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without click the command prints the pip line that brings it."""
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "oa_client._command")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handlers

    assert __main__.main() == 2
    assert "pip install 'oa-client[local]', or 'oa-client[cli]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "setup", "ask Hi"])
def test_local_server_without_its_extra_says_how_to_get_it(command: str) -> None:
    """Where starlette and the others are not installed, the commands print the pip line that brings them."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['platformdirs', 'starlette', 'uvicorn', 'xllamacpp']));"
        "from oa_client._command import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command.split()], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "pip install 'oa-client[local]'" in done.stderr
    assert "Traceback" not in done.stderr
