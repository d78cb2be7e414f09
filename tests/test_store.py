"""The file with the logins that the user keeps."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oa_client import ConfigurationError, TrustedClient
from oa_client._accounts import store as _store
from oa_client._accounts.credentials import Login
from oa_client._accounts.store import LoginFile

ORIGIN, OTHER = "https://oa.example:443", "http://127.0.0.1:8000"
SECRET = "marker-of-a-secret"
POSIX = pytest.mark.skipif(os.name != "posix", reason="the system has no such modes")

LOGINS = [
    pytest.param(Login(token=SECRET), id="token"),
    pytest.param(Login(token=TrustedClient(SECRET, "c", "u", "p", "n")), id="trusted client"),
    pytest.param(Login(cookies=f"a=b; c={SECRET}", expires_at=1.5), id="cookies"),
    pytest.param(Login(token=SECRET, username="ada", obtained_at=2.5), id="debug login"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for configuration that is not there yet."""
    return tmp_path / "home" / "config"


@pytest.fixture
def store(home: Path) -> LoginFile:
    """A store in it."""
    return LoginFile({"XDG_CONFIG_HOME": str(home)})


@pytest.fixture
def file(home: Path) -> Path:
    """The file of the store, which is not there."""
    return home / "oa-client" / "credentials.json"


def put(file: Path, content: Any, mode: int = 0o600) -> None:
    """Write the file as somebody else would."""
    file.parent.mkdir(parents=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    file.chmod(mode)


@pytest.mark.parametrize("login", LOGINS)
def test_what_is_kept(store: LoginFile, login: Login) -> None:
    """What was written is read again, for its origin and no other."""
    store.write(ORIGIN, login)

    assert (login, None) == (store.read(ORIGIN), store.read(OTHER))


def test_a_login_each(store: LoginFile) -> None:
    """Each origin has its own, a new one takes the place of the old one, and removing leaves the others."""
    store.write(ORIGIN, Login(token="a"))
    store.write(OTHER, Login(token="b"))
    store.write(ORIGIN, Login(cookies="c=d"))

    assert (Login(cookies="c=d"), Login(token="b")) == (store.read(ORIGIN), store.read(OTHER))
    assert [True, False] == [store.remove(ORIGIN), store.remove(ORIGIN)]
    assert (None, Login(token="b")) == (store.read(ORIGIN), store.read(OTHER))


def test_addresses(store: LoginFile) -> None:
    """The address of each login is known as it was given, also when the login is renewed; else it is the origin."""
    old, new = Login(token="a"), Login(token="b")
    assert store.urls() == []
    store.write(ORIGIN, old, "https://oa.example/below")
    store.write(OTHER, old)
    for origin in (ORIGIN, OTHER):
        store.replace(origin, old, new)

    assert store.urls() == [OTHER, "https://oa.example/below"]
    assert (new, new) == (store.read(ORIGIN), store.read(OTHER))


def test_nothing_is_kept(store: LoginFile, home: Path) -> None:
    """Reading and removing what is not there makes no folder."""
    assert (None, False) == (store.read(ORIGIN), store.remove(ORIGIN))
    assert not home.exists()


def test_replacing(store: LoginFile) -> None:
    """A renewed login is kept in place of the one it was made from, and not after a logout or another login."""
    old, new, other = Login(token="old"), Login(token="new"), Login(token="other")
    store.write(ORIGIN, old)
    store.replace(ORIGIN, old, new)
    assert new == store.read(ORIGIN)

    store.write(ORIGIN, other)
    store.replace(ORIGIN, new, old)
    assert other == store.read(ORIGIN)

    store.remove(ORIGIN)
    store.replace(ORIGIN, other, new)
    assert store.read(ORIGIN) is None


@POSIX
def test_modes(store: LoginFile, file: Path) -> None:
    """Folder and files are the user's alone, whatever the process's mask, and nothing is left beside them."""
    before = os.umask(0)
    try:
        store.write(ORIGIN, Login(token="t"))
        store.write(OTHER, Login(token="t"))
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (file.parent, *file.parent.iterdir())}
    assert {"oa-client": 0o700, "credentials.json": 0o600, "credentials.lock": 0o600} == modes


@POSIX
def test_mode_from_the_beginning(store: LoginFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its first byte is written, the file can already be read by the user alone."""
    seen = []
    dump = json.dump

    def look(value: Any, file: Any, **settings: Any) -> None:
        seen.append((stat.S_IMODE(os.fstat(file.fileno()).st_mode), os.fstat(file.fileno()).st_size))
        dump(value, file, **settings)

    monkeypatch.setattr(json, "dump", look)
    store.write(ORIGIN, Login(token="t"))

    assert [(0o600, 0)] == seen


def uses(store: LoginFile) -> list[Callable[[], object]]:
    """Return all that can be done with a file that is there."""
    return [lambda: store.read(ORIGIN), lambda: store.write(ORIGIN, Login(token="t")), lambda: store.remove(ORIGIN)]


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_file_that_is_open_to_others(store: LoginFile, file: Path, mode: int) -> None:
    """A file that others can read or write is not used, and the error has the command that mends it."""
    put(file, {ORIGIN: {"token": SECRET}}, mode)
    for use in (
        lambda: store.read(ORIGIN),
        lambda: store.write(ORIGIN, Login(token="t")),
        lambda: store.remove(ORIGIN),
    ):
        with pytest.raises(ConfigurationError, match=f"chmod 600 {file}$"):
            use()

    assert SECRET in file.read_text()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param(f'{{"{SECRET}', id="half"),
        pytest.param(f'"{SECRET}"', id="text"),
        pytest.param([SECRET], id="list"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_broken_file(store: LoginFile, file: Path, content: Any) -> None:
    """A file that is not as it was written stays as it is, and the error names it and shows nothing of it."""
    put(file, content)
    for use in (
        lambda: store.read(ORIGIN),
        lambda: store.write(ORIGIN, Login(token="t")),
        lambda: store.remove(ORIGIN),
    ):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert str(file) in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    assert (content if isinstance(content, str) else json.dumps(content)) == file.read_text()


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(SECRET, id="text"),
        pytest.param(None, id="null"),
        pytest.param({}, id="nothing"),
        pytest.param({"username": SECRET}, id="no credential"),
        pytest.param({"token": [SECRET]}, id="list"),
        pytest.param({"token": f"{SECRET}\r\nX: y"}, id="header"),
        pytest.param({"cookies": f"{SECRET}; a=b"}, id="no cookies"),
        pytest.param({"cookies": f"a={SECRET}\n"}, id="header in cookies"),
        pytest.param({"token": "t", "expires_at": SECRET}, id="no time"),
        pytest.param({"token": "t", "username": 5}, id="no name"),
        pytest.param({"trusted_client": {"api_key": SECRET}}, id="too little of a trusted client"),
        pytest.param({"trusted_client": SECRET}, id="no trusted client"),
    ],
)
def test_broken_entry(store: LoginFile, file: Path, entry: Any) -> None:
    """An entry that cannot be a login is an error that names the file and shows nothing of it; others can be read."""
    put(file, {ORIGIN: entry, OTHER: {"token": "t", "of a later version": 5}})
    if entry is None:
        assert store.read(ORIGIN) is None
    else:
        with pytest.raises(ConfigurationError) as caught:
            store.read(ORIGIN)
        assert str(file) in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    assert Login(token="t") == store.read(OTHER)


def test_failing_write_leaves_the_old_file(store: LoginFile, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new file cannot be written, the old one is as it was, and there is no other."""
    store.write(ORIGIN, Login(token="old"))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ConfigurationError, match="cannot be written: No space left"):
            store.write(ORIGIN, Login(token="new"))

    assert Login(token="old") == store.read(ORIGIN)
    assert {"credentials.json", "credentials.lock"} >= {path.name for path in file.parent.iterdir()}


@POSIX
def test_link_in_the_place_of_the_file(store: LoginFile, file: Path, tmp_path: Path) -> None:
    """A link to a file elsewhere stays one, and the file that it leads to is the one that is written."""
    target = tmp_path / "elsewhere" / "logins.json"
    put(target, {ORIGIN: {"token": SECRET}})
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    store.remove(ORIGIN)
    store.write(OTHER, Login(token="t"))

    assert file.is_symlink()
    assert {OTHER: {"token": "t"}} == json.loads(target.read_text())
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    assert ["logins.json"] == os.listdir(target.parent)


def test_folder_in_the_place_of_the_file(store: LoginFile, file: Path) -> None:
    """What is no file is an error that names it."""
    file.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"credentials\.json cannot be read"):
        store.read(ORIGIN)


def test_file_in_the_place_of_the_folder(store: LoginFile, home: Path) -> None:
    """Where no folder can be, nothing is kept, and writing is an error."""
    home.parent.mkdir()
    home.write_text("")

    assert store.read(ORIGIN) is None
    with pytest.raises(ConfigurationError, match="cannot be written"):
        store.write(ORIGIN, Login(token="t"))


def _write_many(folder: str, number: int) -> None:
    for turn in range(20):
        LoginFile({"XDG_CONFIG_HOME": folder}).write(f"http://host-{number}:80", Login(token=f"t{turn}"))


@pytest.mark.skipif(sys.platform == "win32", reason="the last one wins there")
def test_processes_at_once(home: Path, file: Path) -> None:
    """Processes that write at once lose nothing of each other's, and whoever reads meanwhile finds no half file."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(str(home), number)) for number in range(2)]
    for process in processes:
        process.start()
    store = LoginFile({"XDG_CONFIG_HOME": str(home)})
    while any(process.is_alive() for process in processes):
        store.read(ORIGIN)
    for process in processes:
        process.join(60)

    assert [0, 0] == [process.exitcode for process in processes]
    assert {f"http://host-{number}:80": {"token": "t19"} for number in range(2)} == json.loads(file.read_text())


@pytest.fixture
def no_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A home folder, and leave to pretend to be on another platform."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        yield patch


@POSIX
@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        pytest.param("linux", {}, "{home}/.config/oa-client", id="Linux"),
        pytest.param("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/oa-client", id="Linux with the variable"),
        pytest.param("linux", {"XDG_CONFIG_HOME": "x"}, "{home}/.config/oa-client", id="a variable that is no place"),
        pytest.param("darwin", {}, "{home}/Library/Application Support/oa-client", id="macOS"),
        pytest.param("darwin", {"XDG_CONFIG_HOME": "/x"}, "/x/oa-client", id="macOS with the variable"),
        pytest.param("win32", {"APPDATA": "/appdata"}, "/appdata/oa-client", id="Windows"),
        pytest.param("win32", {}, None, id="Windows without the variable"),
    ],
)
def test_where_it_is(
    no_platform: pytest.MonkeyPatch, tmp_path: Path, platform: str, environ: dict[str, str], expected: str | None
) -> None:
    """Each platform has its place, and $XDG_CONFIG_HOME is the user's word on every one."""
    no_platform.setattr(sys, "platform", platform)

    assert (expected.format(home=tmp_path) if expected else None) == _store._folder(environ)


@POSIX
def test_no_home(no_platform: pytest.MonkeyPatch) -> None:
    """Where there is no home folder, nothing is kept, and an attempt to keep something says what to set."""
    no_platform.setattr(os.path, "expanduser", lambda path: path)
    store = LoginFile({})

    assert (None, False) == (store.read(ORIGIN), store.remove(ORIGIN))
    with pytest.raises(ConfigurationError, match=r"set \$XDG_CONFIG_HOME"):
        store.write(ORIGIN, Login(token="t"))


def test_without_locks(store: LoginFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform without such locks a login is kept all the same."""
    monkeypatch.setattr(sys, "platform", "win32")
    store.write(ORIGIN, Login(token="t"))

    assert Login(token="t") == store.read(ORIGIN)
