"""The website's dialect, from the sources of its routes (`website/src/pages/api/chat`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

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
    read_answer,
    read_chat,
    read_id,
    read_models,
    read_plugins,
    read_user,
)
from oa_client._wire.call import Call

#: bytes; the website's server refuses a longer body, and then fails the next request, whoever sends it.
WEBSITE_BODY_LIMIT = 1024 * 1024


class Website:
    """The website: session cookie, ids in the query or the body. Its methods are described in `Surface`."""

    name = "website"

    def create_chat(self) -> Call[str]:
        return Call("POST", "/api/chat", read_id)

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        return Call("GET", "/api/chat", ChatPage.from_json, list_query(after, before, include_hidden))

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        return Call("GET", "/api/chat", read_chat, ids(chat_id=chat_id))

    def probe(self) -> Call[None] | None:
        # The list of chats: for one chat the website says 404, whatever the trouble with the server behind it.
        return Call("GET", "/api/chat", ignore_body)

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        return Call("PUT", "/api/chat", ignore_body, body={**ids(chat_id=chat_id), **changes})

    def delete_chat(self, chat_id: str) -> Call[None]:
        return Call("DELETE", "/api/chat", ignore_body, ids(chat_id=chat_id))

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        body = {**ids(chat_id=chat_id), "content": content, **ids(parent_id=parent_id)}
        return Call("POST", "/api/chat/prompter_message", read_id, body=body, body_limit=WEBSITE_BODY_LIMIT)

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        body = {**ids(chat_id=chat_id), **question.to_json(checked(parent_id))}
        return Call("POST", "/api/chat/assistant_message", read_id, body=body, body_limit=WEBSITE_BODY_LIMIT)

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        query = ids(chat_id=chat_id, message_id=message_id)
        return Call("GET", "/api/chat/message", partial(read_answer, chat_id, message_id), query)

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        body = {**ids(chat_id=chat_id, message_id=message_id), "score": score}
        return Call("POST", "/api/chat/vote", ignore_body, body=body, on_failure=NO_ANSWER)

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        body = {**ids(chat_id=chat_id, message_id=message_id), **inferior(inferior_message_ids)}
        return Call("POST", "/api/chat/message_eval", ignore_body, body=body, on_failure=NO_ANSWER)

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        raise UnsupportedError(
            "the website takes no reports: vote(message, -1) says that an answer is bad, and the inference server "
            "behind it (token=) takes reports"
        )

    def open_events(self, chat_id: str, message_id: str) -> Call[Any]:
        query = ids(chat_id=chat_id, message_id=message_id)
        return Call("GET", "/api/chat/events", ignore_body, query, is_stream=True)

    def list_models(self) -> Call[list[ModelInfo]]:
        return Call("GET", "/api/chat/models", read_models)

    def list_plugins(self) -> Call[list[Plugin]]:
        return Call("GET", "/api/chat/plugins", read_plugins)

    def get_plugin(self, url: str) -> Call[Plugin]:
        body = {"plugin": {"url": url}}
        return Call("POST", "/api/chat/plugin_config", Plugin.from_json, body=body, on_failure=NO_PLUGIN)

    def whoami(self) -> Call[User]:
        return Call("GET", "/api/auth/session", read_user)

    def refresh(self) -> Call[User]:
        return replace(self.whoami(), is_renewal=True)

    def delete_account(self) -> Call[None]:
        return Call("DELETE", "/api/account/delete", ignore_body)


class OriginalWebsite(Website):
    """The website as the gpt4free provider calls it: it reads the events by POST, which the website takes too."""

    def open_events(self, chat_id: str, message_id: str) -> Call[Any]:
        return replace(super().open_events(chat_id, message_id), method="POST")
