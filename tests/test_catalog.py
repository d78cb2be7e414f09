"""Models, plugins and sampling, by name and by value, and what is said of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any

import pytest

from oa_client import (
    AsyncClient,
    Chat,
    Client,
    ConfigurationError,
    Message,
    Plugin,
    PluginConfig,
    ProtocolError,
    Sampling,
    Timeout,
    Transcript,
    TransportTimeout,
    UnsupportedError,
)
from oa_client._calls.cleanup import blocking_state
from oa_client._calls.exchange import Exchange
from oa_client._net.interrupt import Interrupted
from oa_client._values.options import AnswerOptions, merge_options
from tests.scripted import Connection, OpenAssistantScript, Request, Surface
from tests.test_replay_calls import endpoint_of


def plugin_json(url: str, for_model: str, for_human: str, *, trusted: bool = False) -> dict[str, Any]:
    """Return a plugin as the servers list it: every key is there."""
    names = {"name_for_model": for_model, "name_for_human": for_human}
    texts = ("description_for_model", "description_for_human", "schema_version", "logo_url", "contact_email")
    rest = dict.fromkeys((*texts, "legal_info_url", "api", "auth", "endpoints"))
    return {"url": url, "enabled": True, "plugin_config": {**names, **rest}, "trusted": trusted}


RETRIEVER = plugin_json("http://plugins/retriever.json", "retriever", "Web Retriever", trusted=True)
CALCULATOR = plugin_json("http://plugins/calculator.json", "calculator", "Calculator")
BARE = {"url": "http://plugins/bare.json", "enabled": True, "plugin_config": None, "trusted": False}
PRESETS = [
    {"name": "k50", "description": "", "sampling_parameters": {"top_k": 50, "top_p": 0.95, "temperature": 0.75}},
    {"name": "nucleus9", "description": "", "sampling_parameters": {"top_p": 0.9, "temperature": 0.8}},
]


class Catalog(OpenAssistantScript):
    """
    A server that has models and plugins too, and takes what is said of answers.

    Attributes:
        models: the names of its models; all have the same presets.
        plugins: as JSON.
        said: what was asked for of these, in order.
    """

    def __init__(self, surface: Surface) -> None:
        super().__init__(surface)
        self.models = ["m"]
        self.plugins: list[dict[str, Any]] = [BARE, RETRIEVER, CALCULATOR]
        self.said: list[str] = []

    def _answer(self, connection: Connection, request: Request) -> None:
        endpoint = endpoint_of(self.surface, request.method, request.target)
        if endpoint not in ("models", "plugins", "plugin", "vote", "evaluate", "report"):
            super()._answer(connection, request)
            return
        self.said.append(endpoint)
        if endpoint == "models":
            self.send_json(
                connection,
                [{"name": name, "description": "", "parameter_configs": PRESETS} for name in self.models],
            )
        elif endpoint == "plugins":
            self.send_json(connection, self.plugins)
        elif endpoint == "plugin":
            self.send_json(connection, RETRIEVER)
        else:
            self.send_text(connection, '""' if self.surface == "website" else "")


@pytest.fixture
def script(surface: Surface) -> Iterator[Catalog]:
    """A server of each surface with models and plugins."""
    with Catalog(surface) as server:
        yield server


@pytest.fixture
def client(script: Catalog) -> Iterator[Client]:
    """A client whose model the server has; after it no connection is left."""
    with Client(script.url, **script.credentials, max_retries=0, model="m") as made:
        yield made
    script.wait_until(lambda: script.open_connections == 0)


@pytest.fixture
def chat(client: Client) -> Chat:
    """A chat with an answer."""
    made = client.create_chat()
    made.ask("Hi")
    return made


def asked(script: Catalog, name: str) -> list[Any]:
    """Return a field of each request for an answer."""
    bodies = [item for item in script.requests if item.path.endswith("assistant_message")]
    return [item.json()[name] for item in bodies]


# Plugins.


def test_plugins_are_listed(client: Client) -> None:
    """list_plugins() returns typed values, in the server's order, and the list is the caller's own."""
    plugins = client.list_plugins()
    expected = [
        Plugin("http://plugins/bare.json"),
        Plugin("http://plugins/retriever.json", trusted=True, config=PluginConfig("retriever", "Web Retriever")),
        Plugin("http://plugins/calculator.json", config=PluginConfig("calculator", "Calculator")),
    ]
    assert expected == plugins
    plugins.clear()
    assert expected == client.list_plugins()


def test_plugin_is_looked_up(script: Catalog, client: Client) -> None:
    """get_plugin() has the server look, and returns what it found."""
    plugin = client.get_plugin("http://plugins/retriever.json")

    assert RETRIEVER == plugin.to_json()
    (request,) = script.requests
    wrapped = {"url": RETRIEVER["url"]}
    assert ({"plugin": wrapped} if script.surface == "website" else wrapped) == request.json()


@pytest.mark.parametrize("url", [None, "", 5, "a\0b"])
def test_bad_url_of_a_plugin(script: Catalog, client: Client, url: Any) -> None:
    """What is no URL is refused before it is sent."""
    with pytest.raises(ConfigurationError, match="url"):
        client.get_plugin(url)

    assert [] == script.said


@pytest.mark.parametrize(
    ("given", "sent", "looks"),
    [
        pytest.param("Web Retriever", RETRIEVER, 1, id="name for people"),
        pytest.param("retriever", RETRIEVER, 1, id="name for models"),
        pytest.param("http://x/y.json", {"url": "http://x/y.json"}, 0, id="URL"),
        pytest.param({"url": "u", "enabled": False}, {"url": "u", "enabled": False}, 0, id="mapping"),
        pytest.param(Plugin.from_json(CALCULATOR), CALCULATOR, 0, id="value"),
    ],
)
def test_plugins_of_an_answer(script: Catalog, client: Client, given: Any, sent: Any, looks: int) -> None:
    """A plugin can be given in five ways; a name costs one call, once."""
    client.ask("Hi", plugins=[given])
    client.create_chat(plugins=[given]).ask("Hi")

    assert [[sent]] * 2 == asked(script, "plugins")
    assert ["plugins"] * looks == script.said


def test_unknown_plugin(script: Catalog, client: Client) -> None:
    """A name that the server does not have is refused with the nearest one, before a chat is made."""
    with pytest.raises(ConfigurationError, match="plugin 'Calculatr' is not on the server; did you mean 'Calculator'"):
        client.ask("Hi", plugins=["retriever", "Calculatr"])

    assert [] == script.calls
    # Once for the list that it had, and once since that may be old.
    assert ["plugins", "plugins"] == script.said


def test_plugin_that_is_new(script: Catalog, client: Client) -> None:
    """A name that is not in the list at hand is looked for in a new one."""
    client.list_plugins()
    news = plugin_json("http://plugins/news.json", "news", "News")
    script.plugins = [news]
    client.ask("Hi", plugins=["News"])

    assert [[news]] == asked(script, "plugins")
    assert ["plugins", "plugins"] == script.said


def test_unknown_plugin_in_a_turn(script: Catalog, chat: Chat) -> None:
    """A turn whose plugin is unknown says nothing, and the next goes on."""
    with pytest.raises(ConfigurationError, match="plugin 'x'"):
        chat.ask("Two", plugins=["x"])
    chat.ask("Three")

    assert ["Hi", "Three"] == [body["content"] for body in posted_prompts(script)]


def posted_prompts(script: Catalog) -> list[Any]:
    """Return the bodies of the prompts."""
    return [item.json() for item in script.requests if item.path.endswith("prompter_message")]


def test_plugins_of_a_chat_can_be_left_out(script: Catalog, client: Client) -> None:
    """An empty list stands for no plugins, where the chat has some."""
    chat = client.create_chat(plugins=[BARE])
    chat.ask("One", plugins=[])
    chat.ask("Two")

    assert [[], [BARE]] == asked(script, "plugins")


def test_list_of_plugins_that_is_none(client: Client, script: Catalog) -> None:
    """What is no list of plugins is a ProtocolError."""
    script.plugins = {"url": "x"}  # type: ignore[assignment]  # that is the test
    with pytest.raises(ProtocolError, match="list of plugins"):
        client.list_plugins()


# Sampling and models.


@pytest.mark.parametrize(
    ("given", "sent", "looks"),
    [
        pytest.param(None, {}, 0, id="none"),
        pytest.param("k50", {"top_k": 50, "top_p": 0.95, "temperature": 0.75}, 1, id="preset"),
        pytest.param(Sampling(preset="nucleus9"), {"top_p": 0.9, "temperature": 0.8}, 1, id="preset in a value"),
        pytest.param({"top_k": 5, "temperature": None}, {"top_k": 5}, 0, id="values"),
        pytest.param(Sampling(max_new_tokens=7), {"max_new_tokens": 7}, 0, id="value"),
        pytest.param(
            {"preset": "k50", "temperature": 0.1, "max_new_tokens": 9},
            {"top_k": 50, "top_p": 0.95, "temperature": 0.1, "max_new_tokens": 9},
            1,
            id="preset and values",
        ),
    ],
)
def test_sampling(script: Catalog, client: Client, given: Any, sent: Any, looks: int) -> None:
    """A preset costs one call, once; values beside it take the place of its own; what is None is not sent."""
    client.ask("Hi", sampling=given)
    chat = client.create_chat(sampling=given)
    chat.ask("Hi")
    chat.ask("Hi", sampling={})

    assert [sent, sent, {}] == asked(script, "sampling_parameters")
    assert ["models"] * looks == script.said


def test_unknown_preset(script: Catalog, client: Client) -> None:
    """A preset that the model does not have is refused with the nearest one, before a chat is made."""
    with pytest.raises(ConfigurationError, match="sampling: no preset 'nucleus' for m; did you mean 'nucleus9'"):
        client.ask("Hi", sampling="nucleus")

    assert [] == script.calls


def test_model_of_which_nothing_is_known(script: Catalog, client: Client) -> None:
    """Without a list at hand any model is asked for: it costs no call, and the server knows best."""
    client.ask("Hi", model="unheard of")

    assert ["unheard of"] == asked(script, "model_config_name")
    assert [] == script.said


def test_unknown_model(script: Catalog, client: Client) -> None:
    """With a list at hand, a model that is not in it is refused with the nearest one, after one more look."""
    script.models = ["OA_SFT_Llama_30B_6"]
    client.list_models()
    with pytest.raises(ConfigurationError, match="model 'OA_SFT_Llama_30B' is not on the server; did you mean 'OA_"):
        client.ask("Hi", model="OA_SFT_Llama_30B")

    assert ["models", "models"] == script.said
    assert [] == script.calls


def test_model_that_is_new(script: Catalog, client: Client) -> None:
    """A model that is not in the list at hand is looked for in a new one, once."""
    client.list_models()
    script.models = ["m", "new"]
    client.ask("Hi", model="new")
    client.ask("Hi", model="new")

    assert ["new", "new"] == asked(script, "model_config_name")
    assert ["models", "models"] == script.said


def test_unknown_model_in_a_turn(script: Catalog, client: Client, chat: Chat) -> None:
    """A turn whose model is unknown says nothing, and the next goes on at the same place."""
    client.list_models()
    with pytest.raises(ConfigurationError, match="model 'x'"):
        chat.ask("Two", model="x")
    chat.ask("Three")

    assert [None, "m1"] == [body["parent_id"] for body in posted_prompts(script)]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_catalog_for_async_code(script: Catalog, anyio_backend: str) -> None:
    """The async client lists and looks up the same, and takes the same names."""
    async with AsyncClient(script.url, **script.credentials, max_retries=0, model="m") as client:
        plugins = await client.list_plugins()
        plugin = await client.get_plugin("http://plugins/retriever.json")
        chat = await client.create_chat(plugins=["Calculator"], sampling="nucleus9")
        await chat.ask("Hi")
        with pytest.raises(ConfigurationError, match="plugin 'x'"):
            await chat.ask("Hi", plugins=["x"])

    assert [BARE, RETRIEVER, CALCULATOR] == [item.to_json() for item in plugins]
    assert plugins[1] == plugin
    assert [[CALCULATOR]] == asked(script, "plugins")
    assert [{"top_p": 0.9, "temperature": 0.8}] == asked(script, "sampling_parameters")


# Options.


def test_merged_options() -> None:
    """What is not named, or is None, is the default's; neither of the two is changed."""
    options: AnswerOptions = {"model": None, "sampling": {"top_k": 1}, "plugins": []}
    defaults: AnswerOptions = {"model": "m", "sampling": "k50", "system_prompt": "s", "plugins": ["p"]}
    before = (dict(options), dict(defaults))

    expected = {"model": "m", "sampling": {"top_k": 1}, "plugins": [], "system_prompt": "s"}
    assert expected == merge_options(options, defaults)
    assert before == (options, defaults)


@pytest.mark.parametrize("name", ["modell", "keep", "messages", ""])
def test_option_that_is_none(name: str) -> None:
    """There are no others, and that is said as Python says it."""
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        merge_options({name: 1}, {})  # type: ignore[misc]  # that is the test


# What is said of answers.


def test_vote(script: Catalog, chat: Chat) -> None:
    """A vote goes out for the answer, by value or id, with its score."""
    for message, score in ((chat.thread()[-1], 1), ("m1", -1), ("m1", 0)):
        chat.vote(message, score)

    if script.surface == "website":
        expected = [("/api/chat/vote", {"chat_id": "c1", "message_id": "m1", "score": score}) for score in (1, -1, 0)]
    else:
        expected = [("/chats/c1/messages/m1/votes", {"score": score}) for score in (1, -1, 0)]
    assert expected == [(item.path, item.json()) for item in script.requests if "vote" in item.path]


@pytest.mark.parametrize("score", [2, -2, "1", 0.5, 1.0, True, None])
def test_bad_vote(script: Catalog, chat: Chat, score: Any) -> None:
    """A score that the servers refuse, fail over or change is not sent."""
    with pytest.raises(ConfigurationError, match="score must be 1"):
        chat.vote("m1", score)

    assert [] == script.said


def test_evaluation(script: Catalog, chat: Chat) -> None:
    """An evaluation names the better answer and the others."""
    draft = chat.regenerate().finish()
    chat.evaluate(draft, ["m1", chat.branches(draft)[0]])

    (request,) = [item for item in script.requests if "eval" in item.path]
    if script.surface == "website":
        body = {"chat_id": "c1", "message_id": "m2", "inferior_message_ids": ["m1", "m1"]}
        assert ("/api/chat/message_eval", body) == (request.path, request.json())
    else:
        body = {"inferior_message_ids": ["m1", "m1"]}
        assert ("/chats/c1/messages/m2/message_evals", body) == (request.path, request.json())


@pytest.mark.parametrize(
    ("inferior", "words"),
    [
        pytest.param([], "not empty", id="none"),
        pytest.param("m2", "must be a list", id="string"),
        pytest.param(Message("m2"), "must be a list", id="message"),
        pytest.param(None, "must be a list", id="nothing"),
        pytest.param(["m2", 5], r"inferior\[1\] must be the id", id="number"),
        pytest.param([b"m2"], r"inferior\[0\] must be the id", id="bytes"),
        pytest.param(["m2", "m1"], "the message itself", id="itself"),
        pytest.param([Message("p1", role="prompter")], r"inferior\[0\] must be an answer", id="prompt"),
    ],
)
def test_bad_evaluation(script: Catalog, chat: Chat, inferior: Any, words: str) -> None:
    """What is no list of other answers is refused before it is sent."""
    with pytest.raises(ConfigurationError, match=words):
        chat.evaluate("m1", inferior)

    assert [] == script.said


def test_report(script: Catalog, chat: Chat) -> None:
    """A report goes to the inference server with its kind and words; the website takes none, and that is said."""
    if script.surface == "website":
        with pytest.raises(UnsupportedError, match="vote"):
            chat.report("m1", "rude")
        assert [] == script.said
        return
    chat.report("m1", "rude")
    chat.report(chat.thread()[-1], "ads", "spam")

    assert [
        ("/chats/c1/messages/m1/reports", {"report_type": "feedback", "reason": "rude"}),
        ("/chats/c1/messages/m1/reports", {"report_type": "spam", "reason": "ads"}),
    ] == [(item.path, item.json()) for item in script.requests if "report" in item.path]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("m1", ""), "reason is empty", id="no reason"),
        pytest.param(("m1", None), "reason is empty", id="none"),
        pytest.param(("m1", 5), "reason must be a string", id="number"),
        pytest.param(("m1", "a\0"), "reason has a NUL", id="NUL"),
        pytest.param(("m1", "x", "spamm"), "did you mean 'spam'", id="kind"),
        pytest.param(("m1", "x", None), "report_type .* is unknown to the server", id="no kind"),
        pytest.param(("m1", "x", ["spam"]), "report_type .* is unknown to the server", id="list"),
        pytest.param((Message("p1", role="prompter"), "x"), "must be an answer", id="prompt"),
        pytest.param((None, "x"), "message must be the id", id="no message"),
    ],
)
def test_bad_report(script: Catalog, chat: Chat, arguments: Sequence[Any], words: str) -> None:
    """What is no report is refused on both surfaces before it is sent."""
    with pytest.raises(ConfigurationError, match=words):
        chat.report(*arguments)

    assert [] == script.said


@pytest.mark.parametrize("message_id", ["", ".", "..", "a\nb", "x" * 201, None, 5, b"m1", "\ud800"])
def test_bad_ids_of_messages(script: Catalog, chat: Chat, message_id: Any) -> None:
    """What cannot be an id is refused by every method that takes one, before anything is sent."""
    before = len(script.requests)
    uses: list[Callable[[], object]] = [
        lambda: chat.vote(message_id, 1),
        lambda: chat.evaluate(message_id, ["m1"]),
        lambda: chat.report(message_id, "x"),
        lambda: chat.select(message_id),
        lambda: chat.branches(message_id),
        lambda: chat.edit(message_id, "x"),
    ]
    if message_id is not None:
        # Which is the last prompt, and the end of the branch in use.
        uses += [lambda: chat.regenerate(message_id), lambda: chat.ask("x", parent=message_id)]
    for use in uses:
        with pytest.raises(ConfigurationError, match="must be the id of a message, not "):
            use()

    assert before == len(script.requests)


# Export.


def test_export_of_both_kinds(script: Catalog, chat: Chat) -> None:
    """JSON has every message, Markdown those of the branch in use, and that ends in both where it was selected to."""
    chat.ask("Two")
    chat.regenerate("m1").finish()
    chat.select("m1")
    whole, shown = (Transcript.parse(chat.export(kind)) for kind in ("json", "markdown"))

    assert ["m1", "m2", "m3", "p1", "p2"] == sorted(message.id for message in whole.messages)
    assert "m1" == whole.chat.active_thread_tail_message_id
    assert ["p1", "m1"] == [message.id for message in shown.messages]
    for thread in (chat.thread(), whole.thread(), shown.thread()):
        assert ["p1", "m1"] == [message.id for message in thread]


def test_export_of_an_empty_chat(client: Client) -> None:
    """A chat without messages can be exported, and read again."""
    chat = client.create_chat()

    for kind in ("json", "markdown"):
        assert ((), chat.id) == ((read := Transcript.parse(chat.export(kind))).messages, read.chat.id)


@pytest.mark.parametrize("kind", ["Json", "md", None, 5, []])
def test_export_of_another_kind(script: Catalog, chat: Chat, kind: Any) -> None:
    """There are two kinds of export, and no call is made for another."""
    before = len(script.requests)
    with pytest.raises(ConfigurationError, match="format is unknown"):
        chat.export(kind)

    assert before == len(script.requests)


# Waiting, and what keeps a chat from being deleted.


def make_exchange(client: Client, timeout: Timeout) -> Exchange:
    """Make an exchange with limits of its own."""
    client._engine._timeout = timeout
    return client._engine.exchange(keep=True)


def test_time_to_look(client: Client) -> None:
    """It is time to look at once, and again for as long as somebody does."""
    exchange = make_exchange(client, Timeout())
    answers = [False, False, True]
    for _ in exchange.looks():
        if answers.pop(0):
            break

    assert [] == answers


@pytest.mark.parametrize(
    ("limits", "phase"), [(Timeout(first_token=0.15), "first_token"), (Timeout(total=0.15), "total")]
)
def test_waiting_is_bounded(client: Client, limits: Timeout, phase: str) -> None:
    """Both limits of the clock end the wait between looks, and the error says which."""
    exchange = make_exchange(client, limits)
    exchange.clock.ask()
    started = monotonic()
    with pytest.raises(TransportTimeout) as caught:
        list(exchange.looks())

    assert phase == caught.value.phase
    assert monotonic() - started >= 0.15


def test_waiting_ends_when_it_is_stopped(client: Client) -> None:
    """Stopping the exchange ends a wait that has no limit."""
    exchange = make_exchange(client, Timeout(first_token=None, total=None))
    looks = exchange.looks()
    next(looks)
    exchange.stop()

    with pytest.raises(Interrupted):
        next(looks)


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("messages", "state"),
    [
        pytest.param([], None, id="none"),
        pytest.param([Message("p", role="prompter", state="manual")], None, id="prompt"),
        pytest.param([Message("m", state="complete"), Message("n", state="aborted_by_worker")], None, id="final"),
        pytest.param([Message("m", state="pending", created_at=NOW)], "pending", id="pending"),
        pytest.param([Message("m", state="in_progress", created_at=NOW)], "in_progress", id="in progress"),
        pytest.param([Message("m", state="cancelled", created_at=NOW)], "cancelled", id="cancelled"),
        pytest.param([Message("m", state="timeout", created_at=NOW)], None, id="timeout"),
        pytest.param([Message("m", state="new", created_at=NOW)], "new", id="unknown"),
        pytest.param([Message("m", state="pending")], "pending", id="without a time"),
        pytest.param([Message("m", state="pending", created_at=NOW - timedelta(days=2))], None, id="old"),
        pytest.param(
            [Message("m", state="pending", created_at=NOW + timedelta(days=2))], "pending", id="of the future"
        ),
    ],
)
def test_blocking_state(messages: Sequence[Message], state: str | None) -> None:
    """A chat must not be deleted for the sake of an answer that is, or may be, in the server's queue, for a day."""
    assert state == blocking_state(messages)
