"""Users, and how they prove who they are."""

from __future__ import annotations

import base64
import hmac
import json
import math
import secrets
from dataclasses import dataclass
from typing import Any

from oa_client.local._bodies import TRUSTED_CLIENT
from oa_client.local._codes import Codes
from oa_client.local._fields import read_body
from oa_client.local._refusals import BreakdownError, RefusalError
from oa_client.local._tokens import Tokens, checked_secret

LOCAL_USER = "local"
REFRESH_MINUTES = 7 * 24 * 60
SESSION_MINUTES = 30 * 24 * 60
NAME_CHARACTERS = 256


@dataclass
class User:
    """
    Somebody whose chats are kept.

    `provider` is who knows them ("website", "debug", or the name of a trusted client), and
    `provider_account_id` their id there.
    """

    id: str
    provider: str
    provider_account_id: str
    display_name: str
    deleted: bool = False

    def to_json(self) -> dict[str, Any]:
        """The user as the server sends them."""
        return {
            "provider": self.provider,
            "display_name": self.display_name,
            "id": self.id,
            "deleted": self.deleted,
            "provider_account_id": self.provider_account_id,
        }


class Accounts:
    """
    All users of the server, one of them from the start: `LOCAL_USER`.

    Attributes:
        trusted_key: whoever has it may act for any user.
        codes: each signs `LOCAL_USER` in at the chat page, once.

    Args:
        token_minutes: how long an access token is good for.
        given: a secret that signs `LOCAL_USER` in on both surfaces, as long as the server runs.

    Raises:
        ValueError: if `token_minutes` is negative or no number, or `given` is easily guessed.
    """

    def __init__(self, token_minutes: float, given: str | None = None) -> None:
        if math.isnan(token_minutes) or token_minutes < 0:
            raise ValueError(f"tokens cannot be good for {token_minutes} minutes")
        self.trusted_key = secrets.token_urlsafe(32)
        self.tokens = Tokens()
        self.codes = Codes()
        self._given = b"" if given is None else checked_secret(given).encode()
        self._token_minutes = token_minutes
        self._users: dict[str, User] = {}
        self.add(User(LOCAL_USER, "website", LOCAL_USER, LOCAL_USER))

    def user(self, user_id: str) -> User | None:
        """The user with this id."""
        return self._users.get(user_id)

    def add(self, user: User) -> User:
        """
        Add a user, unless there is one with this id, who is returned as they are.

        Raises:
            BreakdownError: if the account at the provider is another user's (their provider is not
                looked at), or the name has more than `NAME_CHARACTERS`.
        """
        if (known := self._users.get(user.id)) is not None:
            return known
        taken = {one.provider_account_id for one in self._users.values()}
        if user.provider_account_id in taken or len(user.display_name) > NAME_CHARACTERS:
            raise BreakdownError(empty=False)
        self._users[user.id] = user
        return user

    def delete(self, user_id: str) -> None:
        """
        Forget a user's name. Their chats and tokens stay as they are, and they may sign in again.

        Raises:
            RefusalError: 404 if there is no such user.
        """
        if (user := self._users.get(user_id)) is None:
            raise RefusalError(404, "User not found")
        user.deleted = True
        user.display_name = "Deleted User"
        user.provider_account_id = f"deleted_{user.id}"

    def token_pair(self, user: User) -> dict[str, Any]:
        """The tokens that a user gets who signs in."""
        access = self.tokens.make(user.id, "access", self._token_minutes)
        refresh = self.tokens.make(user.id, "refresh", REFRESH_MINUTES)
        return {
            "access_token": {"access_token": access, "token_type": "bearer"},
            "refresh_token": {"access_token": refresh, "token_type": "refresh"},
        }

    def bearer(self, authorization: bytes) -> str:
        """
        The id of the user in an `Authorization` header, who need not exist.

        Raises:
            RefusalError: 403, 401 or 400 if it does not hold an access token that is still good.
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

    def trusted_client(self, header: bytes) -> User:
        """
        The user for whom a client that has the key acts, by its `TrustedClient` header. They need not exist.

        Raises:
            RefusalError: 401 if the key is wrong.
            BreakdownError: if the header is not base64 of JSON with all its fields, or has no user id.
        """
        try:
            client = read_body(json.loads(base64.b64decode(header)), TRUSTED_CLIENT)
        except (ValueError, RecursionError, RefusalError, BreakdownError):
            raise BreakdownError(empty=False) from None
        if not hmac.compare_digest(client["api_key"].encode(), self.trusted_key.encode()):
            raise RefusalError(401, "Unauthorized client")
        if not client["user_id"]:
            raise BreakdownError(empty=False)
        return User(client["user_id"], client["client"], client["provider_account_id"], client["username"])

    def session_user(self, session: bytes) -> str | None:
        """The id of the user of a website session, None if it is none, or over."""
        if self._is_given(session):
            return LOCAL_USER
        token = self.tokens.read(session)
        return None if token is None or token.kind != "session" or token.expired else token.user_id

    def _is_given(self, secret: bytes) -> bool:
        return bool(self._given) and hmac.compare_digest(secret, self._given)
