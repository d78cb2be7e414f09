"""Who is signed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from oa_client._values.errors import ProtocolError
from oa_client._values.json_object import TEXT, check_type, read_time, split


@dataclass(frozen=True, slots=True)
class User:
    """
    The user who is signed in. The inference server gives only the id, the website everything else.

    Attributes:
        id: opaque.
        name: the website may have made it up.
        email: as given at the sign-in.
        image: the URL of a picture.
        role: for example "general".
        expires_at: when the session ends, as an aware UTC time.
        extra: fields of the user and of the session that this version does not know.
    """

    id: str | None = None
    name: str | None = None
    email: str | None = None
    image: str | None = None
    role: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Any) -> "User":
        """
        Make a user from the inference server's JSON string, which is the id, or from the website's session.

        A time that cannot be read becomes None, and stays in `extra`, under "expires", as it came.

        Raises:
            ProtocolError: if it is neither, if the session has no user, or if a field has a wrong type.
        """
        if isinstance(data, str):
            return cls(data)
        if not isinstance(data, Mapping):
            raise ProtocolError(f"user: expected an id or a session, not {type(data).__name__}")
        session = dict(data)
        check_type(session, "session", Mapping, required=("user",))
        values, extra = split(cls, session.pop("user"), "user", "expires_at")
        check_type(values, "user", TEXT, "id", "name", "email", "image", "role")
        expires = session.pop("expires", None)
        expires_at = read_time(expires)
        if expires is not None and expires_at is None:
            extra["expires"] = expires
        return cls(**values, expires_at=expires_at, extra={**session, **extra})
