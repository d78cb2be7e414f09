"""What Open-Assistant does, whichever of its two surfaces is asked."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from oa_client.local._accounts import Accounts
from oa_client.local._bodies import ANSWER, CHAT_CHANGES, EVALUATION, PROMPT, REPORT, VOTE
from oa_client.local._fields import read_body
from oa_client.local._models import Models
from oa_client.local._plugins import PLUGIN_DEPTH, Plugins
from oa_client.local._refusals import BreakdownError, RefusalError
from oa_client.local._store import FINISHED, Chat, Message, Store
from oa_client.local._work import Job, Workers

MODEL_LIMITS = {"max_input_length": 1024, "max_total_length": 1792, "quantized": False}
"""What the real server tells of `OA_SFT_Llama_30B_6`; no model here is bound by it."""


class Assistant:
    """
    The chats of all users, and the answers in them.

    For one thread only, the event loop's. To everybody but its user a chat does not exist. Every
    method can raise `RefusalError` and `BreakdownError` where the real server refuses or stumbles.
    """

    def __init__(self, workers: Workers, models: Models, plugins: Plugins, accounts: Accounts) -> None:
        self.workers = workers
        self._models = models
        self._plugins = plugins
        self._accounts = accounts
        self._store = Store()
        self._jobs: dict[str, Job] = {}  # by the id of the answer, while its chat exists

    def create_chat(self, user_id: str) -> Chat:
        """Make an empty chat for a user, who must exist."""
        if self._accounts.user(user_id) is None:
            raise RefusalError(404, "User not found")
        return self._store.create_chat(user_id)

    def chat(self, user_id: str, chat_id: str) -> Chat:
        """The user's chat with this id."""
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise RefusalError(404, "Chat not found")
        return chat

    def list_chats(
        self, user_id: str, *, limit: int, after: str | None, before: str | None, include_hidden: bool
    ) -> dict[str, Any]:
        """
        One page of the user's chats, the newest first, with the cursors of its neighbours.

        Cursors are chat ids in base64. Past either end the page is empty and the cursor comes back as
        that of the other direction.
        """
        if after and before:
            raise RefusalError(400, "Cannot specify both after and before.")
        chats = [chat for chat in self._store.chats(user_id) if include_hidden or not chat.hidden]
        if before:
            oldest_first = [chat for chat in chats if chat.id > _from_cursor(before)]
            page = oldest_first[:limit][::-1]
            more_after, more_before = True, len(oldest_first) > limit
        else:
            newest_first = [chat for chat in chats[::-1] if not after or chat.id < _from_cursor(after)]
            page = newest_first[:limit]
            more_after, more_before = len(newest_first) > limit, bool(after)
        if not page:
            return {"chats": [], "next": before or None, "prev": after or None}
        return {
            "chats": [chat.summary() for chat in page],
            "next": _to_cursor(page[-1].id) if more_after else None,
            "prev": _to_cursor(page[0].id) if more_before else None,
        }

    def update_chat(self, user_id: str, chat_id: str, body: Any) -> None:
        """Change what the body names; null changes nothing."""
        changes = read_body(body, CHAT_CHANGES)
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise BreakdownError(empty=True)
        for name, value in changes.items():
            if value is not None:
                setattr(chat, name, value)

    def delete_chat(self, user_id: str, chat_id: str) -> None:
        """
        Delete the chat, and stop what is being written in it within one token.

        Whoever reads those answers hears nothing more, not even the end.
        """
        chat = self.chat(user_id, chat_id)
        self._store.delete_chat(chat)
        for message_id in chat.messages:
            if (job := self._jobs.pop(message_id, None)) is not None:
                job.cancel()

    def post_prompt(self, user_id: str, chat_id: str, body: Any) -> Message:
        """Add what the user says to a chat."""
        prompt = read_body(body, PROMPT)
        if (chat := self._store.chat(user_id, chat_id)) is None:
            raise BreakdownError(empty=True)
        parent_id = prompt["parent_id"]
        if parent_id is None:
            if chat.messages:
                raise RefusalError(400, "Trying to add first message to non-empty chat")
        elif (parent := chat.messages.get(parent_id)) is None:
            raise RefusalError(400, "Parent message not found")
        elif parent.role != "assistant":
            raise RefusalError(400, "Parent message is not an assistant message")
        elif parent.state != "complete":
            raise RefusalError(400, "Parent message is not complete")
        return self._store.add_prompt(chat, parent_id, prompt["content"])

    def post_answer(self, user_id: str, body: Any) -> Message:
        """
        Have a prompt answered. Only the prompt's id says in which chat.

        The user's answers still waiting to other prompts, in any chat, are cancelled, even if this
        one then fails; those who read them are told nothing.
        """
        request = read_body(body, ANSWER)
        if (name := request["model_config_name"]) not in self._models:
            raise RefusalError(422, f"Model {name} not found")
        parent_id = request["parent_id"]
        self._cancel_waiting(user_id, parent_id)
        prompt = self._store.message(parent_id)
        if prompt is None or prompt.role != "prompter":
            raise BreakdownError(empty=True)
        if self._store.user_id(prompt) != user_id:
            raise RefusalError(400, "Message not found")
        answer = self._store.add_answer(prompt, self._work_parameters(request))
        plugin = self._plugins.chosen(request["plugins"])
        job = Job(
            answer,
            self._conversation(prompt, request),
            request["sampling_parameters"],
            plugin,
            backend=self._models.backend(name),
        )
        self._jobs[answer.id] = job
        self.workers.submit(job)
        return answer

    def message(self, user_id: str, chat_id: str, message_id: str) -> Message:
        """One message of a chat."""
        message = self._store.message(message_id)
        if message is None or message.chat_id != chat_id or self._store.user_id(message) != user_id:
            raise BreakdownError(empty=False)
        return message

    def vote(self, user_id: str, message_id: str, body: Any) -> None:
        """Say how good an answer is: 1, 0 or -1."""
        score = read_body(body, VOTE)["score"]
        answer = self._own_answer(user_id, message_id)
        if score not in (-1, 0, 1):
            raise BreakdownError(empty=True)
        answer.score = score

    def evaluate(self, user_id: str, message_id: str, body: Any) -> None:
        """
        Say which messages are worse than this one; of which role they are, and whether they exist, is not asked.

        Nothing of it can be read again, so nothing is kept.
        """
        read_body(body, EVALUATION)
        self._own_message(user_id, message_id)

    def report(self, user_id: str, message_id: str, body: Any) -> None:
        """Complain about an answer."""
        report = read_body(body, REPORT)
        self._store.add_report(self._own_answer(user_id, message_id), report["report_type"], report["reason"])

    def job(self, user_id: str, chat_id: str, message_id: str) -> Job | None:
        """The job whose events can be read; None when the answer is finished, read or not."""
        message = self.message(user_id, chat_id, message_id)
        if message.role != "assistant":
            raise RefusalError(400, "Only assistant messages can be streamed.")
        return None if message.state in FINISHED else self._jobs[message_id]

    def _own_message(self, user_id: str, message_id: str) -> Message:
        """A message of the user, in whatever chat."""
        message = self._store.message(message_id)
        if message is None or self._store.user_id(message) != user_id:
            raise BreakdownError(empty=True)
        return message

    def _own_answer(self, user_id: str, message_id: str) -> Message:
        message = self._own_message(user_id, message_id)
        if message.role != "assistant":
            raise BreakdownError(empty=True)
        return message

    def _cancel_waiting(self, user_id: str, parent_id: str) -> None:
        for job in self._jobs.values():
            message = job.message
            if (
                message.state == "pending"
                and message.parent_id != parent_id
                and self._store.user_id(message) == user_id
            ):
                message.state = "cancelled"
                job.cancel()

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

    def _conversation(self, prompt: Message, request: dict[str, Any]) -> list[dict[str, str]]:
        """What the model is asked: the system text, then the thread from its root to the prompt."""
        system = [request["system_prompt"]]
        if profile := request["user_profile"]:
            system.append(f"About the user: {profile}")
        if instructions := request["user_response_instructions"]:
            system.append(f"How to answer: {instructions}")
        text = "\n".join(part for part in system if part)
        messages = [{"role": "system", "content": text}] if text else []
        for message in self._store.thread(prompt):
            role = "user" if message.role == "prompter" else message.role
            messages.append({"role": role, "content": message.content or ""})
        return messages


def _to_cursor(chat_id: str) -> str:
    return base64.b64encode(chat_id.encode()).decode()


def _from_cursor(cursor: str) -> str:
    """The chat id in a cursor. As on the real server, what is not base64 at all is skipped over."""
    try:
        return base64.b64decode(cursor).decode()
    except ValueError:
        raise BreakdownError(empty=False) from None
