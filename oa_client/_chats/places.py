"""The places of a chat in which the prompt of a turn can go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oa_client._calls.exchange import Exchange
from oa_client._calls.place import Place
from oa_client._calls.turns import Turn
from oa_client._chats.absence import explaining_absence
from oa_client._chats.branch import Branch, BranchEnd, Prompt
from oa_client._chats.position import Position, find, id_of
from oa_client._values.errors import ConfigurationError, UnsupportedError
from oa_client._values.message import Message


class _PlaceInChat(Place):
    """A place in a chat that other turns use too, for one turn."""

    def __init__(self, position: Position) -> None:
        super().__init__(keep=True, chat_id=position.chat_id)
        self._position = position
        self._prompt: Prompt | None = None
        # Where the branch in use ended before a draft, which the server may refuse.
        self._before: tuple[BranchEnd | None, Branch] | None = None

    @contextmanager
    def around(self, exchange: Exchange) -> Iterator[Turn]:
        """Hold the chat while one turn asks, and then record how it ended."""
        position = self._position
        with explaining_absence(exchange, position.chat_id), position.turns.turn(exchange) as turn:
            try:
                yield turn
            finally:
                if self._prompt is not None:
                    position.note(exchange, self._prompt, self._before)
            if position.tells_tail:
                position.tell_tail(exchange)

    def _go_to(self, prompt: Prompt, is_draft: bool = False) -> str:
        before = self._position.go_to(prompt)
        self._prompt, self._before = prompt, before if is_draft else None
        return prompt.id


class After(_PlaceInChat):
    """
    The place after an answer.

    Args:
        position: of the chat.
        parent: the answer; None is the end of the branch in use.
    """

    def __init__(self, position: Position, parent: Message | str | None) -> None:
        super().__init__(position)
        self._parent_id = None if parent is None else id_of("parent", parent)
        if isinstance(parent, Message) and parent.role != "assistant":
            raise ConfigurationError("parent must be an answer, since only that can be followed by a prompt")

    def put(self, exchange: Exchange, chat_id: str, text: str) -> str:
        """Post the prompt, or find it at the end of the branch in use, without an answer."""
        position, parent_id = self._position, self._parent_id
        if parent_id is None:
            end = position.settled_end(exchange)
            parent_id = end.answer_id
            if parent_id is None and end.prompt is not None:
                if end.prompt.content == text:
                    return self._go_to(end.prompt)
                parent_id = end.prompt.parent_id
                if parent_id is None:
                    raise UnsupportedError(
                        "the branch in use ends with the first prompt of this chat, and the servers take only one: "
                        "regenerate() asks for its answer again, parent= continues from an answer that it has, and "
                        "client.create_chat() makes a new chat"
                    )
        else:
            position.tells_tail = True
        return self._go_to(position.post(exchange, parent_id, text))


class Again(_PlaceInChat):
    """
    The place of a prompt that gets another answer.

    Args:
        position: of the chat.
        message: the prompt, or one of its answers; None is the last prompt.
    """

    def __init__(self, position: Position, message: Message | str | None) -> None:
        super().__init__(position)
        self._message_id = None if message is None else id_of("message", message)

    def put(self, exchange: Exchange, chat_id: str, text: str) -> str:
        """Find the prompt."""
        position = self._position
        if self._message_id is None:
            prompt = position.last_prompt(exchange)
            if prompt is None:
                raise ConfigurationError("the chat is empty: ask something first")
        else:
            tree = position.load_tree(exchange)
            found = find(tree, self._message_id)
            position.tells_tail = True
            prompt = Prompt.of(found if found.role == "prompter" else find(tree, found.parent_id or ""))
        return self._go_to(prompt, is_draft=True)


class Beside(_PlaceInChat):
    """
    The place of another prompt, beside it.

    Args:
        position: of the chat.
        message: the other prompt.
    """

    def __init__(self, position: Position, message: Message | str) -> None:
        super().__init__(position)
        id_of("message", message)
        self._message = message
        if isinstance(message, Message):
            _check_can_be_edited(message)

    def put(self, exchange: Exchange, chat_id: str, text: str) -> str:
        """Post the prompt."""
        position, old = self._position, self._message
        if not isinstance(old, Message):
            old = find(position.load_tree(exchange), old)
        position.tells_tail = True
        return self._go_to(position.post(exchange, _check_can_be_edited(old), text))


def _check_can_be_edited(message: Message) -> str:
    """Return the parent of a prompt that can be edited."""
    if message.role != "prompter":
        raise ConfigurationError("only a prompt can be edited; regenerate() makes another answer")
    if message.parent_id is None:
        raise UnsupportedError(
            "the first prompt of a chat cannot be edited, because the servers take one for each chat: "
            "make a new chat with client.create_chat()"
        )
    return message.parent_id
