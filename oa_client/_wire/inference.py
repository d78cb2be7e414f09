"""The inference server's dialect, from its sources (`inference/server`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from oa_client._transcripts.transcript import Transcript
from oa_client._values.chat import ChatPage
from oa_client._values.errors import UnsupportedError
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.plugin import Plugin
from oa_client._values.question import Question
from oa_client._values.user import User
from oa_client._wire.answers import (
    NO_ANSWER,
    NO_PLUGIN,
    checked,
    ids,
    ignore_body,
    inferior,
    list_query,
    read_access_token,
    read_answer,
    read_chat,
    read_id,
    read_models,
    read_names,
    read_plugins,
    read_user,
)
from oa_client._wire.call import Call

#: chats on a page; this server lets its clients choose.
PAGE_SIZE = 100


class Inference:
    """The inference server: bearer token, ids in the path. Its methods are described in `Surface`."""

    name = "inference server"

    def create_chat(self) -> Call[str]:
        return Call("POST", "/chats", read_id, body={})

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        query = {"limit": str(PAGE_SIZE), **list_query(after, before, include_hidden)}
        return Call("GET", "/chats", ChatPage.from_json, query)

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        return Call("GET", _chat_path(chat_id), read_chat)

    def probe(self) -> Call[None] | None:
        return None

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        return Call("PUT", _chat_path(chat_id), ignore_body, body=changes)

    def delete_chat(self, chat_id: str) -> Call[None]:
        return Call("DELETE", _chat_path(chat_id), ignore_body)

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        body = {**ids(parent_id=parent_id), "content": content}
        return Call("POST", f"{_chat_path(chat_id)}/prompter_message", read_id, body=body)

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        path = f"{_chat_path(chat_id)}/assistant_message"
        return Call("POST", path, read_id, body=question.to_json(checked(parent_id)))

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        return Call("GET", _message_path(chat_id, message_id), partial(read_answer, chat_id, message_id))

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        path = f"{_message_path(chat_id, message_id)}/votes"
        return Call("POST", path, ignore_body, body={"score": score}, on_failure=NO_ANSWER)

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        path = f"{_message_path(chat_id, message_id)}/message_evals"
        return Call("POST", path, ignore_body, body=inferior(inferior_message_ids), on_failure=NO_ANSWER)

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        path, body = f"{_message_path(chat_id, message_id)}/reports", {"report_type": report_type, "reason": reason}
        return Call("POST", path, ignore_body, body=body, on_failure=NO_ANSWER)

    def open_events(self, chat_id: str, message_id: str) -> Call[Any]:
        return Call("GET", f"{_message_path(chat_id, message_id)}/events", ignore_body, is_stream=True)

    def list_models(self) -> Call[list[ModelInfo]]:
        return Call("GET", "/configs/model_configs", read_models)

    def list_plugins(self) -> Call[list[Plugin]]:
        return Call("GET", "/configs/builtin_plugins", read_plugins)

    def get_plugin(self, url: str) -> Call[Plugin]:
        return Call("POST", "/configs/plugin_config", Plugin.from_json, body={"url": url}, on_failure=NO_PLUGIN)

    def whoami(self) -> Call[User]:
        return Call("GET", "/auth/check", read_user)

    def refresh(self) -> Call[User]:
        raise UnsupportedError(
            "an inference server cannot renew a token: the real one refuses every refresh token, also a good one; "
            "log in again with oa_client.login(), or pass a new token="
        )

    def delete_account(self) -> Call[None]:
        # Without the slash the server redirects here.
        return Call("DELETE", "/account/", ignore_body)


def debug_login(username: str) -> Call[str]:
    """
    Log in to an inference server that allows it by a name alone; returns the access token.

    Its login page redirects here, but to the address in the server's own settings.
    """
    return Call("GET", "/auth/callback/debug", read_access_token, {"code": username})


def list_providers() -> Call[list[str]]:
    """List the ways to log in to an inference server."""
    return Call("GET", "/auth/providers", read_names)


def register() -> Call[None]:
    """Make the user of a trusted client on an inference server, unless it exists."""
    return Call("POST", "/auth/trusted", ignore_body)


def _chat_path(chat_id: str) -> str:
    return f"/chats/{quote(checked(chat_id), safe='')}"


def _message_path(chat_id: str, message_id: str) -> str:
    return f"{_chat_path(chat_id)}/messages/{quote(checked(message_id), safe='')}"
