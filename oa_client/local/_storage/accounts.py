"""Users and their credentials."""

from __future__ import annotations

import base64
import hmac
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from oa_client.local._settings import Settings
from oa_client.local._storage.codes import Codes
from oa_client.local._storage.database import Database
from oa_client.local._storage.tokens import Tokens
from oa_client.local._surfaces.bodies import TRUSTED_CLIENT
from oa_client.local._surfaces.fields import read_body
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError

LOCAL_USER = "local"
SESSION_COOKIE = "next-auth.session-token"
SESSION_MINUTES = 30 * 24 * 60
NAME_CHARACTERS = 256


@dataclass(frozen=True)
class Account:
    """
    A user, who owns chats.

    `provider` is where the user signs in ("website", "debug", or the name of a trusted client), and
    `provider_account_id` the user's id there.
    """

    id: str
    provider: str
    provider_account_id: str
    display_name: str
    deleted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the user as the server sends it."""
        return {
            "provider": self.provider,
            "display_name": self.display_name,
            "id": self.id,
            "deleted": self.deleted,
            "provider_account_id": self.provider_account_id,
        }


class Accounts:
    """
    All users of the server; `LOCAL_USER` exists from the start.

    Attributes:
        codes: each signs `LOCAL_USER` in at the chat page, once.

    Args:
        tokens: makes and reads the users' tokens.
        settings: say how long tokens are valid.
        given: a secret that signs `LOCAL_USER` in on both surfaces, as long as the server runs.
    """

    def __init__(self, database: Database, tokens: Tokens, settings: Settings, given: str | None = None) -> None:
        self._execute = database.execute
        self.tokens = tokens
        self.codes = Codes()
        self._settings = settings
        self._given = (given or "").encode()
        self.add(Account(LOCAL_USER, "website", LOCAL_USER, LOCAL_USER))

    def user(self, user_id: str) -> Account | None:
        """Return the user with this id."""
        row = self._execute("SELECT * FROM user WHERE id = ?", (user_id,)).fetchone()
        return None if row is None else Account(**{**dict(row), "deleted": bool(row["deleted"])})

    def add(self, user: Account) -> Account:
        """
        Add a user, unless the id exists, and return the user with this id.

        Raises:
            BreakdownError: if another user, of any provider, has this account id, or the name has more than
                `NAME_CHARACTERS`.
        """
        if (known := self.user(user.id)) is not None:
            return known
        if len(user.display_name) > NAME_CHARACTERS:
            raise BreakdownError(empty=False)
        try:
            self._execute(
                "INSERT INTO user VALUES (?, ?, ?, ?, ?)",
                (user.id, user.provider, user.provider_account_id, user.display_name, user.deleted),
            )
        except sqlite3.IntegrityError:
            raise BreakdownError(empty=False) from None
        return user

    def delete(self, user_id: str) -> None:
        """
        Forget a user's name. Their chats and tokens stay as they are, and they may sign in again.

        Raises:
            RefusalError: 404 if the user does not exist.
        """
        changed = self._execute(
            """
            UPDATE user SET deleted = 1, display_name = 'Deleted User', provider_account_id = 'deleted_' || id
            WHERE id = ?
            """,
            (user_id,),
        )
        if not changed.rowcount:
            raise RefusalError(404, "User not found")

    def depart(self, user_id: str) -> None:
        """Note that a user has left the website, which knows users that `user` does not."""
        self._execute("INSERT OR IGNORE INTO departed VALUES (?)", (user_id,))

    def departed(self, user_id: str) -> bool:
        """Return whether a user has left the website."""
        return self._execute("SELECT 1 FROM departed WHERE user_id = ?", (user_id,)).fetchone() is not None

    def token_pair(self, user: Account) -> dict[str, Any]:
        """Return the tokens for a user who signs in."""
        access = self.tokens.make(user.id, "access", self._settings.access_token_minutes)
        refresh = self.tokens.make(user.id, "refresh", self._settings.refresh_token_minutes)
        return {
            "access_token": {"access_token": access, "token_type": "bearer"},
            "refresh_token": {"access_token": refresh, "token_type": "refresh"},
        }

    def bearer(self, authorization: bytes) -> str:
        """
        Return the id of the user in an `Authorization` header; the user need not exist.

        Raises:
            RefusalError: 403, 401 or 400 if it does not hold a valid access token.
        """
        scheme, _, text = authorization.partition(b" ")
        if scheme != b"Bearer" or not text:
            raise RefusalError(403, "Not authenticated")
        if self._is_given(text):
            return LOCAL_USER
        token = self.tokens.read(text)
        if token is None or token.kind == "session":
            raise RefusalError(401, "Invalid token")
        if token.kind != "access":
            raise RefusalError(400, "Invalid token type")
        if token.expired:
            raise RefusalError(401, "Token expired")
        return token.user_id

    def trusted_client(self, header: bytes) -> Account:
        """
        Return the user for whom a client with the key acts, by its `TrustedClient` header; the user need not exist.

        Raises:
            RefusalError: 401 if the key is wrong.
            BreakdownError: if the header is not base64 of JSON with all its fields, or has no user id.
        """
        try:
            client = read_body(json.loads(base64.b64decode(header)), TRUSTED_CLIENT)
        except (ValueError, RecursionError, RefusalError, BreakdownError):
            raise BreakdownError(empty=False) from None
        if not hmac.compare_digest(client["api_key"].encode(), self.tokens.trusted_key.encode()):
            raise RefusalError(401, "Unauthorized client")
        if not client["user_id"]:
            raise BreakdownError(empty=False)
        return Account(client["user_id"], client["client"], client["provider_account_id"], client["username"])

    def session_user(self, session: bytes) -> str | None:
        """Return the id of the user of a website session, or None if it is not a session or has expired."""
        if self._is_given(session):
            return LOCAL_USER
        token = self.tokens.read(session)
        return None if token is None or token.kind != "session" or token.expired else token.user_id

    def _is_given(self, secret: bytes) -> bool:
        return bool(self._given) and hmac.compare_digest(secret, self._given)
