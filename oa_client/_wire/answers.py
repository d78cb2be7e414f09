"""Read the answers of both servers, and write the ids that go to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oa_client._transcripts.transcript import Transcript
from oa_client._values.chat import ChatInfo
from oa_client._values.errors import ProtocolError
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.plugin import Plugin
from oa_client._values.user import User
from oa_client._wire.call import is_id

NO_ANSWER = "most likely this is a prompt or another user's answer; only answers in your own chats take feedback"
NO_PLUGIN = "the server most likely could not get a plugin's configuration from that URL"


def ids(**ids: str | None) -> dict[str, Any]:
    """Return ids by name, for a query or a body."""
    return {name: None if value is None else checked(value) for name, value in ids.items()}


def inferior(message_ids: Sequence[str]) -> dict[str, list[str]]:
    return {"inferior_message_ids": list(map(checked, message_ids))}


def checked(value: str) -> str:
    """Return an id, checked before it goes to the server: ids in its lists and chats were not checked when read."""
    if not is_id(value):
        raise ProtocolError("the server's answer has an id that is empty, too long, only dots or not printable")
    return value


def read_id(data: Any) -> str:
    """Read the id of a new chat or message."""
    value = data.get("id") if isinstance(data, Mapping) else None
    if not isinstance(value, str):
        raise ProtocolError("the server's answer has no id: is this an Open-Assistant server?")
    return checked(value)


def list_query(after: str | None, before: str | None, include_hidden: bool) -> dict[str, str]:
    query = {"after": after, "before": before, "include_hidden": "true" if include_hidden else None}
    return {name: value for name, value in query.items() if value is not None}


def is_answer(data: Any, chat_id: str, message_id: str) -> bool:
    """Return whether a JSON object can be an answer; it may leave out the fields that say so."""
    told = data if isinstance(data, Mapping) else {}
    return (
        told.get("id") in (None, message_id)
        and told.get("chat_id") in (None, chat_id)
        and told.get("role") in (None, "assistant")
    )


def read_answer(chat_id: str, message_id: str, data: Any) -> Message:
    """Read an answer."""
    message = Message.from_json(data)
    if not is_answer(data, chat_id, message_id):
        raise ProtocolError("the server returned another message than the answer that the client asked for")
    return message


def read_chat(data: Any) -> Transcript:
    messages = data.get("messages") if isinstance(data, Mapping) else None
    if not isinstance(messages, list):
        raise ProtocolError("the server's chat has no list of messages")
    info = {name: value for name, value in data.items() if name != "messages"}
    return Transcript(ChatInfo.from_json(info), tuple(map(Message.from_json, messages)))


def read_plugins(data: Any) -> list[Plugin]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of plugins")
    return [Plugin.from_json(item) for item in data]


def read_models(data: Any) -> list[ModelInfo]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of models")
    return [ModelInfo.from_json(item) for item in data]


class NotSignedIn(Exception):  # noqa: N818 - to the server it is not an error
    """The website says, with a status of success, that nobody is signed in."""


def read_user(data: Any) -> User:
    if data == {}:
        raise NotSignedIn
    return User.from_json(data)


def read_access_token(data: Any) -> str:
    pair = data.get("access_token") if isinstance(data, Mapping) else None
    token = pair.get("access_token") if isinstance(pair, Mapping) else None
    if not isinstance(token, str) or not token or not all("!" <= character <= "~" for character in token):
        raise ProtocolError("the server's answer has no access token: is this an inference server?")
    return token


def read_names(data: Any) -> list[str]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of names")
    return [str(item) for item in data]


def ignore_body(data: Any) -> None:
    """Ignore the body: empty on one surface, `null` or `""` on the other."""
