"""The behaviour of Open-Assistant behind both surfaces."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from oa_client.local._answers.job import Job
from oa_client.local._answers.plugins import PLUGIN_DEPTH, Plugins
from oa_client.local._answers.work import BackendWorkers
from oa_client.local._models.backends import Backend
from oa_client.local._models.models import Models
from oa_client.local._settings import Settings
from oa_client.local._storage.accounts import Accounts
from oa_client.local._storage.records import FINISHED, UNFINISHED, StoredChat, StoredMessage
from oa_client.local._storage.store import Store
from oa_client.local._surfaces.bodies import ANSWER, CHAT_CHANGES, EVALUATION, PROMPT, REPORT, VOTE
from oa_client.local._surfaces.fields import read_body
from oa_client.local._surfaces.refusals import BUSY, NOT_COMPLETE, BreakdownError, RefusalError

#: The real server's description of `OA_SFT_Llama_30B_6`; it does not limit the models here.
MODEL_LIMITS = {"max_input_length": 1024, "max_total_length": 1792, "quantized": False}


class Assistant:
    """
    The chats of all users, and the answers in them.

    Only the event loop's thread may use it. A chat exists only for its user. Every method can raise `RefusalError`
    where the real server refuses, and `BreakdownError` where it crashes.
    """

    def __init__(
        self,
        workers: BackendWorkers,
        models: Models,
        plugins: Plugins,
        accounts: Accounts,
        store: Store,
        settings: Settings,
    ) -> None:
        self.workers = workers
        self._models = models
        self._plugins = plugins
        self._accounts = accounts
        self._store = store
        self._settings = settings
        for answer in store.recover():
            self._submit(answer)

    def create_chat(self, user_id: str) -> StoredChat:
        """Make an empty chat for a user, who must exist."""
        if self._accounts.user(user_id) is None:
            raise RefusalError(404, "User not found")
        return self._store.create_chat(user_id)

    def chat(self, user_id: str, chat_id: str) -> StoredChat:
        """Return the user's chat with this id."""
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise RefusalError(404, "Chat not found")
        return chat

    def list_chats(
        self, user_id: str, *, limit: int, after: str | None, before: str | None, include_hidden: bool
    ) -> dict[str, Any]:
        """
        Return a page of the user's chats, the newest first, with the cursors of its neighbours.

        Cursors are chat ids in base64. Past either end the page is empty, and the given cursor becomes that of the
        other direction.
        """
        if after and before:
            raise RefusalError(400, "Cannot specify both after and before.")
        if before:
            found = self._store.chats_after(user_id, _from_cursor(before), hidden=include_hidden, limit=limit + 1)
            page = found[:limit][::-1]
            more_after, more_before = True, len(found) > limit
        else:
            id = _from_cursor(after) if after else None
            found = self._store.chats_before(user_id, id, hidden=include_hidden, limit=limit + 1)
            page = found[:limit]
            more_after, more_before = len(found) > limit, bool(after)
        if not page:
            return {"chats": [], "next": before or None, "prev": after or None}
        return {
            "chats": [chat.summary() for chat in page],
            "next": _to_cursor(page[-1].id) if more_after else None,
            "prev": _to_cursor(page[0].id) if more_before else None,
        }

    def chat_json(self, user_id: str, chat_id: str) -> dict[str, Any]:
        """Return the user's chat with this id, and its messages."""
        chat = self.chat(user_id, chat_id)
        return chat.to_json(self._store.messages(chat.id))

    def update_chat(self, user_id: str, chat_id: str, body: Any) -> None:
        """Change the fields that the body names; null changes nothing."""
        changes = read_body(body, CHAT_CHANGES)
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise BreakdownError(empty=True)
        self._store.update_chat(chat, changes)

    def delete_chat(self, user_id: str, chat_id: str) -> None:
        """
        Delete the chat, and stop its answers within one token.

        Readers of those answers get nothing more, not even the end.
        """
        chat = self.chat(user_id, chat_id)
        messages = self._store.messages(chat.id)
        self._store.delete_chat(chat)
        for message in messages:
            self.workers.drop(message.id)

    def post_prompt(self, user_id: str, chat_id: str, body: Any) -> StoredMessage:
        """Add a prompt to a chat."""
        prompt = read_body(body, PROMPT)
        most = self._settings.message_max_length
        if most is not None and len(prompt["content"]) > most:
            raise RefusalError(413, "Message content exceeds max length")
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise BreakdownError(empty=True)
        self._check_room(chat_id)
        parent_id = prompt["parent_id"]
        if parent_id is None:
            if self._store.count_messages(chat_id):
                raise RefusalError(400, "Trying to add first message to non-empty chat")
        elif (parent := self._store.message(parent_id)) is None or parent.chat_id != chat_id:
            raise RefusalError(400, "Parent message not found")
        elif parent.role != "assistant":
            raise RefusalError(400, "Parent message is not an assistant message")
        elif parent.state != "complete":
            raise RefusalError(400, NOT_COMPLETE)
        return self._store.add_prompt(chat, parent_id, prompt["content"])

    def post_answer(self, user_id: str, body: Any) -> StoredMessage:
        """
        Ask for an answer to a prompt, whose id alone determines the chat.

        This cancels the user's other waiting answers, in any chat, even if this one then fails; their readers get no
        event. If the queue is full, this answer stays in the chat, and is never written.
        """
        request = read_body(body, ANSWER)
        self._models.check(request["model_config_name"])
        parent_id = request["parent_id"]
        self._store.cancel_waiting(user_id, parent_id)
        prompt = self._store.message(parent_id)
        if prompt is None or prompt.role != "prompter":
            raise BreakdownError(empty=True)
        if prompt.user_id != user_id:
            raise RefusalError(400, "Message not found")
        self._check_room(prompt.chat_id)
        full = self.workers.is_full(self._models.backend(request["model_config_name"]))
        answer = self._store.add_answer(prompt, self._work_parameters(request), queued=not full)
        if full:
            raise RefusalError(503, BUSY)
        self._submit(answer)
        return answer

    def stop_answer(self, user_id: str, message_id: str) -> StoredMessage:
        """End an answer of the user with the text that it has so far, if it is not finished; neither surface can."""
        answer = self._own_answer(user_id, message_id)
        if answer.state in UNFINISHED:
            self.workers.stop(self.workers.job(answer.id, self._backend(answer)))
        return self._own_answer(user_id, message_id)

    def message(self, user_id: str, chat_id: str, message_id: str) -> StoredMessage:
        """Return one message of a chat."""
        message = self._store.message(message_id)
        if message is None or message.chat_id != chat_id or message.user_id != user_id:
            raise BreakdownError(empty=False)
        return message

    def vote(self, user_id: str, message_id: str, body: Any) -> None:
        """Say how good an answer is: 1, 0 or -1."""
        score = read_body(body, VOTE)["score"]
        answer = self._own_answer(user_id, message_id)
        if score not in (-1, 0, 1):
            raise BreakdownError(empty=True)
        self._store.vote(answer.id, score)

    def evaluate(self, user_id: str, message_id: str, body: Any) -> None:
        """
        Say which messages are worse than this one, without checking that they exist and are answers.

        The server stores this, but gives it to nobody.
        """
        evaluation = read_body(body, EVALUATION)
        message = self._own_message(user_id, message_id)
        self._store.add_evaluation(message, evaluation["inferior_message_ids"])

    def report(self, user_id: str, message_id: str, body: Any) -> None:
        """Complain about an answer."""
        report = read_body(body, REPORT)
        self._store.add_report(self._own_answer(user_id, message_id), report["report_type"], report["reason"])

    def job(self, user_id: str, chat_id: str, message_id: str) -> Job | None:
        """Return the job whose events can be read; None when the answer is finished, read or not."""
        message = self.message(user_id, chat_id, message_id)
        if message.role != "assistant":
            raise RefusalError(400, "Only assistant messages can be streamed.")
        return None if message.state in FINISHED else self.workers.job(message_id, self._backend(message))

    def _own_message(self, user_id: str, message_id: str) -> StoredMessage:
        """Return a message of the user, from any chat."""
        message = self._store.message(message_id)
        if message is None or message.user_id != user_id:
            raise BreakdownError(empty=True)
        return message

    def _own_answer(self, user_id: str, message_id: str) -> StoredMessage:
        message = self._own_message(user_id, message_id)
        if message.role != "assistant":
            raise BreakdownError(empty=True)
        return message

    def _check_room(self, chat_id: str) -> None:
        """Check that a chat may have one more message."""
        most = self._settings.chat_max_messages
        if most is not None and self._store.count_messages(chat_id) >= most:
            raise RefusalError(413, "Maximum number of messages reached for this chat")

    def _submit(self, answer: StoredMessage) -> None:
        """Put an answer into the queue, with its parameters."""
        asked = answer.work_parameters or {}
        messages = self._conversation(self._store.thread(answer)[:-1], asked)
        plugin = self._plugins.chosen(asked["plugins"])
        expire = self._settings.message_queue_expire
        self.workers.submit(
            Job(answer.id, self._backend(answer), expire, messages, asked["sampling_parameters"], plugin)
        )

    def _backend(self, answer: StoredMessage) -> Backend:
        """Return the backend that writes an answer, or wrote it."""
        asked = answer.work_parameters or {}
        return self._models.backend(asked["model_config"]["model_id"])

    def _work_parameters(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "model_config": {"model_id": self._models.backend(request["model_config_name"]).name, **MODEL_LIMITS},
            "sampling_parameters": request["sampling_parameters"],
            "do_sample": True,
            "seed": secrets.randbelow(2**64 - 1),
            "system_prompt": request["system_prompt"],
            "user_profile": request["user_profile"],
            "user_response_instructions": request["user_response_instructions"],
            "plugins": request["plugins"],
            "plugin_max_depth": PLUGIN_DEPTH,
        }

    def _conversation(self, thread: Sequence[StoredMessage], request: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the messages for the model: the system text, then the thread from its root to the prompt."""
        system = [request["system_prompt"]]
        if profile := request["user_profile"]:
            system.append(f"About the user: {profile}")
        if instructions := request["user_response_instructions"]:
            system.append(f"How to answer: {instructions}")
        text = "\n".join(part for part in system if part)
        messages = [{"role": "system", "content": text}] if text else []
        for message in thread:
            role = "user" if message.role == "prompter" else message.role
            messages.append({"role": role, "content": message.content or ""})
        return messages


def _to_cursor(chat_id: str) -> str:
    return base64.b64encode(chat_id.encode()).decode()


def _from_cursor(cursor: str) -> str:
    """Return the chat id in a cursor. As on the real server, characters that are not base64 are skipped."""
    try:
        return base64.b64decode(cursor).decode()
    except ValueError:
        raise BreakdownError(empty=False) from None
