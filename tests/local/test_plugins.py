"""The plugin of the local server: its description, and its use in an answer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests

from oa_client.local import LocalServer
from oa_client.local._answers.calculator import evaluate, find_expressions
from tests.local.support import PATIENCE, Puppet, User

RECORDING = Path(__file__).parent.parent / "transcripts/inference/stream_plugin_intermediate.json"


def address(server: LocalServer) -> str:
    """Where the plugin describes itself."""
    return f"{server.url}/plugins/calculator/ai-plugin.json"


def configure(user: User, url: object) -> requests.Response:
    """Have the server look at a plugin's address."""
    if user.surface == "website":
        return user.send("POST", "/api/chat/plugin_config", json={"plugin": {"url": url}})
    return user.send("POST", "/configs/plugin_config", json={"url": url})


def answer(user: User, puppet: Puppet, prompt: str, said: str, plugins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask with these plugins, and have the model answer what it is asked: the events but the pending ones."""
    chat_id = user.create()
    asked = user.post_prompt(chat_id, content=prompt).json()
    answer_id = user.post_answer(chat_id, parent_id=asked["id"], plugins=plugins).json()["id"]
    with user.events(chat_id, answer_id) as events:
        puppet.play(said).finish("It is", " so.")
        return [event for event in events if event["event_type"] != "pending"]


def recorded_events() -> list[dict[str, Any]]:
    """The events that the real server sent."""
    (step,) = [step for step in json.loads(RECORDING.read_text())["steps"] if step.get("label") == "events"]
    text = "".join(chunk["data"] for chunk in step["response"]["body_chunks"])
    return [json.loads(line[6:]) for line in text.split("\r\n") if line.startswith("data: ")]


def test_the_plugin_is_listed_with_what_it_says_of_itself(user: User) -> None:
    """The list holds one entry, whose description and interface are where it says."""
    path = "/api/chat/plugins" if user.surface == "website" else "/configs/builtin_plugins"
    (entry,) = user.send("GET", path).json()
    description = requests.get(entry["url"], timeout=PATIENCE).json()
    interface = requests.get(description["api"]["url"], timeout=PATIENCE).json()
    configured = configure(user, entry["url"])

    assert entry["url"] == address(user.server)
    assert (entry["enabled"], entry["trusted"]) == (True, True)
    assert entry["plugin_config"].items() >= {**description, "api": entry["plugin_config"]["api"]}.items()
    assert interface["servers"] == [{"url": f"{user.server.url}/plugins/calculator"}]
    assert list(interface["paths"]) == ["/evaluate"]
    assert configured.json() == {**entry, "trusted": False}


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        pytest.param("?expression=6*7", 200, "42", id="good"),
        pytest.param("?expression=1/0", 400, {"detail": "division by zero"}, id="impossible"),
        pytest.param("?expression=x", 400, {"detail": "this is not arithmetic"}, id="something else"),
        pytest.param("", 422, None, id="nothing"),
    ],
)
def test_the_interface_of_the_plugin(server: LocalServer, query: str, status: int, body: object) -> None:
    """It works out what it is sent."""
    answer = requests.get(f"{server.url}/plugins/calculator/evaluate{query}", timeout=PATIENCE)

    assert answer.status_code == status
    assert body is None or answer.json() == body


ELSEWHERE = (
    "Request failed after 3 retries: Cannot connect to host {} ssl:default [the local server asks nobody but itself]"
)


@pytest.mark.parametrize(
    ("url", "status", "detail"),
    [
        pytest.param("{url}/nothing.json", 404, "Plugin not found", id="nothing there"),
        pytest.param("{url}", 404, "Plugin not found", id="no path"),
        pytest.param("{url}/chats?limit=5", 500, "Failed to fetch plugin", id="refused"),
        pytest.param("{url}/api/auth/session", 500, None, id="something else there"),
        pytest.param("{url}/configs/builtin_plugins", 500, None, id="a list there"),
        pytest.param("nope", 500, "Request failed: nope", id="no URL"),
        pytest.param("http://[x/", 500, "Request failed: http://[x/", id="broken URL"),
        pytest.param("http://x:y/", 500, "Request failed: http://x:y/", id="broken port"),
        pytest.param("{url}@evil.example/", 500, ELSEWHERE.format("evil.example:80"), id="our address as a login"),
        pytest.param("https://evil.example/a.json", 500, ELSEWHERE.format("evil.example:443"), id="elsewhere"),
        pytest.param("http://169.254.169.254/", 500, ELSEWHERE.format("169.254.169.254:80"), id="elsewhere by number"),
        pytest.param("http://127.0.0.1:1/", 500, ELSEWHERE.format("127.0.0.1:1"), id="another local server"),
    ],
)
def test_a_plugin_that_cannot_be_had(user: User, url: str, status: int, detail: str | None) -> None:
    """The reason is given by the inference server only, and nothing but the server itself is asked."""
    answer = configure(user, url.format(url=user.server.url))

    if user.surface == "website" or detail is None:
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    else:
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_the_plugin_works_out_what_the_prompt_asks(user: User, puppet: Puppet) -> None:
    """Its steps come first, in the recorded shape, and the model is given their results."""
    prompt = "What is 12 * 7, and (1 + 2) / 4?"
    said = f"It is known that 12 * 7 = 84, (1 + 2) / 4 = 0.75.\n\n{prompt}"
    entry = {"url": address(user.server), "trusted": True}
    events = answer(user, puppet, prompt, said, [{"url": "off", "enabled": False}, entry])
    recorded = recorded_events()
    steps = [tuple(event.values())[1:5] for event in events if event["event_type"] == "plugin_intermediate"]
    used = events[-1]["message"]["used_plugin"]
    recorded_use = recorded[-1]["message"]["used_plugin"]

    assert steps == [
        ("thinking...", "", "", ""),
        ("I should calculate 12 * 7", "Calculator", "12 * 7", "84"),
        ("I should calculate (1 + 2) / 4", "Calculator", "(1 + 2) / 4", "0.75"),
    ]
    assert [event["event_type"] for event in events] == [
        *["plugin_intermediate", "token"] * 3,
        "token",
        "token",
        "message",
    ]
    assert [event.get("text") for event in events[1:6:2]] == ["", "", ""]
    assert list(events[0]) == list(recorded[0])
    assert used == {
        "name": "Calculator",
        "url": entry["url"],
        "trusted": True,
        "execution_details": {
            "inner_monologue": ["I should calculate 12 * 7", "I should calculate (1 + 2) / 4"],
            "final_tool_output": "0.75",
            "final_prompt": said,
            "final_generation_assisted": True,
            "achieved_depth": 2,
            "error_message": None,
            "status": "success",
        },
    }
    assert list(used) == list(recorded_use)
    assert list(used["execution_details"]) == list(recorded_use["execution_details"])
    assert user.message(events[-1]["message"]["chat_id"], events[-1]["message"]["id"]).json()["used_plugin"] == used
    assert events[-1]["message"]["content"] == "It is so."


def test_a_prompt_without_arithmetic(user: User, puppet: Puppet) -> None:
    """The plugin says that it thinks, and finds nothing to do."""
    events = answer(user, puppet, "Who are you?", "Who are you?", [{"url": address(user.server)}])
    used = events[-1]["message"]["used_plugin"]

    assert [event["event_type"] for event in events] == ["plugin_intermediate", "token", "token", "token", "message"]
    assert used["trusted"] is False
    assert used["execution_details"] == {
        "inner_monologue": [],
        "final_tool_output": "",
        "final_prompt": "",
        "final_generation_assisted": False,
        "achieved_depth": None,
        "error_message": None,
        "status": "success",
    }


def test_arithmetic_that_comes_to_nothing(user: User, puppet: Puppet) -> None:
    """The step and the use say so, the answer comes all the same, and no more than four are worked out."""
    prompt = "1/0, 1+1, 2+2, 3+3, 4+4"
    results = "1/0 = ERROR: division by zero, 1+1 = 2, 2+2 = 4, 3+3 = 6"
    said = f"It is known that {results}.\n\n{prompt}"
    details = answer(user, puppet, prompt, said, [{"url": address(user.server)}])[-1]["message"]["used_plugin"]

    assert details["execution_details"]["status"] == "failure"
    assert details["execution_details"]["error_message"] == "1/0: division by zero"
    assert details["execution_details"]["achieved_depth"] == 4


@pytest.mark.parametrize(
    "plugins",
    [
        pytest.param([], id="none"),
        pytest.param([{"url": "https://evil.example/plugins/calculator/ai-plugin.json"}], id="elsewhere"),
        pytest.param([{"url": "{address}", "enabled": False}], id="not enabled"),
        pytest.param([{"url": "other"}, {"url": "{address}"}], id="behind another"),
    ],
)
def test_a_question_without_the_plugin(user: User, puppet: Puppet, plugins: list[dict[str, Any]]) -> None:
    """It is answered by the model alone."""
    named = [{**plugin, "url": plugin["url"].replace("{address}", address(user.server))} for plugin in plugins]
    events = answer(user, puppet, "1 + 1", "1 + 1", named)

    assert [event["event_type"] for event in events] == ["token", "token", "message"]
    assert events[-1]["message"]["used_plugin"] is None


def test_lorem_does_not_invent_the_plugins_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are no answer, but the steps are real."""
    monkeypatch.setattr("oa_client.local._answers.work.HEAD_START", PATIENCE)
    with LocalServer("lorem") as server:
        user = User(server, "inference")
        chat_id = user.create()
        asked = user.post_prompt(chat_id, content="6 * 7").json()
        fields = {"plugins": [{"url": address(server)}], "sampling_parameters": {"max_new_tokens": 1}}
        answer_id = user.post_answer(chat_id, parent_id=asked["id"], **fields).json()["id"]
        with user.events(chat_id, answer_id) as events:
            last = list(events)[-1]["message"]

    assert last["content"] == "Lorem"
    assert last["used_plugin"]["execution_details"]["final_tool_output"] == "42"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("What is 12 * 7?", ["12 * 7"], id="in a question"),
        pytest.param("(2 + 3) * 4 and 2^10.", ["(2 + 3) * 4", "2^10"], id="two"),
        pytest.param("(that is 1+1)", ["1+1"], id="in brackets"),
        pytest.param("2 × 3 − 1", ["2 × 3 − 1"], id="other signs"),  # noqa: RUF001
        pytest.param("-5, 3 (or 4), 1.2.3, 007+1, 5(3)+1, (...) * 2, 1+, 1//2", [], id="none"),
        pytest.param("1+" * 100 + "1", [], id="too long"),
        pytest.param("x" * 10_000 + "1+1", [], id="too far down"),
    ],
)
def test_arithmetic_is_found(text: str, found: list[str]) -> None:
    """As it stands in the text; what only looks like it is left alone, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert list(find_expressions(text)) == found


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("12 * 7", "84"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.333333333333"),
        ("-(2 - 5) * +2", "6"),
        ("2^-2", "0.25"),
        ("7 % 4", "3"),
        ("2^100", str(2**100)),
        ("5", "5"),
    ],
)
def test_arithmetic_is_worked_out(expression: str, result: str) -> None:
    """Exactly, if it comes out even."""
    assert evaluate(expression) == result


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("7 % 0", "division by zero"),
        ("0 ^ -1", "division by zero"),
        ("2 ^ 0.5", "not whole"),
        ("9 ^ 9 ^ 9", "too large"),
        ("2^400 * 2^400 * 2^400", "too large"),
    ],
)
def test_arithmetic_that_cannot_be_worked_out(expression: str, message: str) -> None:
    """It is an error at once, however large the number would be."""
    with pytest.raises(ArithmeticError, match=message):
        evaluate(expression)


@pytest.mark.parametrize("expression", ["x", "", "1 +", "__import__('os')", "(...)", "1+" * 100 + "1"])
def test_what_is_not_arithmetic(expression: str) -> None:
    """Nothing else is ever run."""
    with pytest.raises(ValueError, match="not arithmetic"):
        evaluate(expression)
