"""Values of the API, from the server's JSON and from the user's arguments."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError, fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oa_client import (
    ChatInfo,
    ChatPage,
    ConfigurationError,
    Message,
    ModelInfo,
    Plugin,
    PluginConfig,
    Preset,
    ProtocolError,
    Sampling,
    Timeout,
    User,
)
from oa_client._values.argument import did_you_mean
from tests.recorded import recorded_objects

FULL: dict[str, Any] = {
    "id": "m1",
    "parent_id": "m0",
    "content": "Hello",
    "chat_id": "c1",
    "created_at": "2026-11-22T15:27:56.203290",
    "role": "assistant",
    "state": "complete",
    "score": -1,
    "reports": [{"id": "r1", "report_type": "spam", "reason": "why"}],
    "work_parameters": {"seed": 2**64 - 2, "sampling_parameters": {"top_k": 50}},
    "safe_content": "Hello",
    "safety_level": 1,
    "safety_label": "label",
    "safety_rots": "rots",
    "used_plugin": {"name": "plugin"},
}
# Far more digits than Python turns into a string, and more than a float can hold.
HUGE = 10**5000
NO_OBJECTS: list[Any] = [None, [], "text", 1, True]
NO_INTEGERS: list[Any] = [0, -1, 1.0, "5", True, False, math.nan, [1]]
NO_FLOATS: list[Any] = [-0.001, "1", True, False, math.nan, math.inf, -math.inf, Decimal("0.5"), 1j, []]
NO_LIMITS: list[Any] = [0, -1, 0.0, math.nan, math.inf, "5", True, False, [], 1j]


#: JSON as it comes from a server.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TIMES = st.none() | st.datetimes().map(datetime.isoformat) | st.text()
MESSAGES = st.fixed_dictionaries(
    {"id": st.text()},
    optional={
        **dict.fromkeys(["role", "state"], st.text()),
        **dict.fromkeys(["content", "parent_id", "safe_content"], st.none() | st.text()),
        "created_at": TIMES,
        "score": st.integers(),
        "reports": st.lists(JSON, max_size=2),
        "work_parameters": st.none() | st.dictionaries(st.text(), JSON, max_size=2),
        **dict.fromkeys(["novelty", "extra"], JSON),
    },
)


def test_every_field_of_a_message() -> None:
    """A message has every field of the protocol as it came, and its time as an aware UTC time."""
    message = Message.from_json(FULL)

    time = datetime(2026, 11, 22, 15, 27, 56, 203290, timezone.utc)
    assert Message(**{**FULL, "created_at": time}) == message
    assert {"extra", *FULL} == {item.name for item in fields(Message)}
    assert timedelta(0) == (message.created_at or time).utcoffset()
    assert {} == message.extra


def test_every_recorded_message() -> None:
    """Each message that the real servers sent is read without loss, and has an aware time and no unknown field."""
    count = 0
    for data in recorded_objects("id", "role", "state"):
        message = Message.from_json(data)
        count += 1
        unread = {name for name, value in data.items() if name != "created_at" and getattr(message, name) != value}

        assert set() == unread
        assert message.created_at is not None
        assert data["created_at"].rstrip("0") == message.created_at.isoformat().removesuffix("+00:00").rstrip("0")
        assert {} == message.extra
    assert count > 100


def test_recorded_messages_as_json() -> None:
    """Each message that the real servers sent is written as it came, but for the time, which has its offset."""
    for data in recorded_objects("id", "role", "state"):
        message = Message.from_json(data)
        time = None if message.created_at is None else message.created_at.isoformat()

        assert {**data, "created_at": time} == message.to_json()


@settings(deadline=None)
@given(MESSAGES)
def test_message_to_json_and_back(data: dict[str, Any]) -> None:
    """What a message is written as is JSON, and reads back to an equal one, whatever the server sent."""
    message = Message.from_json(data)

    assert message == Message.from_json(json.loads(json.dumps(message.to_json())))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message("m1"), id="an id alone"),
        pytest.param(Message("m1", created_at=datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2)))), id="zone"),
        pytest.param(Message("m1", work_parameters={"seed": 2**64 - 2}), id="seed"),
        pytest.param(Message("m1", extra={"created_at": "yesterday"}), id="unreadable time"),
    ],
)
def test_made_message_to_json_and_back(message: Message) -> None:
    """A message that a user made reads back to an equal one, to the last digit."""
    assert message == Message.from_json(json.loads(json.dumps(message.to_json())))


def test_message_with_a_naive_time() -> None:
    """A naive time is written as UTC, which it is on the wire."""
    assert "2026-01-02T00:00:00+00:00" == Message("m1", created_at=datetime(2026, 1, 2)).to_json()["created_at"]


def test_unknown_fields_are_kept() -> None:
    """What this version does not know is in `extra`, whatever it is called."""
    message = Message.from_json({"id": "m1", "novelty": [1], "extra": "a name of ours", "from_json": 1})

    assert {"novelty": [1], "extra": "a name of ours", "from_json": 1} == message.extra


def test_message_with_an_id_alone() -> None:
    """All fields but the id may be missing."""
    assert Message("m1") == Message.from_json({"id": "m1"})


def test_source_is_not_changed() -> None:
    """Reading a message leaves the JSON object as it was."""
    data = {**FULL, "novelty": 1}
    Message.from_json(data)

    assert {**FULL, "novelty": 1} == data


@pytest.mark.parametrize(
    "data",
    [pytest.param(value, id=type(value).__name__) for value in NO_OBJECTS],
)
@pytest.mark.parametrize("cls", [ChatInfo, ChatPage, Message, ModelInfo, Plugin, PluginConfig, Preset])
def test_what_is_not_an_object(cls: Any, data: Any) -> None:
    """What is no JSON object is refused, and the error says what came."""
    with pytest.raises(ProtocolError, match=type(data).__name__):
        cls.from_json(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("id", None, id="id null"),
        pytest.param("id", 5, id="id number"),
        pytest.param("role", None, id="role null"),
        pytest.param("role", 1, id="role number"),
        pytest.param("state", None, id="state null"),
        pytest.param("state", [], id="state list"),
        pytest.param("content", 1, id="content number"),
        pytest.param("content", ["a"], id="content list"),
        pytest.param("chat_id", 1, id="chat_id number"),
        pytest.param("parent_id", {}, id="parent_id object"),
        pytest.param("score", [], id="score list"),
        pytest.param("score", "1", id="score string"),
        pytest.param("reports", 1, id="reports number"),
        pytest.param("work_parameters", [], id="work_parameters list"),
        pytest.param("used_plugin", "x", id="used_plugin string"),
        pytest.param("safe_content", {}, id="safe_content object"),
        pytest.param("safety_level", [], id="safety_level list"),
        pytest.param("safety_label", {}, id="safety_label object"),
        pytest.param("safety_rots", [], id="safety_rots list"),
    ],
)
def test_wrongly_typed_field(name: str, value: Any) -> None:
    """A field of a wrong type is refused, and the error names it."""
    with pytest.raises(ProtocolError, match=rf"message: .*\b{name}\b"):
        Message.from_json({**FULL, name: value})


def test_missing_id() -> None:
    """A message without an id is refused, and the error names the field."""
    with pytest.raises(ProtocolError, match="no id"):
        Message.from_json({name: value for name, value in FULL.items() if name != "id"})


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("2026-11-22T15:27:56.203290", datetime(2026, 11, 22, 15, 27, 56, 203290), id="fraction"),
        pytest.param("2026-11-22T15:27:56", datetime(2026, 11, 22, 15, 27, 56), id="no fraction"),
        pytest.param("2026-11-22T15:27:56.203", datetime(2026, 11, 22, 15, 27, 56, 203000), id="milliseconds"),
        pytest.param("2026-11-22T15:27:56.203Z", datetime(2026, 11, 22, 15, 27, 56, 203000), id="Z"),
        pytest.param("2026-11-22T15:27:56+02:00", datetime(2026, 11, 22, 13, 27, 56), id="zone"),
    ],
)
def test_times_are_utc(text: str, time: datetime) -> None:
    """A time is an aware UTC time, however the server writes it."""
    message = Message.from_json({**FULL, "created_at": text})

    assert time.replace(tzinfo=timezone.utc) == message.created_at
    assert timezone.utc == (message.created_at or time).tzinfo
    assert {} == message.extra


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("yesterday", id="word"),
        pytest.param("", id="empty"),
        pytest.param(0, id="zero"),
        pytest.param(1700000000, id="number"),
        pytest.param(False, id="boolean"),
        pytest.param([], id="list"),
        pytest.param("2026-13-45T15:27:56", id="impossible"),
        pytest.param(
            "0001-01-01T00:00:00+01:00",
            id="before the first year",
        ),
        pytest.param(
            "9999-12-31T23:59:59-01:00",
            id="after the last year",
        ),
    ],
)
def test_unreadable_time(value: Any) -> None:
    """An answer is not lost over its time: what cannot be read is None, and kept as it came."""
    message = Message.from_json({**FULL, "created_at": value})

    assert message.created_at is None
    assert {"created_at": value} == message.extra


def test_missing_time() -> None:
    """A time that is null is None, and leaves nothing in `extra`."""
    message = Message.from_json({**FULL, "created_at": None})

    assert (None, {}) == (message.created_at, message.extra)


@pytest.mark.parametrize(
    ("content", "text"),
    [pytest.param("Hello", "Hello", id="text"), pytest.param(None, "", id="none"), pytest.param("", "", id="empty")],
)
def test_str_is_the_content(content: str | None, text: str) -> None:
    """A message written as a string is its content."""
    assert text == str(Message("m1", content))


def test_format_is_that_of_the_content() -> None:
    """In an f-string a message takes what a string takes."""
    assert "|Hello     |     Hello|" == f"|{Message('m1', 'Hello'):10}|{Message('m1', 'Hello'):>10}|"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(r'"a\ud83d"', "a\ufffd", id="first half"),
        pytest.param(r'"\ude42b"', "\ufffdb", id="second half"),
    ],
)
def test_half_a_surrogate_pair(content: str, expected: str) -> None:
    """Half of a surrogate pair in the content is shown as the replacement character, so that it can be encoded."""
    message = Message.from_json({"id": "m1", "content": json.loads(content)})

    assert expected.encode() == str(message).encode()


def test_whole_surrogate_pair() -> None:
    """An escaped character beyond the basic plane comes out whole."""
    message = Message.from_json(json.loads(r'{"id": "m1", "content": "\ud83d\ude42"}'))

    assert "\N{SLIGHTLY SMILING FACE}".encode() == str(message).encode()


def test_messages_are_values() -> None:
    """Equal JSON makes equal messages with equal hashes, although some fields cannot be hashed."""
    first, second = Message.from_json({**FULL, "new": []}), Message.from_json({**FULL, "new": []})

    assert first == second
    assert hash(first) == hash(second)
    assert first != Message.from_json({**FULL, "new": [], "content": "other"})


VALUES = [
    pytest.param(Message.from_json({**FULL, "new": 1}), id="message"),
    pytest.param(Message("m1", "\ud83d"), id="message with half a pair"),
    pytest.param(Sampling(top_k=5, temperature=0.1), id="sampling"),
    pytest.param(Preset("k50", Sampling(top_k=50)), id="preset"),
    pytest.param(ModelInfo("model", presets=(Preset("k50", Sampling()),), extra={"new": 1}), id="model"),
    pytest.param(Timeout(total=5), id="timeout"),
    pytest.param(ChatInfo("c1", title="a", extra={"new": []}), id="chat"),
    pytest.param(ChatPage((ChatInfo("c1"),), next="b", extra={"new": []}), id="page of chats"),
    pytest.param(Plugin("http://h", config=PluginConfig("m", "h", api={}), extra={"new": []}), id="plugin"),
    pytest.param(User("u1", expires_at=datetime(2026, 1, 2, tzinfo=timezone.utc), extra={"new": []}), id="user"),
]


@pytest.mark.parametrize("value", VALUES)
def test_values_can_be_pickled(value: Any) -> None:
    """A value survives pickling."""
    assert value == pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("value", VALUES)
def test_values_are_frozen(value: Any) -> None:
    """A value's fields cannot be set, and it takes no others."""
    name = fields(value)[0].name

    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("value", VALUES)
def test_values_can_be_hashed(value: Any) -> None:
    """A value can be put in a set, whatever JSON is in it."""
    assert value in {value}


@pytest.mark.parametrize("value", VALUES)
def test_repr_of_values(value: Any) -> None:
    """A value shows its class and its fields, and can be written to any terminal."""
    text = repr(value)

    assert text.startswith(type(value).__name__)
    assert all(f"{item.name}=" in text for item in fields(value) if item.repr)
    assert text.encode()


def test_sampling_leaves_none_out() -> None:
    """Values that are not set are not sent, and a zero is set."""
    assert {"top_k": 50, "temperature": 0} == Sampling(top_k=50, temperature=0).to_json()
    assert {} == Sampling.from_mapping({"top_k": None, "max_new_tokens": None}).to_json()


@settings(deadline=None)
@given(st.data())
def test_sampling_over_another(data: st.DataObject) -> None:
    """What is set stays, the rest is the other's, and nothing is left of the presets."""
    names = ("top_k", "top_p", "temperature")
    some = st.dictionaries(st.sampled_from(names), st.just(1) | st.none())
    mine, base = data.draw(some), data.draw(some)
    both = Sampling.from_mapping({**mine, "preset": "k50"}).over(Sampling.from_mapping({**base, "preset": "k50"}))

    expected = {name: base.get(name) if mine.get(name) is None else mine[name] for name in names}
    assert Sampling.from_mapping(expected) == both
    assert both.preset is None


def test_sampling_with_a_preset() -> None:
    """A preset is named beside the values, and not sent."""
    sampling = Sampling.from_mapping({"preset": "k50", "top_k": 5})

    assert Sampling(top_k=5, preset="k50") == sampling
    assert {"top_k": 5} == sampling.to_json()


def test_sampling_of_all_values() -> None:
    """All six values of the protocol are taken and sent as they are."""
    values = {
        "top_k": 1,
        "top_p": 1.0,
        "typical_p": 0.2,
        "temperature": 35,
        "repetition_penalty": 1.1111111111111112,
        "max_new_tokens": 1,
    }

    assert values == Sampling.from_mapping(values).to_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            pytest.param(name, value, id=f"{name} {value!r}")
            for name in ("top_k", "max_new_tokens")
            for value in NO_INTEGERS
        ),
        *(
            pytest.param(name, value, id=f"{name} {value!r}")
            for name in ("top_p", "typical_p", "temperature", "repetition_penalty")
            for value in NO_FLOATS
        ),
        pytest.param("top_p", 1.001, id="top_p above 1"),
        pytest.param("typical_p", 2, id="typical_p above 1"),
        pytest.param("repetition_penalty", 0, id="repetition_penalty 0"),
        pytest.param("repetition_penalty", -0.0, id="repetition_penalty -0.0"),
        pytest.param("temperature", 10**400, id="temperature huge"),
        *(pytest.param("preset", value, id=f"preset {value!r}") for value in ("", 5, True, ["k50"])),
        pytest.param("top_k", -HUGE, id="top_k huge and negative"),
    ],
)
def test_impossible_sampling(name: str, value: Any) -> None:
    """An impossible value is refused, and the error names it."""
    with pytest.raises(ConfigurationError, match=rf"sampling: {name} "):
        Sampling.from_mapping({name: value})


def test_sampling_that_json_cannot_write() -> None:
    """A whole number that is too long for JSON is refused when it is given, not when it is sent."""
    with pytest.raises(ConfigurationError):
        json.dumps(Sampling(max_new_tokens=HUGE).to_json())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        pytest.param("temprature", "unknown key 'temprature'; did you mean 'temperature'?", id="misspelt"),
        pytest.param("seed", "unknown key 'seed'; known are top_k, top_p", id="foreign"),
        pytest.param("max_tokens", "did you mean 'max_new_tokens'", id="another API's"),
        pytest.param(5, "unknown key 5", id="number"),
    ],
)
def test_unknown_sampling_key(key: Any, words: str) -> None:
    """A key that the server would drop without a word is refused with a suggestion."""
    with pytest.raises(ConfigurationError) as caught:
        Sampling.from_mapping({key: None})

    assert words in str(caught.value)


def test_did_you_mean_without_names() -> None:
    """Where there are no names that is what is said."""
    assert "; there are none" == did_you_mean("x", [])


MODEL: dict[str, Any] = {
    "name": "OA_SFT_Llama_30B_6",
    "description": "",
    "parameter_configs": [
        {
            "name": "k50",
            "description": "Top-k sampling",
            "sampling_parameters": {
                "top_k": 50,
                "top_p": 0.95,
                "typical_p": None,
                "temperature": 0.75,
                "repetition_penalty": 1.2,
                "max_new_tokens": 1024,
            },
        },
        {"name": "new", "sampling_parameters": {"novelty": 1, "preset": 2}, "novelty": 3},
    ],
}


def test_model_with_presets() -> None:
    """A model has its presets in the server's order, with their values and what this version does not know."""
    model = ModelInfo.from_json(MODEL)

    values = Sampling(top_k=50, top_p=0.95, temperature=0.75, repetition_penalty=1.2, max_new_tokens=1024)
    unknown = {"novelty": 3, "sampling_parameters": {"novelty": 1, "preset": 2}}
    presets = (Preset("k50", values, "Top-k sampling"), Preset("new", Sampling(), extra=unknown))
    assert ModelInfo("OA_SFT_Llama_30B_6", "", presets) == model


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("top_k", 0, id="too small"),
        pytest.param("top_k", 50.0, id="no whole number"),
        pytest.param("top_p", "x", id="text"),
        pytest.param("temperature", 10**400, id="huge"),
    ],
)
def test_preset_with_an_impossible_value(name: str, value: Any) -> None:
    """A value that would be refused is kept apart from the others of its preset, which are good."""
    preset = Preset.from_json({"name": "p", "sampling_parameters": {name: value, "max_new_tokens": 9, "novelty": 1}})

    assert Sampling(max_new_tokens=9) == preset.sampling
    assert {"sampling_parameters": {name: value, "novelty": 1}} == preset.extra


def test_every_recorded_model() -> None:
    """Each model that the real servers listed has eight presets of all values, and no unknown field."""
    models = [ModelInfo.from_json(data) for data in recorded_objects("parameter_configs", name="models_plugins")]

    assert len(models) > 50
    for model in models:
        assert {} == model.extra
        assert {8: 1024} == {len(model.presets): preset.sampling.max_new_tokens for preset in model.presets}
        assert [] == [preset for preset in model.presets if preset.extra or not preset.description]


def test_models_are_values() -> None:
    """Equal models have equal hashes, and unknown fields are kept."""
    first, second = ModelInfo.from_json({**MODEL, "new": []}), ModelInfo.from_json({**MODEL, "new": []})

    assert hash(first) == hash(second)
    assert {"new": []} == first.extra


def test_model_with_a_field_of_our_name() -> None:
    """A server's field that has the name of one of ours does no harm."""
    assert "m" == ModelInfo.from_json({"name": "m", "presets": []}).name


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({}, "name", id="no name"),
        pytest.param({"name": None}, "name", id="name null"),
        pytest.param({"name": "m", "description": 1}, "description", id="description number"),
        pytest.param({"name": "m", "parameter_configs": {}}, "parameter_configs", id="configs object"),
        pytest.param({"name": "m", "parameter_configs": None}, "parameter_configs", id="configs null"),
        pytest.param({"name": "m", "parameter_configs": [1]}, "preset", id="preset number"),
        pytest.param({"name": "m", "parameter_configs": [{}]}, "preset: .*name", id="preset without name"),
        pytest.param({"name": "m", "parameter_configs": [{"name": "p"}]}, "sampling_parameters", id="no sampling"),
    ],
)
def test_malformed_model(data: Any, words: str) -> None:
    """A model of a wrong shape is refused, and the error names the field."""
    with pytest.raises(ProtocolError, match=words):
        ModelInfo.from_json(data)


def test_default_timeout() -> None:
    """No `timeout` argument means the limits that are documented."""
    expected = Timeout(connect=10, read=45, first_token=300, idle=120, total=None)

    assert expected == Timeout() == Timeout.from_value(None)


def test_timeout_from_a_number() -> None:
    """A number limits connecting and reading, and nothing else."""
    assert Timeout(connect=2.5, read=2.5) == Timeout.from_value(2.5)


def test_timeout_from_a_timeout() -> None:
    """A `Timeout` is taken as it is, no limit at all included."""
    timeout = Timeout(None, None, None, None, None)

    assert timeout is Timeout.from_value(timeout)


@pytest.mark.parametrize("name", [item.name for item in fields(Timeout)])
@pytest.mark.parametrize(
    "value",
    [pytest.param(value, id=repr(value)) for value in NO_LIMITS],
)
def test_impossible_timeout(name: str, value: Any) -> None:
    """A limit that is not a number above 0 is refused, and the error names it."""
    with pytest.raises(ConfigurationError, match=rf"timeout: {name} "):
        Timeout(**{name: value})


@pytest.mark.parametrize("value", [pytest.param(value, id=repr(value)) for value in (*NO_LIMITS, (1, 2))])
def test_impossible_timeout_argument(value: Any) -> None:
    """A `timeout` argument that is neither number nor `Timeout` is refused."""
    with pytest.raises(ConfigurationError, match=r"^timeout"):
        Timeout.from_value(value)


@pytest.mark.parametrize("value", [pytest.param(1e300, id="1e300"), pytest.param(10**400, id="10**400")])
def test_timeout_that_no_socket_takes(value: Any) -> None:
    """A limit beyond what the system can wait is refused when it is given."""
    with pytest.raises(ConfigurationError):
        Timeout(read=value)
