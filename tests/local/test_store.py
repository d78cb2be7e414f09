"""A server that keeps its chats in a file: what the next one finds there, and which files it refuses."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oa_client.local import LocalServer, LocalServerError, Settings
from oa_client.local._models.registry import BACKENDS
from oa_client.local._storage.accounts import Account
from oa_client.local._storage.database import APPLICATION, MIGRATIONS, Database
from oa_client.local._storage.store import Store
from tests.local.support import PATIENCE, Play, Puppet, User

EAGER = Settings(pending_event_interval=0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "chats.db"


@pytest.fixture
def victim(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that serves from the file."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.local.victim", str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("surface", ["inference", "website"])
def test_a_restart_loses_nothing(file: Path, surface: str) -> None:
    """The next server has the chats with all that was said about them, the users, and the same credentials."""
    puppet = Puppet()
    with LocalServer(puppet, store=file) as server:
        user = User(server, surface)
        chat_id, answer_id = user.ask("hi")
        puppet.play("hi").finish("Hel", "lo 🙂")
        user.wait_for(chat_id, answer_id, "complete")
        User(server, "inference").send("POST", f"/chats/-/messages/{answer_id}/votes", json={"score": -1})
        report = {"report_type": "spam", "reason": "why not"}
        User(server, "inference").send("POST", f"/chats/-/messages/{answer_id}/reports", json=report)
        user.update(chat_id, title="A title", allow_data_use=False, active_thread_tail_message_id=answer_id)
        hidden = user.create()
        user.update(hidden, hidden=True)
        deleted = user.create()
        user.delete(deleted)
        jane = User(server, surface, "jane")
        janes = jane.create()
        before = user.chat(chat_id).json()
        credentials = server.token, server.cookies, server.trusted_key
    with LocalServer(Puppet(), store=str(file)) as server:
        again, theirs = User(server, surface), User(server, surface)
        theirs.token, theirs.session = jane.token, jane.session

        assert (server.token, server.cookies, server.trusted_key) == credentials
        assert again.chat(chat_id).json() == before
        assert before["messages"][1]["score"] == -1
        assert [dict(one, id="") for one in before["messages"][1]["reports"]] == [{"id": "", **report}]
        assert again.chat(hidden).json()["hidden"] is True
        assert again.chat(deleted).status_code == 404
        assert theirs.chat(janes).status_code == 200
        assert again.create() > janes


def test_a_restart_keeps_who_has_left(file: Path) -> None:
    """A deleted user stays deleted, and a session whose account is gone tells nothing."""
    with LocalServer("lorem", store=file) as server:
        User(server, "website").send("DELETE", "/api/account/delete")
    with LocalServer("lorem", store=file) as server:
        local = server._accounts.user("local")
        session = User(server, "website").send("GET", "/api/auth/session")

    assert local == Account("local", "website", "deleted_local", "Deleted User", deleted=True)
    assert session.json() == {}


@pytest.mark.parametrize("surface", ["inference", "website"])
def test_a_killed_server_loses_nothing_that_it_told(file: Path, victim: subprocess.Popen[str], surface: str) -> None:
    """
    After SIGKILL in mid-answer, all is there that a client was told.

    What was being written is aborted, what waited is written now, and what was refused or cancelled
    stays so.
    """
    assert victim.stdout is not None
    told = json.loads(victim.stdout.readline())
    user = User(cast(LocalServer, SimpleNamespace(**told)), surface)
    done = user.ask("go on")
    user.wait_for(*done, "complete")
    cancelled = user.ask("stall")
    with user.events(*cancelled) as events:
        while events.next()["event_type"] != "token":
            continue
        running = cancelled
        cancelled = user.ask("first")
        waiting = user.ask("second")
        parent_id = user.message(*waiting).json()["parent_id"]
        refused = user.post_answer(waiting[0], parent_id=parent_id)
        acknowledged = [user.create() for _ in range(20)]
        prompt = user.post_prompt(acknowledged[-1], content="the last words").json()
        victim.send_signal(signal.SIGKILL)
        victim.wait(PATIENCE)
    puppet = Puppet()
    puppet.play("second").finish("2")
    with LocalServer(puppet, store=file, settings=EAGER) as server:
        again = User(server, surface)
        states = [again.message(*answer).json()["state"] for answer in (done, running, cancelled)]
        second = again.wait_for(*waiting, "complete")
        stub = again.chat(waiting[0]).json()["messages"][-1]
        events_of_aborted = again.send("GET", again.events_path(*running))

        assert refused.status_code == 503
        assert states == ["complete", "aborted_by_worker", "cancelled"]
        assert second["content"] == "2"
        assert (stub["parent_id"], stub["state"]) == (parent_id, "pending")
        assert events_of_aborted.content == b""
        assert [again.chat(chat_id).status_code for chat_id in acknowledged] == [200] * 20
        assert again.message(acknowledged[-1], prompt["id"]).json() == prompt
        assert not puppet.play("first").started.is_set()
        assert (server.token, server.cookies) == (told["token"], told["cookies"])


def close_in_mid_answer(server: LocalServer, *plays: Play) -> None:
    """Close the server, and end the answers when they are told to."""
    closing = threading.Thread(target=server.close)
    closing.start()
    for play in plays:
        assert play.cancelled is not None
        assert play.cancelled.wait(PATIENCE)
        play.finish()
    closing.join(PATIENCE)


def test_closing_leaves_what_waits_to_the_next_server(file: Path) -> None:
    """An answer in progress is aborted, one that waits is written after the restart."""
    puppet = Puppet()
    with LocalServer(puppet, store=file) as server:
        user = User(server, "inference")
        running = user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        waiting = user.ask("two")
        close_in_mid_answer(server, puppet.play("one"))
    puppet = Puppet()
    with LocalServer(puppet, store=file, settings=EAGER) as server:
        user = User(server, "inference")
        with user.events(*waiting) as events:
            puppet.play("two").finish("2")
            last = list(events)[-1]

        assert user.message(*running).json()["state"] == "aborted_by_worker"
        assert last["message"]["content"] == "2"


def test_what_waits_is_written_by_its_own_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart too, whatever answers by default then; by that one if the model is not there any more."""

    def named(*names: str) -> list[Puppet]:
        puppets = [Puppet() for _ in names]
        for puppet, name in zip(puppets, names, strict=True):
            puppet.name = name
        monkeypatch.setitem(BACKENDS, "several", lambda: puppets)
        return puppets

    busy = named("one", "two", "three")
    with LocalServer("several", store=file) as server:
        user = User(server, "inference")
        for puppet in busy:
            user.ask("wait", model=puppet.name)
            assert puppet.play("wait").started.wait(PATIENCE)
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="hi").json()["id"]
        waiting = [
            user.post_answer(chat_id, parent_id=prompt, model_config_name=name).json()["id"]
            for name in ("one", "two", "three")
        ]
        close_in_mid_answer(server, *(puppet.play("wait") for puppet in busy))
    for puppet in named("new", "two", "one"):
        puppet.play("hi").finish(puppet.name)
    with LocalServer("several", store=file, settings=EAGER) as server:
        user = User(server, "inference")
        written = [user.wait_for(chat_id, answer_id, "complete")["content"] for answer_id in waiting]

    assert written == ["one", "two", "new"]


def test_what_has_waited_too_long_times_out_after_a_restart(file: Path) -> None:
    """The time in which there was no server counts."""
    puppet = Puppet()
    with LocalServer(puppet, store=file) as server:
        user = User(server, "inference")
        user.ask("one")
        assert puppet.play("one").started.wait(PATIENCE)
        waiting = user.ask("two")
        close_in_mid_answer(server, puppet.play("one"))
    later = LocalServer(Puppet(), store=file, settings=EAGER)
    later._clock = lambda: time.time() + 61
    with later, User(later, "inference").events(*waiting) as events:
        last = list(events)[-1]

    assert (last["event_type"], last["error"]) == ("error", "Timeout")
    assert last["message"]["state"] == "timeout"


def test_the_file_is_for_its_owner_only(file: Path) -> None:
    """It holds the secrets, and so does the log beside it."""
    with LocalServer("lorem", store=file) as server:
        User(server, "inference").create()
        modes = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    left = [path.name for path in file.parent.iterdir()]

    assert modes == {"chats.db": 0o600, "chats.db-wal": 0o600}
    assert left == ["chats.db"]


@pytest.mark.skipif(os.name == "nt", reason="asks about modes of POSIX")
def test_an_empty_file_that_others_may_open_is_made_the_owners(file: Path) -> None:
    """Nobody has read anything in it yet."""
    file.touch()
    file.chmod(0o666)
    Database(file, b"key").close()

    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name == "nt", reason="asks about modes of POSIX")
@pytest.mark.parametrize("name", ["chats.db", "chats.db-wal", "chats.db-journal"])
@pytest.mark.parametrize("mode", [0o640, 0o602, 0o601])
def test_a_file_that_others_may_open_is_refused(file: Path, name: str, mode: int) -> None:
    """The error says what to do about it, and nothing else is done."""
    Database(file, b"key").close()
    other = file.with_name(name)
    other.touch()
    other.chmod(mode)
    with pytest.raises(LocalServerError, match=f"may open {name}, and it holds the secrets: `chmod 600 {other}`"):
        LocalServer("lorem", store=file).start()

    assert other.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.name == "nt", reason="asks about owners of POSIX")
@pytest.mark.parametrize("name", ["chats.db", "chats.db-wal"])
def test_a_file_of_another_user_is_refused(file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it could read it, whatever its mode."""
    if name != file.name:
        file.touch()
    other = file.with_name(name)
    other.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(other, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(LocalServerError, match=r"chats\.db[-wal]* belongs to another user"):
        Database(file, b"key")


def test_a_file_is_one_servers_alone(file: Path) -> None:
    """A second server is refused while the first one runs, and finds all afterwards."""
    with LocalServer("lorem", store=file) as server:
        chat_id = User(server, "inference").create()
        with pytest.raises(LocalServerError, match=r"chats\.db: another server has it open"):
            LocalServer("lorem", store=file).start()
        assert User(server, "inference").create()
    with LocalServer("lorem", store=file) as server:
        assert User(server, "inference").chat(chat_id).status_code == 200


def test_a_file_stays_one_servers_alone(file: Path) -> None:
    """A second server of the same process that is refused does not open it to other processes."""
    code = "import sys; from oa_client.local import LocalServer; LocalServer('lorem', store=sys.argv[1]).start()"
    with LocalServer("lorem", store=file):
        with pytest.raises(LocalServerError, match="another server has it open"):
            LocalServer("lorem", store=file).start()
        done = subprocess.run([sys.executable, "-c", code, str(file)], stderr=subprocess.PIPE, text=True, check=False)

    assert "another server has it open" in done.stderr


def _newer(file: Path) -> None:
    Database(file, b"key").close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()


def _foreign(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE cookies (value)")
    connection.close()


def _damaged(*statements: str) -> Any:
    def make(file: Path) -> None:
        database = Database(file, b"key")
        database.execute("INSERT INTO user VALUES ('jane', 'debug', 'jane', 'Jane', 0)")
        store = Store(database)
        chat = store.create_chat("jane")
        first = store.add_prompt(chat, None, "x")
        store.add_prompt(chat, first.id, "y")
        database.close()
        with sqlite3.connect(file) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(_newer, r"a newer oa-client has written it \(version 1000, this one knows \d+\)", id="newer"),
        pytest.param(_foreign, "it belongs to another program", id="another program's"),
        pytest.param(lambda file: file.write_text("Dear diary, " * 100), "file is not a database", id="no database"),
        pytest.param(_damaged("DROP TABLE report"), r"it is damaged: report\.id is not there", id="no table"),
        pytest.param(
            _damaged("ALTER TABLE chat RENAME COLUMN title TO name"),
            r"it is damaged: chat\.title is not there",
            id="no column",
        ),
        pytest.param(_damaged("UPDATE secret SET value = 'text'"), "it is damaged: its key is none", id="no key"),
        pytest.param(
            _damaged("UPDATE message SET parent_id = id"), "it is damaged: a message comes before", id="own parent"
        ),
        pytest.param(
            _damaged("UPDATE message SET parent_id = (SELECT max(id) FROM message)"),
            "it is damaged: a message comes before",
            id="own ancestor",
        ),
        pytest.param(lambda file: file.mkdir(), "it is no file", id="a directory"),
        pytest.param(lambda file: file.symlink_to(file.parent / "no" / "where"), "No such file", id="nowhere"),
    ],
)
def test_a_file_that_is_no_store_is_refused(file: Path, make: Any, reason: str) -> None:
    """The error names it and says why; it stays as it is, and the port is free again."""
    make(file)
    if file.is_file():
        file.chmod(0o600)
    before = file.read_bytes() if file.is_file() else None
    server = LocalServer("lorem", store=file)
    with pytest.raises(LocalServerError, match=f"cannot keep chats in .*chats.db: {reason}"):
        server.start()
    with pytest.raises(LocalServerError, match="before it is started"):
        server.url  # noqa: B018 - the property is what raises

    assert (file.read_bytes() if file.is_file() else None) == before


def test_an_empty_file_becomes_a_store(file: Path) -> None:
    """As one that was made for it beforehand."""
    file.touch()
    Database(file, b"key").close()
    with sqlite3.connect(file) as connection:
        marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    connection.close()

    assert marks == [APPLICATION, len(MIGRATIONS)]


@pytest.mark.parametrize("name", ["token", "cookies", "trusted_key"])
def test_credentials_are_known_once_the_store_is_open(file: Path, name: str) -> None:
    """Before that the error says so, and nothing is made; without a store they are there at once."""
    server = LocalServer("lorem", store=file)
    with pytest.raises(LocalServerError, match="once it is started"):
        getattr(server, name)

    assert not file.exists()
    assert getattr(LocalServer("lorem"), name)


def test_a_token_of_ones_own_goes_before_those_of_the_store(file: Path) -> None:
    """It is known before the start, and signs the same user in; the store's credentials are there again without it."""
    token = "correct-horse-battery-staple-0123456789"
    with LocalServer("lorem", store=file) as server:
        kept = server.token, server.cookies
        chat_id = User(server, "inference").create()
    named = LocalServer("lorem", store=file, token=token)
    known = named.token, named.cookies
    with named:
        statuses = [User(named, surface).chat(chat_id).status_code for surface in ("inference", "website")]
    with LocalServer("lorem", store=file) as server:
        again = server.token, server.cookies

    assert known == (token, {"next-auth.session-token": token})
    assert statuses == [200, 200]
    assert again == kept


def test_a_full_disk_is_told_to_those_it_concerns(file: Path) -> None:
    """A prompt that cannot be kept gets a 500, an answer the error event; what was kept before stays."""
    puppet = Puppet()
    with LocalServer(puppet, store=file, settings=EAGER) as server:
        user = User(server, "inference")
        chat_id, answer_id = user.ask("hi")
        assert puppet.play("hi").started.wait(PATIENCE)
        database = server._database
        assert database is not None
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        refused = user.post_prompt(user.create(), content="x" * 20_000)
        with user.events(chat_id, answer_id) as events:
            puppet.play("hi").finish("y" * 20_000)
            last = list(events)[-1]
    with LocalServer("lorem", store=file) as server:
        chat = User(server, "inference").chat(chat_id).json()

    assert refused.status_code == 500
    assert last["error"] == "the answer cannot be stored: database or disk is full"
    assert last["message"]["state"] == "aborted_by_worker"
    assert [message["state"] for message in chat["messages"]] == ["manual", "aborted_by_worker"]


def test_a_disk_that_takes_nothing_more(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The answer's reader hears of it, and so does the log; the next server finds the answer aborted."""
    puppet = Puppet()
    with LocalServer(puppet, store=file, settings=EAGER) as server:
        user = User(server, "inference")
        chat_id, answer_id = user.ask("hi")
        assert puppet.play("hi").started.wait(PATIENCE)
        database = server._database
        assert database is not None
        database.execute("PRAGMA query_only = ON")
        with user.events(chat_id, answer_id) as events:
            puppet.play("hi").finish("ho")
            last = list(events)[-1]
        listed = user.send("GET", "/chats").json()["chats"]
    with LocalServer("lorem", store=file) as server:
        state = User(server, "inference").message(chat_id, answer_id).json()["state"]

    assert last["error"] == "the answer cannot be stored: attempt to write a readonly database"
    assert last["message"]["state"] == "aborted_by_worker"
    assert "cannot store that an answer is aborted_by_worker" in caplog.text
    assert [chat["id"] for chat in listed] == [chat_id]
    assert state == "aborted_by_worker"


def test_ids_grow_although_the_clock_was_put_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat made now comes after those of the last server, whatever the time."""
    database = Database(file, b"key")
    database.execute("INSERT INTO user VALUES ('jane', 'debug', 'jane', 'Jane', 0)")
    older = Store(database).create_chat("jane")
    database.close()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    database = Database(file, b"key")
    newer = Store(database).create_chat("jane")
    database.close()

    assert newer.id > older.id


def test_no_chat_is_left_without_its_user(file: Path) -> None:
    """Foreign keys are watched."""
    database = Database(None, b"key")
    with pytest.raises(sqlite3.IntegrityError):
        Store(database).create_chat("nobody")
    database.close()


def test_a_chat_takes_with_it_what_was_said_about_it() -> None:
    """Messages, reports and evaluations are gone with it, however long it was, and those of others stay."""
    database = Database(None, b"key")
    database.execute("INSERT INTO user VALUES ('jane', 'debug', 'jane', 'Jane', 0)")
    store = Store(database)
    kept, gone = store.create_chat("jane"), store.create_chat("jane")
    for chat in (kept, gone):
        parent_id = None
        for _ in range(1100):  # deeper than SQLite lets triggers go
            message = store.add_prompt(chat, parent_id, "x")
            parent_id = message.id
        store.add_report(message, "spam", "x")
        store.add_evaluation(message, ["another"])
    store.delete_chat(gone)
    counts = [
        database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - of the next line's names
        for table in ("chat", "message", "report", "evaluation")
    ]
    database.close()

    assert counts == [1, 1100, 1, 1]


def test_without_a_store_nothing_is_written() -> None:
    """All is in memory."""
    before = set(os.listdir())
    with LocalServer("lorem") as server:
        User(server, "inference").create()

    assert set(os.listdir()) == before
