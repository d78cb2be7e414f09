"""The calls that both servers take, whatever their paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from oa_client._transcripts.transcript import Transcript
from oa_client._values.chat import ChatPage
from oa_client._values.errors import NotFoundError
from oa_client._values.message import Message
from oa_client._values.model import ModelInfo
from oa_client._values.plugin import Plugin
from oa_client._values.question import Question
from oa_client._values.user import User
from oa_client._wire.call import Call

DEFAULT_MODEL = "OA_SFT_Llama_30B_6"
#: States of an answer that has left the server's queue, so that deleting its chat harms nobody. A timeout is among
#: them: the server notices it only when a worker takes the message off the queue.
DELETABLE_STATES = frozenset({"complete", "aborted_by_worker", "timeout"})
#: States that an answer never leaves. A cancelled answer stays in the queue until a worker comes to it.
FINAL_STATES = DELETABLE_STATES | {"cancelled"}
_SOME_ID = "00000000-0000-0000-0000-000000000000"


class Surface(Protocol):
    """One of the two servers of the protocol: the same calls, with paths of its own."""

    name: str

    def create_chat(self) -> Call[str]:
        """Make a chat; returns its id."""

    def list_chats(self, after: str | None, before: str | None, include_hidden: bool) -> Call[ChatPage]:
        """Read a page of the list of chats, after or before a cursor, not both."""

    def get_chat(self, chat_id: str) -> Call[Transcript]:
        """Read a chat; returns it with its messages, in no order."""

    def probe(self) -> Call[None] | None:
        """Return a call that fails while the server is in trouble, if `get_chat` may then say 404; otherwise None."""

    def update_chat(self, chat_id: str, **changes: Any) -> Call[None]:
        """Change `title`, `hidden`, `allow_data_use` or `active_thread_tail_message_id`."""

    def delete_chat(self, chat_id: str) -> Call[None]:
        """Delete a chat."""

    def post_prompt(self, chat_id: str, parent_id: str | None, content: str) -> Call[str]:
        """Add a prompter message; returns its id."""

    def post_assistant(self, chat_id: str, parent_id: str, question: Question) -> Call[str]:
        """Ask for an answer; returns the id of the pending assistant message."""

    def get_message(self, chat_id: str, message_id: str) -> Call[Message]:
        """Read an assistant message."""

    def vote(self, chat_id: str, message_id: str, score: int) -> Call[None]:
        """Vote for an assistant message: 1, 0 or -1."""

    def evaluate(self, chat_id: str, message_id: str, inferior_message_ids: Sequence[str]) -> Call[None]:
        """Say that an assistant message is better than others."""

    def report(self, chat_id: str, message_id: str, report_type: str, reason: str) -> Call[None]:
        """Report a message: spam, offensive or feedback."""

    def open_events(self, chat_id: str, message_id: str) -> Call[Any]:
        """Open the event stream of an assistant message; returns its body."""

    def list_models(self) -> Call[list[ModelInfo]]:
        """List the models."""

    def list_plugins(self) -> Call[list[Plugin]]:
        """List the plugins that the server offers."""

    def get_plugin(self, url: str) -> Call[Plugin]:
        """Let the server look up a plugin."""

    def whoami(self) -> Call[User]:
        """Read the user who is signed in."""

    def refresh(self) -> Call[User]:
        """Renew the session, and read its user."""

    def delete_account(self) -> Call[None]:
        """Delete the account of the user who is signed in."""


def check_size(surface: Surface, question: Question) -> None:
    """
    Check, before anything is sent, that a question is not too long to send.

    Raises:
        ConfigurationError: if it is too long.
    """
    surface.post_prompt(_SOME_ID, None, question.prompt).encode()
    surface.post_assistant(_SOME_ID, _SOME_ID, question).encode()


def is_gone(surface: Surface, chat_id: str, send: Callable[[Call[Any]], object]) -> bool:
    """
    Return whether a chat was deleted: reading a message of a deleted chat fails as if the server were in trouble.

    Raises:
        OAError: from `send`, if the server is in trouble.
    """
    probe = surface.probe()
    if probe is not None:
        send(probe)
    try:
        send(surface.get_chat(chat_id))
    except NotFoundError:
        return True
    return False
