"""Conversations: where each prompt goes in the tree, whatever became of the turn before."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oa_client import (
    APIError,
    BusyError,
    Chat,
    Client,
    ConfigurationError,
    GenerationError,
    Message,
    NotFoundError,
    RequestError,
    Sampling,
    Timeout,
    TransportError,
    TransportTimeout,
    UnsupportedError,
)
from tests.scripted import Connection, EventWriter, Handler, OpenAssistantScript, Request, reply, response


@pytest.fixture
def client(script: OpenAssistantScript) -> Iterator[Client]:
    """A client of the script that does not wait to try again; after it no connection is left."""
    with Client(script.url, **script.credentials, max_retries=0) as made:
        yield made
    script.wait_until(lambda: script.open_connections == 0)


@pytest.fixture
def chat(client: Client) -> Chat:
    """A chat that was just made."""
    return client.create_chat()


def posted(script: OpenAssistantScript, name: str) -> list[Any]:
    """Return the bodies of the requests to a route."""
    return [request.json() for request in script.requests if script.route(request)[0] == name]


def parents(script: OpenAssistantScript) -> dict[str, str | None]:
    """Return the parent of each message of the first chat."""
    return {key: message["parent_id"] for key, message in script.chats["c1"].messages.items()}


def refusal(script: OpenAssistantScript, status: int, detail: Any = "no") -> Handler:
    """Answer with an error in the words of the surface."""
    name = "message" if script.surface == "website" else "detail"
    return lambda connection, _: script.send_json(connection, {name: detail}, status)


def stub_and_503(script: OpenAssistantScript) -> Handler:
    """Refuse an answer as the real server does when its queue is full: what it leaves looks pending for ever."""
    add = script.on_assistant

    def refuse(connection: Connection, request: Request) -> None:
        send, script.send_new = script.send_new, lambda *_: None  # type: ignore[method-assign]  # for this request
        add(connection, request)
        script.send_new = send  # type: ignore[method-assign]  # as it was
        refusal(script, 503, "The server is currently busy.")(connection, request)

    return refuse


# Turns that go well.


def test_turns_thread_the_parents(script: OpenAssistantScript, chat: Chat) -> None:
    """Each prompt follows the answer before it, with the five calls of a turn less those of a chat's life."""
    assert ["Hello world"] * 2 == [str(chat.ask("One")), "".join(chat.stream("Two"))]

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)
    assert ["create", *["prompter", "assistant", "events"] * 2] == script.calls


def test_chat_stays_on_the_server(script: OpenAssistantScript, client: Client) -> None:
    """A chat is neither hidden nor deleted when its turns are over and the client is closed."""
    chat = client.create_chat()
    chat.ask("Hi")

    assert () == client.close()
    assert ["c1"] == script.visible_chats


def test_options_of_the_chat_and_of_a_turn(script: OpenAssistantScript, client: Client) -> None:
    """A turn has the options of its chat, but for those that it names itself, and the next has the chat's again."""
    chat = client.create_chat(
        model="m", sampling=Sampling(top_k=5), system_prompt="s", user_profile="u", response_instructions="r"
    )
    chat.ask("One", sampling={"temperature": 0.5}, system_prompt="t", plugins=[{"url": "http://p"}])
    chat.ask([{"role": "system", "content": "x"}, {"role": "user", "content": "Two"}])
    chat.ask("Three")

    keys = ("model_config_name", "sampling_parameters", "system_prompt", "plugins")
    assert [
        ("m", {"temperature": 0.5}, "t", [{"url": "http://p"}]),
        ("m", {"top_k": 5}, "x", []),
        ("m", {"top_k": 5}, "s", []),
    ] == [tuple(body[key] for key in keys) for body in posted(script, "assistant")]
    assert [("u", "r")] * 3 == [
        (body["user_profile"], body["user_response_instructions"]) for body in posted(script, "assistant")
    ]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param({"modle": "m"}, TypeError, "unexpected keyword argument 'modle'; did you mean 'model'", id="name"),
        pytest.param({"model": 5}, ConfigurationError, "model must be a name", id="model"),
        pytest.param({"sampling": {"top_k": 0}}, ConfigurationError, "top_k", id="sampling"),
        pytest.param({"plugins": "p"}, ConfigurationError, "plugins must be a list", id="plugins"),
        pytest.param({"system_prompt": "\0"}, ConfigurationError, "system_prompt has a NUL", id="system prompt"),
    ],
)
def test_bad_options(
    script: OpenAssistantScript, client: Client, options: Any, error: type[Exception], words: str
) -> None:
    """An option that is wrong is refused before anything is sent, for a chat and for a turn."""
    with pytest.raises(error, match=words):
        client.create_chat(**options)
    assert [] == script.calls

    chat = client.create_chat()
    with pytest.raises(error, match=words):
        chat.stream("Hi", **options)
    assert ["create"] == script.calls


# Turns that do not.


def test_nothing_is_said(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """None is no prompt: it is refused wherever something is said, before anything is sent."""
    nothing: Any = None
    uses: list[Callable[[], object]] = [
        lambda: client.ask(nothing),
        lambda: client.stream(nothing),
        lambda: chat.ask(nothing),
        lambda: chat.stream(nothing),
        lambda: chat.edit("p1", nothing),
    ]
    for use in uses:
        with pytest.raises(ConfigurationError, match="messages must be a string or a list"):
            use()

    assert ["create"] == script.calls


def test_turn_that_was_left_early_and_is_complete(script: OpenAssistantScript, chat: Chat) -> None:
    """After a stream that was closed the next prompt follows its answer, if that is complete by then."""
    # The server goes on with it; the script may not come to its end.
    script.message_state = "complete"
    with chat.stream("One") as stream:
        next(stream)
    chat.ask("Two")

    assert "m1" == parents(script)["p2"]
    assert ["message"] == script.calls[4:5]


def test_turn_that_was_left_early_and_goes_on(script: OpenAssistantScript, chat: Chat) -> None:
    """While an answer is being written the next turn waits for it."""
    go_on = threading.Event()

    def wait(stream: EventWriter) -> None:
        stream.token("Hello")
        stream.wait(go_on)
        script.change_message(stream.message_id, state="complete", content="Hello")
        stream.connection.wait_until_left()

    script.events = wait
    with chat.stream("One") as stream:
        next(stream)
    script.change_message("m1", state="in_progress")

    def look(connection: Connection, request: Request) -> None:
        go_on.set()
        script.events = script._write_events
        default(connection, request)

    default, script.on_message = script.on_message, look
    chat.ask("Two")

    assert "m1" == parents(script)["p2"]


def test_wait_for_an_answer_is_bounded(script: OpenAssistantScript) -> None:
    """An answer that never ends is waited for as long as for a first token, and the error says what can be done."""
    script.message_state = "in_progress"
    with Client(script.url, **script.credentials, max_retries=0, timeout=Timeout(first_token=1)) as client:
        chat = client.create_chat()
        chat.stream("One").close()
        with pytest.raises(TransportTimeout, match=r"m1, is still in_progress .* regenerate\(\), .* parent=") as caught:
            chat.ask("Two")

    assert "first_token" == caught.value.phase
    assert ["p1", "m1"] == list(parents(script))


def test_failed_answer_and_the_same_text(script: OpenAssistantScript, chat: Chat) -> None:
    """After an answer that failed the same text asks again on the same prompt."""
    script.events = lambda stream: stream.error("out of memory")
    with pytest.raises(GenerationError):
        chat.ask("One")
    script.events = script._write_events
    chat.ask("One")
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "m2": "p1", "p2": "m2", "m3": "p2"} == parents(script)


def test_failed_answer_and_another_text(script: OpenAssistantScript, chat: Chat) -> None:
    """After an answer that failed another text makes a prompt beside the one that was not answered."""
    chat.ask("One")
    script.events = lambda stream: stream.error("out of memory")
    with pytest.raises(GenerationError):
        chat.ask("Two")
    script.events = script._write_events
    chat.ask("Three")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2", "p3": "m1", "m3": "p3"} == parents(script)


def test_first_prompt_that_failed_and_another_text(script: OpenAssistantScript, chat: Chat) -> None:
    """The first prompt of a chat cannot be replaced, and the error says what can be done; it can be asked again."""
    script.events = lambda stream: stream.error("out of memory")
    with pytest.raises(GenerationError):
        chat.ask("One")
    with pytest.raises(UnsupportedError, match="regenerate"):
        chat.ask("Two")
    script.events = script._write_events

    assert "Hello world" == str(chat.regenerate().finish())
    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)


def test_busy_server(script: OpenAssistantScript, chat: Chat) -> None:
    """What a full queue leaves in the chat is not waited for: the same text asks again, at once, on the same prompt."""
    good, script.on_assistant = script.on_assistant, stub_and_503(script)
    with pytest.raises(BusyError):
        chat.ask("One")
    script.on_assistant = good
    chat.ask("One")

    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)
    assert ["create", "prompter", "assistant", "assistant", "events"] == script.calls


def test_refused_prompt(script: OpenAssistantScript, chat: Chat) -> None:
    """A prompt that the server refuses changes nothing: the next follows the same answer."""
    chat.ask("One")
    good, script.on_prompter = script.on_prompter, refusal(script, 413, "Message content exceeds max length")
    with pytest.raises(RequestError):
        chat.ask("Too long")
    script.on_prompter = good
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


@pytest.mark.parametrize("is_first", [True, False])
def test_prompt_whose_answer_was_lost(script: OpenAssistantScript, chat: Chat, is_first: bool) -> None:
    """A prompt of which it is not known whether it was taken is looked for, and not posted twice."""
    if not is_first:
        chat.ask("Zero")
    good = script.on_prompter

    def take_and_cut(connection: Connection, request: Request) -> None:
        connection.cut_after(1, reset=True)
        good(connection, request)

    script.on_prompter = take_and_cut
    with pytest.raises(TransportError):
        chat.ask("One")
    script.on_prompter = good
    chat.ask("One")

    prompts = [message["content"] for message in script.chats["c1"].messages.values() if message["role"] == "prompter"]
    assert ["One"] if is_first else ["Zero", "One"] == prompts


def test_prompt_that_was_lost(script: OpenAssistantScript, chat: Chat) -> None:
    """A prompt that was not taken is posted again."""
    chat.ask("One")
    good, script.on_prompter = script.on_prompter, lambda connection, _: connection.reset()
    with pytest.raises(TransportError):
        chat.ask("Two")
    script.on_prompter = good
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "p2": "m1", "m2": "p2"} == parents(script)


def test_turns_from_two_threads(script: OpenAssistantScript, chat: Chat) -> None:
    """Turns that are begun at the same time come one after the other."""
    chat.ask("Zero")
    threads = [threading.Thread(target=chat.ask, args=(text,)) for text in ("One", "Two", "Three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert {"p1": None, "p2": "m1", "p3": "m2", "p4": "m3"} == {
        key: parent for key, parent in parents(script).items() if key[0] == "p"
    }


# Trees.


def test_regenerate(script: OpenAssistantScript, chat: Chat) -> None:
    """A draft is another answer to the same prompt, and what is said next follows it."""
    first = chat.ask("One")
    script.tokens = ["Bye"]
    draft = chat.regenerate().finish()
    chat.ask("Two")

    assert {"p1": None, "m1": "p1", "m2": "p1", "p2": "m2", "m3": "p2"} == parents(script)
    assert ["m1", "m2"] == [item.id for item in chat.branches(first)] == [item.id for item in chat.branches(draft)]
    assert ["p1", "m2", "p2", "m3"] == [item.id for item in chat.thread()]


@pytest.mark.parametrize("which", ["message", "id", "prompt", "prompt's id"])
def test_regenerate_an_older_answer(script: OpenAssistantScript, chat: Chat, which: str) -> None:
    """Any prompt can be answered once more, named by itself or by one of its answers; the server is told of it."""
    first = chat.ask("One")
    chat.ask("Two")
    prompt = chat.thread()[0]
    known: dict[str, Message | str] = {"message": first, "id": first.id, "prompt": prompt, "prompt's id": prompt.id}
    chat.regenerate(known[which]).finish()

    assert "p1" == parents(script)["m3"]
    assert "m3" == script.chats["c1"].changes["active_thread_tail_message_id"]
    assert ["p1", "m3"] == [item.id for item in chat.thread()]


def test_regenerate_an_empty_chat(chat: Chat) -> None:
    """Where nothing was asked there is nothing to be answered."""
    with pytest.raises(ConfigurationError, match="empty"):
        chat.regenerate()


def test_edit(script: OpenAssistantScript, chat: Chat) -> None:
    """An edit is another prompt at the same place, and what is said next follows its answer."""
    chat.ask("One")
    chat.ask("Two")
    prompt = chat.thread()[2]
    chat.edit(prompt, "Three").finish()
    chat.ask("Four")

    assert {"p3": "m1", "m3": "p3", "p4": "m3", "m4": "p4"}.items() <= parents(script).items()
    assert ["Two", "Three"] == [item.content for item in chat.branches(prompt)]


def test_edit_what_cannot_be_edited(script: OpenAssistantScript, chat: Chat) -> None:
    """The first prompt, answers and messages of elsewhere cannot be edited, and nothing is sent to try it."""
    answer = chat.ask("One")
    prompt = chat.thread()[0]
    before = len(script.calls)
    for message in (prompt, prompt.id):
        with pytest.raises(UnsupportedError, match="create_chat"):
            chat.edit(message, "Two")
    for message in (answer, answer.id):
        with pytest.raises(ConfigurationError, match="only a prompt can be edited"):
            chat.edit(message, "Two")
    with pytest.raises(ConfigurationError, match="no message 'm9'"):
        chat.edit("m9", "Two")

    assert {"chat"} == set(script.calls[before:])


def test_select(script: OpenAssistantScript, chat: Chat) -> None:
    """What is said next follows the answer that was selected, and the server learns which branch is in use."""
    first = chat.ask("One")
    chat.regenerate().finish()
    chat.select(first)

    assert ["p1", "m1"] == [item.id for item in chat.thread()]
    assert "m1" == script.chats["c1"].changes["active_thread_tail_message_id"]
    chat.ask("Two")
    assert "m1" == parents(script)["p2"]
    assert "m3" == script.chats["c1"].changes["active_thread_tail_message_id"]


def test_select_the_first_prompt(script: OpenAssistantScript, chat: Chat) -> None:
    """Where the branch in use ends with the first prompt, its text asks again, and the error for another fits."""
    chat.ask("One")
    chat.select("p1")
    with pytest.raises(UnsupportedError, match="ends with the first prompt") as caught:
        chat.ask("Two")

    assert "not answered" not in str(caught.value)
    chat.ask("One")
    assert {"p1": None, "m1": "p1", "m2": "p1"} == parents(script)


def test_parent(script: OpenAssistantScript, chat: Chat) -> None:
    """A turn can follow any answer that is complete."""
    first = chat.ask("One")
    chat.ask("Two")
    chat.ask("Three", parent=first)
    chat.ask("Four")

    assert {"p3": "m1", "p4": "m3"}.items() <= parents(script).items()
    with pytest.raises(ConfigurationError, match="parent must be an answer"):
        chat.ask("Five", parent=chat.thread()[0])


def test_opened_chat(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """A chat that is opened by its id goes on where it was left, also on the branch that was selected."""
    first = chat.ask("One")
    chat.regenerate().finish()
    client.open_chat(chat.id).ask("Two")
    chat.select(first)
    opened = client.open_chat(chat.id)
    opened.ask("Three")

    assert {"p2": "m2", "p3": "m1"}.items() <= parents(script).items()
    assert ["p1", "m1", "p3", "m4"] == [item.id for item in client.open_chat(chat.id).thread()]


def test_turns_of_two_clients(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """What another client has added is where the next turn goes, once `thread` has shown it."""
    chat.ask("One")
    other = client.open_chat(chat.id)
    other.ask("Two")
    assert ["p1", "m1", "p2", "m2"] == [item.id for item in chat.thread()]
    chat.ask("Three")

    assert "m2" == parents(script)["p3"]


def test_thread_costs_the_next_turn_nothing(script: OpenAssistantScript, chat: Chat) -> None:
    """Where nobody else goes on, a look at the thread does not make the next turn look again."""
    chat.ask("One")
    chat.thread()
    before = len(script.calls)
    chat.ask("Two")

    assert ["prompter", "assistant", "events"] == script.calls[before:]


def test_messages_in_order(script: OpenAssistantScript, chat: Chat) -> None:
    """All messages come with the parents first, though the server sends them in no order."""
    chat.ask("One")
    chat.ask("Two")

    assert ["p1", "m1", "p2", "m2"] == [item.id for item in chat.messages()]


# Chats that are not there.


def test_unknown_chat(script: OpenAssistantScript, client: Client) -> None:
    """A chat that does not exist is said not to, whatever the surface answers."""
    with pytest.raises(NotFoundError, match="no chat c9"):
        client.open_chat("c9")


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda chat: chat.ask("Hi"), id="ask"),
        pytest.param(lambda chat: chat.regenerate(), id="regenerate"),
        pytest.param(lambda chat: chat.messages(), id="messages"),
        pytest.param(lambda chat: chat.info(), id="info"),
        pytest.param(lambda chat: chat.rename("x"), id="rename"),
        pytest.param(lambda chat: chat.hide(), id="hide"),
        pytest.param(lambda chat: chat.delete(), id="delete"),
        pytest.param(lambda chat: chat.export(), id="export"),
    ],
)
def test_chat_that_another_client_deleted(script: OpenAssistantScript, chat: Chat, use: Any) -> None:
    """Each method says that the chat is not there, though the surfaces have five different answers for that."""
    chat.ask("Hi")
    script.chats["c1"].deleted = True

    with pytest.raises(NotFoundError, match="no chat c1") as caught:
        use(chat)
    assert "c1" == caught.value.chat_id


def test_website_in_trouble() -> None:
    """The website's 404 for a server that is down behind it is not taken for a chat that does not exist."""
    with OpenAssistantScript("website") as script, Client(script.url, **script.credentials, max_retries=0) as client:
        script.on_chat = reply(response(404, headers={"connection": "close"}))
        script.on_chats = reply(response(500, b"Internal Server Error", headers={"connection": "close"}))
        with pytest.raises(APIError) as caught:
            client.open_chat("c1")

    assert 500 == caught.value.status


@pytest.mark.parametrize("chat_id", ["", ".", "..", "a\nb", "x" * 201, None, 5])
def test_bad_ids(script: OpenAssistantScript, client: Client, chat_id: Any) -> None:
    """What cannot be an id is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="chat_id must be the id"):
        client.open_chat(chat_id)

    assert [] == script.calls


# Deleting, and the rest of a chat's life.


def test_delete(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """A chat whose answers are final is deleted at once, and is of no use any more."""
    chat.ask("Hi")

    assert chat.delete()
    assert ["c1"] == script.deleted_chats
    with pytest.raises(ConfigurationError, match="was deleted"):
        chat.ask("Hi")


def test_delete_while_an_answer_is_written(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """A chat whose answer is being written is hidden, and deleted when the answer is final."""
    script.events = lambda stream: stream.connection.wait_until_left()
    stream = chat.stream("Hi")

    assert not chat.delete()
    assert [] == script.visible_chats == script.deleted_chats
    script.change_message("m1", state="complete", content="Hello")
    stream.close()
    assert () == client.close()
    assert ["c1"] == script.deleted_chats


def test_delete_while_an_answer_may_be_queued(script: OpenAssistantScript, client: Client, chat: Chat) -> None:
    """A chat with a cancelled answer is hidden and reported: the answer may still be in the server's queue."""
    chat.ask("Hi")
    script.change_message("m1", state="cancelled")

    assert not chat.delete()
    assert ("c1",) == client.close()
    assert [] == script.visible_chats == script.deleted_chats


@pytest.mark.parametrize("state", ["pending", "in_progress", "cancelled", "timeout"])
def test_delete_with_an_answer_that_is_dead(script: OpenAssistantScript, chat: Chat, state: str) -> None:
    """An answer that has not been final for a day never will be, and keeps no chat from being deleted."""
    chat.ask("Hi")
    script.change_message("m1", state=state, created_at="2020-01-01T00:00:00")

    assert chat.delete()


def test_fields_of_a_chat(script: OpenAssistantScript, chat: Chat) -> None:
    """Title, hiding and data use are changed one by one, and read back."""
    chat.rename("New title")
    chat.hide()
    chat.allow_data_use(False)
    info = chat.info()
    chat.show()
    chat.allow_data_use()

    assert ("New title", True, False) == (info.title, info.hidden, info.allow_data_use)
    assert (False, True) == (chat.info().hidden, chat.info().allow_data_use)
    own = {"chat_id": "c1"} if script.surface == "website" else {}
    assert [{**own, "title": "New title"}, {**own, "hidden": True}] == posted(script, "update")[:2]


@pytest.mark.parametrize("title", [None, 5, "x" * 101, "a\0b"])
def test_bad_title(script: OpenAssistantScript, chat: Chat, title: Any) -> None:
    """A title that the server would refuse, or fail over, is not sent."""
    with pytest.raises(ConfigurationError, match="title"):
        chat.rename(title)

    assert ["create"] == script.calls


@pytest.mark.parametrize("allowed", ["no", 0, None])
def test_bad_word_on_data_use(script: OpenAssistantScript, chat: Chat, allowed: Any) -> None:
    """What is neither True nor False is not taken for a consent."""
    with pytest.raises(ConfigurationError, match="allowed must be True or False"):
        chat.allow_data_use(allowed)

    assert ["create"] == script.calls


@pytest.mark.parametrize("copy_it", [pickle.dumps, copy.deepcopy])
def test_chat_that_is_to_be_copied(chat: Chat, copy_it: Callable[[object], object]) -> None:
    """A chat cannot leave its client, and the error says how to have another one."""
    with pytest.raises(TypeError, match=r"client\.open_chat\(chat\.id\)"):
        copy_it(chat)


def test_creation_that_fails_leaves_nothing(script: OpenAssistantScript, client: Client) -> None:
    """If a chat cannot be made the error says so."""
    script.on_create = reply(response(500, b"Internal Server Error", headers={"connection": "close"}))

    with pytest.raises(APIError):
        client.create_chat()
    assert () == client.close()


def test_abandoned_chat_is_kept(script: OpenAssistantScript, client: Client) -> None:
    """A chat that nobody holds any more stays on the server: it is its user's, not the client's."""
    client.create_chat()
    del client

    assert ["c1"] == script.visible_chats
