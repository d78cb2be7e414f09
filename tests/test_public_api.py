"""What users can import, and which module may import which."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import functools
import re
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import oa_client

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "oa_client"
PUBLIC = [pytest.param(getattr(oa_client, name), id=name) for name in oa_client.__all__]
CLASSES = [item for item in PUBLIC if isinstance(item.values[0], type)]
# The rooms of the package. A module imports from its own room and those before it.
ROOMS = [
    *("_values", "_transcripts", "_wire", "_accounts", "_net", "_calls", "_chats", "_blocking", "_async"),
    *("__init__", "provider", "_command", "__main__"),
]
#: modules that a room may hold; the longest way down through the imports of rooms, and of single modules.
MODULES_LIMIT, FLOORS_LIMIT, STEPS_LIMIT = 15, 13, 23
# The only rooms, or modules, that import a library.
HOMES = {
    "sseclient": {"_wire.sse"},
    "urllib3": {"_net"},
    "requests": {"_net", "_values.errors", "_blocking.client", "_async.client"},  # there for the type of `session=`
    "anyio": {"_async"},
    "browser_cookie3": {"_accounts.browser"},
    "click": {"_command"},
    "rich": {"_command"},
}


class Import(NamedTuple):
    """
    One import in a module.

    Attributes:
        module: where it stands, for example `_blocking.client` or `local._server`.
        name: what is imported, from the root on: `oa_client._values.errors`, `requests`.
        is_lazy: whether it waits for a function to be called.
    """

    module: str
    name: str
    is_lazy: bool


def imports_of(path: Path) -> Iterator[Import]:
    """Yield the imports of one module."""
    module = ".".join((*path.parent.relative_to(PACKAGE).parts, path.stem))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lazy = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            is_package = (PACKAGE.parent / start.replace(".", "/")).is_dir()
            names = [f"{start}.{item.name}" for item in node.names] if is_package else [start]
        else:
            continue
        for name in names:
            yield Import(module, name, id(node) in lazy)


IMPORTS = [item for path in sorted(PACKAGE.rglob("*.py")) for item in imports_of(path)]
OURS = [item for item in IMPORTS if not item.module.startswith(("local.", "testing."))]
TESTING = [item for item in IMPORTS if item.module.startswith("testing.")]


def room_of(module: str) -> str:
    """Return the subpackage that a module is part of, or the module itself."""
    return module.partition(".")[0]


def floors(name_of: Callable[[str], str]) -> dict[str, int]:
    """Return on how many floors of imports each module of the client stands, or each room, itself included."""
    below: dict[str, set[str]] = {name_of(item.module): set() for item in OURS}
    for item in OURS:
        here, there = name_of(item.module), name_of(item.name.removeprefix("oa_client."))
        if not item.is_lazy and there in below and there != here:
            below[here].add(there)

    @functools.cache
    def floor_of(name: str) -> int:
        return 1 + max(map(floor_of, below[name]), default=0)

    return {name: floor_of(name) for name in below}


def test_names_are_sorted() -> None:
    """`__all__` is sorted and names nothing twice."""
    assert sorted(set(oa_client.__all__)) == oa_client.__all__


def test_names_are_all_that_is_public() -> None:
    """`__all__` is what can be imported, the modules aside."""
    public = {
        name
        for name, value in vars(oa_client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert public == set(oa_client.__all__)


@pytest.mark.parametrize("value", CLASSES)
def test_public_class(value: Any) -> None:
    """A public class has a docstring of its own and shows as a member of the package."""
    assert vars(value).get("__doc__", "").strip()
    assert "oa_client" == value.__module__
    assert f"oa_client.{value.__qualname__}" in repr(value)


def test_what_is_no_class() -> None:
    """All that is public is classes, but for the union of the events, and what is done before there is a client."""
    assert ["Event", "browser_cookies", "login", "logout"] == [item.id for item in PUBLIC if item not in CLASSES]


@pytest.mark.parametrize("value", CLASSES)
def test_public_members(value: Any) -> None:
    """Each public method and property of a public class has a docstring."""
    members = {name: member for name, member in vars(value).items() if not name.startswith("_")}
    documented = (property, classmethod, staticmethod, type(test_public_members))
    bare = [name for name, member in members.items() if isinstance(member, documented) and not member.__doc__]

    assert [] == bare


@pytest.mark.parametrize("value", [item for item in CLASSES if dataclasses.is_dataclass(item.values[0])])
def test_types_of_a_value(value: Any) -> None:
    """The types of a value's fields can be looked up, as pydantic does it, though its module is renamed."""
    assert typing.get_type_hints(value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing has no Unpack there")
@pytest.mark.parametrize("value", [oa_client.Client, oa_client.AsyncClient, oa_client.Chat, oa_client.AsyncChat])
def test_types_of_options(value: Any) -> None:
    """The types of a method's options can be looked up, as editors do it."""
    methods = [member for name, member in vars(value).items() if not name.startswith("_") and callable(member)]

    assert any("options" in typing.get_type_hints(method) for method in methods)


def test_version() -> None:
    """The version is that of the package's metadata, and the changelog has a heading for it or for what is to come."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert setup["metadata"]["version"] == oa_client.__version__
    assert {"Unreleased", oa_client.__version__} & set(headings)


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError that says so."""
    name = "nothing"

    with pytest.raises(AttributeError, match="'oa_client' has no attribute 'nothing'"):
        getattr(oa_client, name)


def test_imports_run_one_way() -> None:
    """A module of the client imports from its own room and from those before it."""
    wrong = [
        (item.module, item.name)
        for item in OURS
        for room, name in [(room_of(item.module), room_of(item.name.removeprefix("oa_client.")))]
        if name in ROOMS and ROOMS.index(name) > ROOMS.index(room)
    ]

    assert [] == wrong


def test_rooms() -> None:
    """Each module of the client stands in a room, and no room holds too many."""
    rooms = [path.parent.name for path in PACKAGE.glob("_*/*.py") if path.name != "__init__.py"]

    assert set(ROOMS) == {room_of(item.module) for item in OURS}
    assert {} == {room: count for room, count in Counter(rooms).items() if count > MODULES_LIMIT}


@pytest.mark.parametrize(
    ("name_of", "limit"),
    [pytest.param(room_of, FLOORS_LIMIT, id="rooms"), pytest.param(str, STEPS_LIMIT, id="modules")],
)
def test_floors(name_of: Callable[[str], str], limit: int) -> None:
    """The way down through the imports of the client is short; printed, the highest last."""
    found = floors(name_of)
    print(*(f"{floor:2} {name}" for name, floor in sorted(found.items(), key=lambda item: item[::-1])), sep="\n")

    assert max(found.values()) <= limit


@pytest.mark.parametrize("library", list(HOMES))
def test_home_of_a_library(library: str) -> None:
    """A library is imported, and in its home alone."""
    found = {item.module for item in OURS if item.name.partition(".")[0] == library}

    assert found
    assert [] == [module for module in found if not {module, room_of(module)} & HOMES[library]]


def test_imports_of_the_errors() -> None:
    """The errors import nothing of the package, and requests, whose exceptions they derive from."""
    libraries = {item.name for item in OURS if item.module == "_values.errors"} - {"__future__", "json", "typing"}

    assert {"requests"} == libraries


def test_local_server_is_imported_lazily() -> None:
    """The local server, which needs an extra, is imported only when it is asked for."""
    imports = [item for item in OURS if item.name.startswith("oa_client.local")]

    assert imports
    assert [] == [item for item in imports if not item.is_lazy]


def test_local_server_imports_nothing_of_the_client() -> None:
    """The local server shares no code with the client, so that it cannot share its mistakes."""
    local = [item for item in IMPORTS if item.module.startswith("local.")]

    assert local
    assert [] == [
        item for item in local if re.match(r"oa_client(?!\.local\b)", item.name) or item.name.startswith("sseclient")
    ]


def test_who_knows_of_the_server_for_tests() -> None:
    """Nothing but itself imports it, and it knows of the client what everybody does."""
    assert [] == [item for item in IMPORTS if item not in TESTING and item.name.startswith("oa_client.testing")]
    assert {"oa_client.AsyncClient", "oa_client.Client"} == {
        item.name for item in TESTING if re.match(r"oa_client\.(?!local\b|testing\b)", item.name)
    }


def test_import_brings_no_extra() -> None:
    """Importing the package loads neither the local server nor a library of an extra, and starts no thread."""
    code = (
        "import sys, threading, oa_client\n"
        "extras = {'click', 'rich', 'platformdirs', 'starlette', 'sse_starlette', 'uvicorn', 'xllamacpp'}\n"
        "extras |= {'httpx', 'httpx_sse'}\n"
        "print(sorted(extras & sys.modules.keys()), 'oa_client.local' in sys.modules, threading.active_count())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[] False 1\n" == done.stdout


def test_import_brings_no_async_library() -> None:
    """Scripts of the blocking client do not pay for anyio; whoever asks for a name of the async one gets them all."""
    code = (
        "import sys, oa_client\n"
        "print(sorted({'anyio', 'asyncio'} & sys.modules.keys()), {*oa_client.__all__} - {*dir(oa_client)})\n"
        "oa_client.AsyncClient\n"
        "print(sorted({'anyio', 'asyncio'} & sys.modules.keys()), sys.modules['oa_client._async.chat'].AsyncChat)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[] set()\n['anyio'] <class 'oa_client.AsyncChat'>\n" == done.stdout
