"""The database in which everything is kept: in memory, or a file that outlives the server."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oa_client.local._errors import LocalServerError

APPLICATION = 0x6F61636C  # "oacl", SQLite's mark of whose file it is
BESIDE = ("-wal", "-journal")  # after the file's name, those that a server may have left that was killed

MIGRATIONS = (
    """
    CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL);

    CREATE TABLE user (
        id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        provider_account_id TEXT NOT NULL UNIQUE,
        display_name TEXT NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0
    );

    -- Who has left the website. It knows users that the inference server does not.
    CREATE TABLE departed (user_id TEXT PRIMARY KEY);

    CREATE TABLE chat (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES user (id),
        created_at TEXT NOT NULL,
        modified_at TEXT NOT NULL,
        title TEXT,
        hidden INTEGER NOT NULL DEFAULT 0,
        allow_data_use INTEGER NOT NULL DEFAULT 1,
        active_thread_tail_message_id TEXT
    );
    CREATE INDEX chat_by_user ON chat (user_id, id);

    CREATE TABLE message (
        id TEXT PRIMARY KEY,
        chat_id TEXT NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
        parent_id TEXT REFERENCES message (id),
        role TEXT NOT NULL,
        content TEXT,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        score INTEGER NOT NULL DEFAULT 0,
        queued INTEGER NOT NULL DEFAULT 0,
        work_parameters TEXT,
        used_plugin TEXT
    );
    CREATE INDEX message_by_chat ON message (chat_id, id);
    CREATE INDEX message_by_parent ON message (parent_id);
    CREATE INDEX message_under_way ON message (state) WHERE state IN ('pending', 'in_progress');

    CREATE TABLE report (
        id TEXT PRIMARY KEY,
        message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
        report_type TEXT NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE INDEX report_by_message ON report (message_id, id);

    CREATE TABLE evaluation (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES user (id),
        message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
        inferior_message_ids TEXT NOT NULL
    );
    CREATE INDEX evaluation_by_message ON evaluation (message_id);
    """,
)
"""What makes the schema of each version out of the one before; the version is in `user_version`."""


COLUMNS = """
    SELECT schema.name, info.name FROM sqlite_master AS schema, pragma_table_info(schema.name) AS info
    WHERE schema.type = 'table'
"""


class Database:
    """
    One connection, for one thread at a time.

    A file is the server's alone while it is open, and what was written is on the disk before a
    method returns. It holds the secrets: a new one can be read by its owner only, and others must be so too.

    Attributes:
        key: the secret that the tokens are signed with, which is kept with them.

    Args:
        path: where the file is or is to be; None for memory.
        key: the secret of a new database.

    Raises:
        LocalServerError: if the file cannot be had: it is no database, damaged, another program's, a
            newer version's, another user's, for others to read, in use, or not to be written.
    """

    def __init__(self, path: Path | None, key: bytes) -> None:
        self._path = path
        try:
            if path is not None:
                self._take(path)
            self._connection = sqlite3.connect(
                ":memory:" if path is None else path, timeout=0, isolation_level=None, check_same_thread=False
            )
        except OSError as error:
            raise self._refusal(str(error.strerror)) from error
        try:
            self.key = self._prepare(key)
        except sqlite3.Error as error:
            self.close()
            in_use = "locked" in str(error)
            raise self._refusal("another server has it open" if in_use else str(error)) from error
        except BaseException:
            self.close()
            raise

    def execute(self, statement: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Carry out one statement, alone or within a `transaction`."""
        return self._connection.execute(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Have what is done inside done as a whole, or not at all if it fails."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise

    def make_room(self) -> None:
        """Move what SQLite keeps beside the file into it, as far as the disk lets it, so that there is room again."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file, or forget what was in memory."""
        self._connection.close()

    def _take(self, path: Path) -> None:
        """Make the file if it is not there, and sure that nobody else can read it, nor what SQLite keeps beside it."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        # NOTE: one that was there is not opened here: closing it would end the locks that this process has on it.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise self._refusal("it is no file")
        if os.name != "posix":
            return
        if status.st_uid == os.geteuid() and not status.st_size:
            path.chmod(0o600)
        self._check_owner(path)
        for beside in (path.with_name(path.name + ending) for ending in BESIDE):
            with contextlib.suppress(FileNotFoundError):
                self._check_owner(beside)

    def _check_owner(self, path: Path) -> None:
        status = path.stat()
        if status.st_uid not in (os.geteuid(), 0):
            raise self._refusal(f"{path.name} belongs to another user")
        if status.st_mode & 0o077:
            raise self._refusal(
                f"other users may open {path.name}, and it holds the secrets: `chmod 600 {shlex.quote(str(path))}` "
                "makes it yours alone"
            )

    def _prepare(self, key: bytes) -> bytes:
        """Take the file for this server, make or renew its schema, and return the secret in it."""
        self._connection.row_factory = sqlite3.Row
        self.execute("PRAGMA foreign_keys = ON")
        # NOTE: set before anything is read. The lock is then kept until the end, by which a second
        # server finds out, and there is no file of shared memory beside it.
        self.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._check()
        if self._path is not None:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = FULL")
        with self.transaction():
            self._migrate()
            if self._path is not None:
                self._check_content()
            self.execute("INSERT OR IGNORE INTO secret VALUES ('key', ?)", (key,))
            value = self.execute("SELECT value FROM secret WHERE name = 'key'").fetchone()[0]
        if not isinstance(value, bytes):
            raise self._refusal("it is damaged: its key is none")
        return value

    def _check(self) -> None:
        """Make sure, before anything is written, that the file is one of this program and version."""
        version, application = (
            self.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        (tables,) = self.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION and (tables or version or application):
            raise self._refusal("it belongs to another program")
        if version > len(MIGRATIONS):
            raise self._refusal(
                f"a newer oa-client has written it (version {version}, this one knows {len(MIGRATIONS)}): "
                "update oa-client, or name another file"
            )

    def _check_content(self) -> None:
        """Make sure of what is relied on, whatever has become of the file in the meantime."""
        with contextlib.closing(sqlite3.connect(":memory:")) as blank:
            for statement in _statements(0):
                blank.execute(statement)
            expected = blank.execute(COLUMNS).fetchall()
        found = set(map(tuple, self.execute(COLUMNS)))
        for table, column in expected:
            if (table, column) not in found:
                raise self._refusal(f"it is damaged: {table}.{column} is not there")
        # Ids grow: with one that does not, a message could be its own ancestor, and the way to its root endless.
        if self.execute("SELECT 1 FROM message WHERE parent_id >= id LIMIT 1").fetchone():
            raise self._refusal("it is damaged: a message comes before the one that it answers")

    def _migrate(self) -> None:
        (version,) = self.execute("PRAGMA user_version").fetchone()
        for statement in _statements(version):
            self.execute(statement)
        if version < len(MIGRATIONS):
            self.execute(f"PRAGMA application_id = {APPLICATION}")
            self.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _refusal(self, reason: str) -> LocalServerError:
        return LocalServerError(f"cannot keep chats in {self._path}: {reason}")


def _statements(version: int) -> Iterator[str]:
    """Yield what makes the newest schema out of that of a version, one by one: a script would end the transaction."""
    for script in MIGRATIONS[version:]:
        yield from script.split(";\n")
