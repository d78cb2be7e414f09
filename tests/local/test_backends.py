"""Backends of one's own: how they are written, found, checked, and how they fail."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oa_client.local import Backend, LocalServer, LocalServerError
from oa_client.local._models.backends import MOST_SAID, words_of
from oa_client.local._models.registry import BACKENDS
from tests.local.support import User


def example() -> str:
    """The code of the class in the docstring of the protocol."""
    lines = textwrap.dedent(Backend.__doc__ or "").splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("    class "))
    last = next(index for index, line in enumerate(lines) if index > first and line[:4].strip())
    return textwrap.dedent("\n".join(lines[first:last]))


def test_a_backend_is_twenty_lines() -> None:
    """The one in the docstring is no longer, is a backend, and answers."""
    code = example()
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own words
    shout = names["Shout"]()
    with LocalServer(shout) as server:
        user = User(server, "inference")
        with user.events(*user.ask("make some noise")) as events:
            texts = [event["text"] for event in events if event["event_type"] == "token"]

    assert len(code.strip().splitlines()) <= 20
    assert isinstance(shout, Backend)
    assert server.model == "shout"
    assert texts == ["MAKE ", "SOME ", "NOISE "]


class Failing:
    """A backend that fails as it is told, after one piece."""

    name = "failing"
    description = "It fails"
    slots = 1

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def generate(self, messages: Any, sampling: Any, cancelled: threading.Event) -> Any:
        """Say a word and fail, unless that is asked for no more."""
        yield "Well"
        if messages[-1]["content"] == "fail":
            raise self.error

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(RuntimeError("out of memory"), "out of memory", id="words"),
        pytest.param(ValueError(), "ValueError", id="no words"),
        pytest.param(KeyError("delta"), "KeyError: 'delta'", id="a key"),
        pytest.param(FileNotFoundError(2, "No such file", "/home/ada/x.bin"), "No such file", id="a file"),
        pytest.param(OSError("broken"), "broken", id="an OSError with words alone"),
    ],
)
def test_an_error_is_told_and_the_server_lives_on(error: BaseException, words: str) -> None:
    """Its words are the error event after what was written, nothing is printed, and the next answer comes."""
    with LocalServer(Failing(error)) as server:
        user = User(server, "inference")
        chat_id, answer_id = user.ask("fail")
        with user.events(chat_id, answer_id) as events:
            received = [event for event in events if event["event_type"] != "pending"]
        with user.events(*user.ask("go on")) as events:
            last = list(events)[-1]

    assert [event["event_type"] for event in received] == ["token", "error"]
    assert received[-1]["error"] == words
    assert received[-1]["message"]["state"] == "aborted_by_worker"
    assert (last["event_type"], last["message"]["content"]) == ("message", "Well")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("cannot read /home/ada/models/big.gguf: it is cut", "cannot read big.gguf: it is cut"),
        ("cannot read '/home/ada lovelace/big.gguf' at all", "cannot read 'big.gguf' at all"),
        (r"cannot read C:\Users\ada\big.gguf", "cannot read big.gguf"),
        (r'cannot read "C:\Users\ada lovelace\big.gguf"', 'cannot read "big.gguf"'),
        ("http://127.0.0.1:11434/v1/models refused", "http://127.0.0.1:11434/v1/models refused"),
        ("yes and/or no, 1/2, 2026/11/23", "yes and/or no, 1/2, 2026/11/23"),
        ('Traceback (most recent call last):\n  File "/x/y.py", line 1\nValueError: no\n', "ValueError: no"),
        ("x" * 2000, "x" * MOST_SAID),
    ],
)
def test_words_hold_no_path_and_no_traceback(said: str, told: str) -> None:
    """Of a path the name of the file stays, of a traceback the last line, of a long text the beginning."""
    assert words_of(RuntimeError(said)) == told


class Distribution:
    """A distribution on `sys.path` that brings backends, and the module that they are in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def add(self, name: str, code: str, **points: str) -> None:
        """Bring a module `name` of this code, and a distribution of that name with these entry points."""
        (self.folder / f"{name}.py").write_text(code)
        info = self.folder / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        lines = "".join(f"{point} = {value}\n" for point, value in points.items())
        (info / "entry_points.txt").write_text(f"[oa_client.backends]\n{lines}")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """Somewhere to install distributions, whose modules are forgotten after the test."""
    before = set(sys.modules)
    yield Distribution(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_another_distribution_brings_a_backend(installed: Distribution) -> None:
    """It is found by its name, imported when it is chosen, made at the start, and closed with the server."""
    closed = '    closed = []\n    def close(self):\n        self.closed.append("Shout")\n'
    installed.add("shouting", example() + closed, shout="shouting:Shout", broken="no_such_module:Shout")
    LocalServer("lorem")
    before = "shouting" in sys.modules
    with LocalServer("shout") as server:
        chosen = server.model, sys.modules["shouting"].Shout.closed[:]

    assert not before
    assert chosen == ("shout", [])
    assert sys.modules["shouting"].Shout.closed == ["Shout"]


def test_an_unknown_name_lists_those_that_there_are(installed: Distribution) -> None:
    """The nearest first, those of other distributions too."""
    installed.add("shouting", example(), shout="shouting:Shout")
    with pytest.raises(ValueError, match="no backend 'Shoot': there are 'shout', ") as error:
        LocalServer("Shoot")
    with pytest.raises(ValueError, match="no backend 'embeded': there are 'embedded', "):
        LocalServer("embeded")

    assert all(f"'{name}'" in str(error.value) for name in BACKENDS)


def test_a_name_of_ours_is_not_taken_over(installed: Distribution) -> None:
    """Another distribution's "lorem" is not looked at."""
    installed.add("shouting", "raise SystemExit", lorem="shouting:Shout")
    with LocalServer("lorem") as server:
        assert server.model == "lorem"


@pytest.mark.parametrize(
    ("code", "value", "words"),
    [
        pytest.param(
            "import no_such_module", "bad:Bad", "'bad' of the distribution bad cannot be imported", id="import"
        ),
        pytest.param("1 / 0", "bad:Bad", "ZeroDivisionError: division by zero; update or uninstall", id="raises"),
        pytest.param("", "bad:Bad", "AttributeError.*'Bad'", id="no such name"),
        pytest.param("Bad = 5", "bad:Bad", "'bad' of the distribution bad is not a class or function", id="no class"),
        pytest.param("Bad = 5", "bad.5", "'bad' of the distribution bad cannot be imported", id="no entry point"),
    ],
)
def test_a_broken_plug_in_is_named(installed: Distribution, code: str, value: str, words: str) -> None:
    """The error says which distribution it came with, and what is wrong."""
    installed.add("bad", code, bad=value)
    with pytest.raises(LocalServerError, match=words):
        LocalServer("bad")


def test_two_plug_ins_of_one_name(installed: Distribution) -> None:
    """Neither is taken; both are named."""
    installed.add("one", example(), shout="one:Shout")
    installed.add("two", example(), shout="two:Shout")
    with pytest.raises(LocalServerError, match="'shout' comes with the distribution one and the distribution two"):
        LocalServer("shout")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("def make():\n    raise OSError('no GPU')", "cannot start: OSError: no GPU", id="fails"),
        pytest.param("def make():\n    return None", "NoneType has no name, no description, no slots", id="nothing"),
        pytest.param("def make():\n    return []", "it has no model", id="no model"),
        pytest.param("def make():\n    Shout.slots = 0\n    return Shout()", "slots are 0", id="no slots"),
        pytest.param("def make():\n    Shout.name = ''\n    return Shout()", "name is '', not a text", id="no name"),
        pytest.param(
            "def make():\n    Shout.description = 5\n    return Shout()", "description is 5", id="no description"
        ),
    ],
)
def test_a_plug_in_that_makes_no_backend(installed: Distribution, code: str, words: str) -> None:
    """Start says so, and nothing stays open."""
    installed.add("bad", example() + code, bad="bad:make")
    server = LocalServer("bad")
    with pytest.raises(LocalServerError, match=words):
        server.start()


def test_what_is_no_backend_is_refused() -> None:
    """At once, naming what it lacks."""
    with pytest.raises(TypeError, match=r"object has no name.* no generate"):
        LocalServer(object())  # type: ignore[arg-type]


def test_several_models_on_one_server(installed: Distribution) -> None:
    """Each is listed and answers by its name, the first by default, and tells its own name."""
    code = "def make():\n    one, two = Shout(), Shout()\n    two.name, two.slots = 'two', 1\n    return one, two"
    installed.add("shouting", example() + code, both="shouting:make")
    with LocalServer("both") as server:
        user = User(server, "inference")
        listed = [model["name"] for model in user.send("GET", "/configs/model_configs").json()]
        chat_id = user.create()
        prompt = user.post_prompt(chat_id, content="hi").json()
        answers = [
            user.post_answer(chat_id, parent_id=prompt["id"], model_config_name=name).json()
            for name in ("two", "shout", "OA_SFT_Llama_30B_6")
        ]
        for answer in answers:
            user.wait_for(chat_id, answer["id"], "complete")

    assert listed == ["shout", "two", "OA_SFT_Llama_30B_6"]
    assert [answer["work_parameters"]["model_config"]["model_id"] for answer in answers] == ["two", "shout", "shout"]
