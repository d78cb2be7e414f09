"""Signing in and out by the command, as a user does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from oa_client import login
from oa_client._accounts.store import LoginFile
from oa_client._accounts.target import origin_name
from oa_client._command import run
from tests.accounts import SESSION, AccountScript
from tests.scripted import Surface, json_response, reply

COMMAND = [sys.executable, "-W", "error", "-m", "oa_client"]
NAME = "next-auth.session-token"


@pytest.fixture
def script(surface: Surface) -> Iterator[AccountScript]:
    """A server of each kind, with accounts."""
    with AccountScript(surface) as server:
        yield server


@pytest.fixture
def kind(surface: Surface) -> str:
    """The option and the prompt for what signs in."""
    return "token" if surface == "inference" else "cookie"


@pytest.fixture
def line(script: AccountScript) -> str:
    """What is printed of who is signed in."""
    return "ada" if script.surface == "inference" else "Ada (general)"


def is_signed(script: AccountScript, secret: str) -> bool:
    """Whether the first request had a secret."""
    headers = script.requests[0].headers
    return secret in (headers["Authorization"] or headers["Cookie"] or "")


def test_secret_from_standard_input(script: AccountScript, kind: str, line: str) -> None:
    """With "-" a line of standard input is the secret; it is kept, and not printed."""
    done = subprocess.run(
        [*COMMAND, "login", script.url, f"--{kind}", "-"],
        input="the-secret\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == (f"Signed in at {script.url} as {line}.\n", "", 0)
    assert is_signed(script, "the-secret")


def type_in(arguments: list[str], *answers: tuple[str, str]) -> str:
    """Run the command in a terminal, answer its prompts, and return all that is on the screen."""
    import pty

    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        seen = b""
        for prompt, answer in answers:
            while prompt.encode() not in seen:
                seen += screen.read(1000)
            os.write(ours, f"{answer}\n".encode())
        # At the end of a terminal there is an error on Linux.
        with suppress(OSError):
            while piece := screen.read(1000):
                seen += piece
        assert process.wait(60) == 0, seen
    return seen.decode()


@pytest.mark.skipif(os.name != "posix", reason="there is no such terminal")
def test_secret_is_asked_for(script: AccountScript, kind: str, line: str) -> None:
    """An option without a value asks for the secret, which is not shown while it is typed."""
    seen = type_in(["login", script.url, f"--{kind}"], (f"{kind.capitalize()}: ", "the-secret"))

    assert f"Signed in at {script.url} as {line}." in seen
    assert "the-secret" not in seen
    assert is_signed(script, "the-secret")


@pytest.mark.skipif(os.name != "posix", reason="there is no such terminal")
def test_without_an_option(script: AccountScript, kind: str, line: str) -> None:
    """Without an option it is asked what there is, and then for that."""
    seen = type_in(["login", script.url], ("have?", kind), (f"The {kind} (it is not shown): ", " the-secret "))

    assert f"Signed in at {script.url} as {line}." in seen
    assert "the-secret" not in seen
    assert is_signed(script, "the-secret")


@pytest.mark.parametrize("option", [[], ["--token"], ["--cookie"]])
def test_nobody_who_can_be_asked(option: list[str]) -> None:
    """Without a terminal `login` says how else a secret is given."""
    done = subprocess.run(
        [*COMMAND, "login", "https://oa.example", *option],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("", 2)
    assert "--token - or --cookie - to read the secret" in done.stderr


@pytest.mark.parametrize(("option", "words"), [([], "not a terminal"), (["--token", "-"], "is empty")])
def test_login_without_standard_input(
    option: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is closed, `login` says what is missing."""
    monkeypatch.setattr(sys, "stdin", None)

    assert run(["login", "https://oa.example", *option]) == 2
    assert words in capsys.readouterr().err


def test_login_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--cookies` takes a file of cookies."""
    file = tmp_path / "cookies.json"
    file.write_text(f'{{"{NAME}": "x"}}')
    with AccountScript("website") as script:
        assert run(["login", script.url, "--cookies", str(file)]) == 0

    assert capsys.readouterr().out == f"Signed in at {script.url} as Ada (general).\n"
    assert script.sent("Cookie") == [f"{NAME}=x"]


def test_login_with_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`--user` logs in by a name alone, and `ask` then needs neither address nor credential; `logout` ends that."""
    with AccountScript("inference") as script:
        outcomes = [run(["login", script.url, "--user", "ada"]), run(["ask", "Hi"]), run(["whoami"])]
        outcomes += [run(["logout", script.url]), run(["logout", script.url])]

        assert outcomes == [0] * 5
        assert capsys.readouterr().out.splitlines() == [
            f"Signed in at {script.url} as ada.",
            "Hello world",
            f"ada, {script.url} (inference server)",
            f"Logged out of {script.url}.",
            f"No login is kept for {script.url}.",
        ]
        assert LoginFile(os.environ).read(origin_name(script.url)) is None


@pytest.mark.parametrize("command", [["ask", "Hi"], ["models"], ["whoami"], ["chats", "delete", "c1"]])
def test_several_logins(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With logins at several servers nothing is asked; they are listed as they were given, with how to name one."""
    with AccountScript("website") as website, AccountScript("inference") as inference:
        website_url, given = f"{website.url}/below", f"{website.url}/below/"
        website.routes["GET /below/api/auth/session"] = website.session(SESSION)
        login(given, cookies="x")
        login(inference.url, token="t")
        for script in (website, inference):
            script.requests.clear()

        assert run(command) == 2
        err = capsys.readouterr().err
        assert all(url in err for url in (website_url, inference.url))
        assert "URL, or set $OA_BASE_URL" in err
        assert [*website.requests, *inference.requests] == []


@pytest.mark.parametrize("place", ["option", "environment"])
def test_one_of_several_logins(
    script: AccountScript, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server that is named is asked, with the login that is kept for it."""
    with AccountScript("inference") as other:
        login(other.url, token="t")
        login(script.url, **script.credentials)
        other.requests.clear()
        if place == "environment":
            monkeypatch.setenv("OA_BASE_URL", script.url)

        assert run(["ask", *(["--server", script.url] if place == "option" else []), "Hi"]) == 0
        assert capsys.readouterr().out == "Hello world\n"
        assert other.requests == []


def test_only_login_below_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    """The address that was given to `login` is used, not its origin alone."""
    with AccountScript("website") as script:
        script.routes["GET /below/api/auth/session"] = script.session(SESSION)
        login(f"{script.url}/below", cookies="x")

        assert run(["whoami"]) == 0
        assert capsys.readouterr().out.startswith(f"Ada (general), {script.url}/below (website)\n")


def test_login_beside_a_credential_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A credential without an address is sent nowhere, not even to the only server where the user is signed in."""
    with AccountScript("inference") as script:
        login(script.url, token="t")
        script.requests.clear()
        monkeypatch.setenv("OA_TOKEN", "secret")

        assert run(["ask", "Hi"]) == 1
        assert "$OA_TOKEN is given without an address" in capsys.readouterr().err
        assert script.requests == []


def test_whoami_of_a_website(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`whoami URL` prints name, role and server, and when the session ends, without control characters."""
    with AccountScript("website") as script:
        monkeypatch.setenv("OA_BASE_URL", script.url)
        monkeypatch.setenv("OA_COOKIE", "x")
        user = {"email": "ada\x1b[2J@oa.example"}
        script.routes["GET /api/auth/session"] = script.session({**SESSION, "user": user})

        assert run(["whoami", script.url]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"ada\\x1b[2J@oa.example, {script.url} (website)",
            "The session ends at 2100-01-01 00:00 UTC.",
        ]


def test_refused_login(script: AccountScript, kind: str) -> None:
    """A credential that is not taken ends with status 1 and one line, and is not kept."""
    for route in ("GET /auth/check", "GET /api/auth/session"):
        script.routes[route] = reply(json_response({"detail": "Invalid token"}, 401))
    done = subprocess.run(
        [*COMMAND, "login", script.url, f"--{kind}", "-"],
        input="the-secret",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr.count("\n"), done.returncode) == ("", 1, 1)
    assert done.stderr.startswith("oa-client: GET ")
    assert "the-secret" not in done.stderr
    assert LoginFile(os.environ).read(origin_name(script.url)) is None


def test_nobody_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A user of whom nothing is known is somebody all the same."""
    with AccountScript("website") as script:
        script.routes["GET /api/auth/session"] = script.session({"user": {}})
        run(["whoami", script.url])

    assert capsys.readouterr().out.startswith("somebody without a name, ")
