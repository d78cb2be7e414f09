"""
What goes over the wire and where: every path, query and body of both surfaces, and how to read an answer.

Nothing here does I/O. Facts are from the Open-Assistant sources (`inference/server`, `website/src/pages/api/chat`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from oa_client._transcripts.transcript import Transcript
from oa_client._values.chat import ChatInfo, ChatPage
from oa_client._values.errors import ConfigurationError, NotFoundError, ProtocolError, UnsupportedError
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.plugin import Plugin
from oa_client._values.question import Question, is_id
from oa_client._values.user import User

T = TypeVar("T")

DEFAULT_MODEL = "OA_SFT_Llama_30B_6"
#: States in which an answer is final on the server, so that its chat can go without harm to anybody.
DELETABLE_STATES = frozenset({"complete", "aborted_by_worker"})
#: States that an answer never leaves.
FINAL_STATES = DELETABLE_STATES | {"cancelled", "timeout"}
#: chats asked for at a time, where the server lets its clients choose.
PAGE_SIZE = 100
_NO_ANSWER = "there is no such answer of yours: a prompt, or somebody else's answer, takes no feedback"
_NO_PLUGIN = "the server could not get a plugin's configuration from that URL"
#: bytes; the website's server refuses more, and then fails the next request of anybody.
WEBSITE_BODY_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One request, and how to read its answer.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        parse: makes the result from the JSON of the answer, which is None if the body is empty.
        query: of the URL.
        body: sent as JSON; None sends no body at all.
        body_limit: bytes; a longer body is refused before it is sent.
        is_stream: whether the answer is an event stream, which is gone once it was read.
        on_failure: what a bare 500 is likely to mean, where the server has no other words for it.
        is_renewal: whether the answer is a User whose session cookies, which it sets, are the client's from then on.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    body_limit: int | None = None
    is_stream: bool = False
    on_failure: str = ""
    is_renewal: bool = False

    def encode(self) -> bytes | None:
        """
        Return the body as it is sent.

        Raises:
            ConfigurationError: if it cannot be written as JSON, or is over the limit.
        """
        if self.body is None:
            return None
        try:
            data = json.dumps(self.body, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"an argument cannot be written as JSON: {error}") from error
        if self.body_limit is not None and len(data) >= self.body_limit:
            raise ConfigurationError(
                f"the message is too long: {len(data)} bytes to send, and the server takes less than {self.body_limit}"
            )
        return data

    @property
    def is_read(self) -> bool:
        """Whether the call changes nothing, so that it can be repeated."""
        return self.method == "GET" and not self.is_stream

    @property
    def is_public(self) -> bool:
        """Whether the server answers it to anybody, so that a success says nothing about credentials."""
        return self.path.startswith(_OPEN_PATHS)


class Surface(Protocol):
    """One of the two servers that speak the protocol: the same calls, at other places."""

    name: str

    def create_chat(self) -> Call[str]:
        """Make a chat; its id."""

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        """Read a page of the list of chats, after or before a cursor; not both."""

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        """Read a chat; its messages, in no order."""

    def probe(self) -> Call[None] | None:
        """What fails while the server is in trouble, if `get_chat` may then say 404; None if 404 means what it says."""

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        """Change `title`, `hidden`, `allow_data_use` or `active_thread_tail_message_id`."""

    def delete_chat(self, chat_id: str) -> Call[None]:
        """Delete a chat."""

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        """Add a prompter message; its id."""

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        """Ask for an answer; the id of the assistant message, which is then pending."""

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        """Read a message."""

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        """Vote for an assistant message: 1, 0 or -1."""

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        """Say that an assistant message is better than others."""

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        """Report a message: spam, offensive or feedback."""

    def open_events(self, chat_id: str, message_id: str) -> Call[None]:
        """Open the event stream of an assistant message."""

    def list_models(self) -> Call[list[ModelInfo]]:
        """List the models."""

    def list_plugins(self) -> Call[list[Plugin]]:
        """List the plugins that the server offers."""

    def get_plugin(self, url: str) -> Call[Plugin]:
        """Have the server look a plugin up."""

    def whoami(self) -> Call[User]:
        """Tell who is signed in."""

    def refresh(self) -> Call[User]:
        """Renew the session, and tell who is signed in."""

    def delete_account(self) -> Call[None]:
        """Delete the account of who is signed in."""


def check_size(surface: Surface, question: Question) -> None:
    """
    Find out before anything is sent whether a question is too long to send.

    Raises:
        ConfigurationError: if it is.
    """
    surface.post_prompt(_SOME_ID, None, question.prompt).encode()
    surface.post_assistant(_SOME_ID, _SOME_ID, question).encode()


_SOME_ID = "00000000-0000-0000-0000-000000000000"


class Website:
    """The website: session cookie, ids in the query or the body. Its methods are described in `Surface`."""

    name = "website"

    def create_chat(self) -> Call[str]:
        return Call("POST", "/api/chat", _id)

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        return Call("GET", "/api/chat", ChatPage.from_json, _list_query(after, before, include_hidden))

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        return Call("GET", "/api/chat", _transcript, _ids(chat_id=chat_id))

    def probe(self) -> Call[None] | None:
        # The list of chats. Of one chat the website says 404, whatever the trouble is with the server behind it.
        return Call("GET", "/api/chat", _nothing)

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        return Call("PUT", "/api/chat", _nothing, body={**_ids(chat_id=chat_id), **changes})

    def delete_chat(self, chat_id: str) -> Call[None]:
        return Call("DELETE", "/api/chat", _nothing, _ids(chat_id=chat_id))

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        body = {**_ids(chat_id=chat_id), "content": content, **_ids(parent_id=parent_id)}
        return Call("POST", "/api/chat/prompter_message", _id, body=body, body_limit=WEBSITE_BODY_LIMIT)

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        body = {**_ids(chat_id=chat_id), **question.to_json(_checked(parent_id))}
        return Call("POST", "/api/chat/assistant_message", _id, body=body, body_limit=WEBSITE_BODY_LIMIT)

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        query = _ids(chat_id=chat_id, message_id=message_id)
        return Call("GET", "/api/chat/message", Message.from_json, query)

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        body = {**_ids(chat_id=chat_id, message_id=message_id), "score": score}
        return Call("POST", "/api/chat/vote", _nothing, body=body, on_failure=_NO_ANSWER)

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        body = {**_ids(chat_id=chat_id, message_id=message_id), **_inferior(inferior_message_ids)}
        return Call("POST", "/api/chat/message_eval", _nothing, body=body, on_failure=_NO_ANSWER)

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        raise UnsupportedError(
            "the website takes no reports: vote(message, -1) says that an answer is bad, and the inference server "
            "behind it (token=) takes reports"
        )

    def open_events(self, chat_id: str, message_id: str) -> Call[None]:
        query = _ids(chat_id=chat_id, message_id=message_id)
        return Call("GET", "/api/chat/events", _nothing, query, is_stream=True)

    def list_models(self) -> Call[list[ModelInfo]]:
        return Call("GET", "/api/chat/models", _models)

    def list_plugins(self) -> Call[list[Plugin]]:
        return Call("GET", "/api/chat/plugins", _plugins)

    def get_plugin(self, url: str) -> Call[Plugin]:
        body = {"plugin": {"url": url}}
        return Call("POST", "/api/chat/plugin_config", Plugin.from_json, body=body, on_failure=_NO_PLUGIN)

    def whoami(self) -> Call[User]:
        return Call("GET", "/api/auth/session", _user)

    def refresh(self) -> Call[User]:
        return replace(self.whoami(), is_renewal=True)

    def delete_account(self) -> Call[None]:
        return Call("DELETE", "/api/account/delete", _nothing)


class OriginalWebsite(Website):
    """The website as the gpt4free provider calls it: the events by POST, which the website takes as well."""

    def open_events(self, chat_id: str, message_id: str) -> Call[None]:
        return replace(super().open_events(chat_id, message_id), method="POST")


class Inference:
    """The inference server: bearer token, ids in the path. Its methods are described in `Surface`."""

    name = "inference server"

    def create_chat(self) -> Call[str]:
        return Call("POST", "/chats", _id, body={})

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        query = {"limit": str(PAGE_SIZE), **_list_query(after, before, include_hidden)}
        return Call("GET", "/chats", ChatPage.from_json, query)

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        return Call("GET", _chat_path(chat_id), _transcript)

    def probe(self) -> Call[None] | None:
        return None

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        return Call("PUT", _chat_path(chat_id), _nothing, body=changes)

    def delete_chat(self, chat_id: str) -> Call[None]:
        return Call("DELETE", _chat_path(chat_id), _nothing)

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        body = {**_ids(parent_id=parent_id), "content": content}
        return Call("POST", f"{_chat_path(chat_id)}/prompter_message", _id, body=body)

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        path = f"{_chat_path(chat_id)}/assistant_message"
        return Call("POST", path, _id, body=question.to_json(_checked(parent_id)))

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        return Call("GET", _message_path(chat_id, message_id), Message.from_json)

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        path = f"{_message_path(chat_id, message_id)}/votes"
        return Call("POST", path, _nothing, body={"score": score}, on_failure=_NO_ANSWER)

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        path = f"{_message_path(chat_id, message_id)}/message_evals"
        return Call("POST", path, _nothing, body=_inferior(inferior_message_ids), on_failure=_NO_ANSWER)

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        path, body = f"{_message_path(chat_id, message_id)}/reports", {"report_type": report_type, "reason": reason}
        return Call("POST", path, _nothing, body=body, on_failure=_NO_ANSWER)

    def open_events(self, chat_id: str, message_id: str) -> Call[None]:
        return Call("GET", f"{_message_path(chat_id, message_id)}/events", _nothing, is_stream=True)

    def list_models(self) -> Call[list[ModelInfo]]:
        return Call("GET", "/configs/model_configs", _models)

    def list_plugins(self) -> Call[list[Plugin]]:
        return Call("GET", "/configs/builtin_plugins", _plugins)

    def get_plugin(self, url: str) -> Call[Plugin]:
        return Call("POST", "/configs/plugin_config", Plugin.from_json, body={"url": url}, on_failure=_NO_PLUGIN)

    def whoami(self) -> Call[User]:
        return Call("GET", "/auth/check", _user)

    def refresh(self) -> Call[User]:
        raise UnsupportedError(
            "an inference server cannot renew a token: the real one refuses every refresh token, also a good one; "
            "log in again with oa_client.login(), or pass a new token="
        )

    def delete_account(self) -> Call[None]:
        # Without the slash it is a redirect to this.
        return Call("DELETE", "/account/", _nothing)


#: Of the inference server.
_OPEN_PATHS = ("/auth/callback/", "/auth/providers", "/auth/trusted", "/configs/")


def debug_login(username: str) -> Call[str]:
    """
    Log in to an inference server by a name alone, where that is allowed; the access token.

    This is where its login page leads to, by a redirect to an address out of the server's own settings.
    """
    return Call("GET", "/auth/callback/debug", _access_token, {"code": username})


def list_providers() -> Call[list[str]]:
    """List the ways to log in to an inference server."""
    return Call("GET", "/auth/providers", _names)


def register() -> Call[None]:
    """Make the user of a trusted client on an inference server, if there is none."""
    return Call("POST", "/auth/trusted", _nothing)


def is_gone(surface: Surface, chat_id: str, send: Callable[[Call[Any]], object]) -> bool:
    """
    Ask whether a chat was deleted: a message of one that was cannot be told from a server in trouble.

    Raises:
        OAError: what `send` raises if the server is in trouble.
    """
    probe = surface.probe()
    if probe is not None:
        send(probe)
    try:
        send(surface.get_chat(chat_id))
    except NotFoundError:
        return True
    return False


def _chat_path(chat_id: str) -> str:
    return f"/chats/{quote(_checked(chat_id), safe='')}"


def _message_path(chat_id: str, message_id: str) -> str:
    return f"{_chat_path(chat_id)}/messages/{quote(_checked(message_id), safe='')}"


def _ids(**ids: str | None) -> dict[str, Any]:
    """Return ids by name, as they go into a query or a body."""
    return {name: None if value is None else _checked(value) for name, value in ids.items()}


def _inferior(message_ids: Sequence[str]) -> dict[str, list[str]]:
    return {"inferior_message_ids": list(map(_checked, message_ids))}


def _checked(value: str) -> str:
    """Return an id that goes to the server; those out of its lists and chats come as they are."""
    if not is_id(value):
        raise ProtocolError("the server's answer has an id that cannot be one")
    return value


def _id(data: Any) -> str:
    """Read the id of what was made."""
    value = data.get("id") if isinstance(data, Mapping) else None
    if not isinstance(value, str):
        raise ProtocolError("the server's answer has no id: is this an Open-Assistant server?")
    return _checked(value)


def _list_query(after: str | None, before: str | None, include_hidden: bool) -> dict[str, str]:
    query = {"after": after, "before": before, "include_hidden": "true" if include_hidden else None}
    return {name: value for name, value in query.items() if value is not None}


def _transcript(data: Any) -> Transcript:
    messages = data.get("messages") if isinstance(data, Mapping) else None
    if not isinstance(messages, list):
        raise ProtocolError("the server's chat has no list of messages")
    info = {name: value for name, value in data.items() if name != "messages"}
    return Transcript(ChatInfo.from_json(info), tuple(map(Message.from_json, messages)))


def _plugins(data: Any) -> list[Plugin]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of plugins")
    return [Plugin.from_json(item) for item in data]


def _models(data: Any) -> list[ModelInfo]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of models")
    return [ModelInfo.from_json(item) for item in data]


class NotSignedIn(Exception):  # noqa: N818 - the answer of a server, which is no error to it
    """The website says that nobody is signed in, with a status of success."""


def _user(data: Any) -> User:
    if data == {}:
        raise NotSignedIn
    return User.from_json(data)


def _access_token(data: Any) -> str:
    pair = data.get("access_token") if isinstance(data, Mapping) else None
    token = pair.get("access_token") if isinstance(pair, Mapping) else None
    if not isinstance(token, str) or not token or not all("!" <= character <= "~" for character in token):
        raise ProtocolError("the server's answer has no access token: is this an inference server?")
    return token


def _names(data: Any) -> list[str]:
    if not isinstance(data, list):
        raise ProtocolError("the server's answer is not a list of names")
    return [str(item) for item in data]


def _nothing(data: Any) -> None:
    """Ignore the body: empty on one surface, `null` or `""` on the other."""
