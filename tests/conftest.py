"""What every test starts from."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.scripted import OpenAssistantScript, Surface

pytest_plugins = ("pytest_oa_client", "pytester")

_VARIABLES = (
    *("OA_BASE_URL", "OA_TOKEN", "OA_COOKIE", "OA_SERVE_TOKEN", "OA_UPSTREAM_KEY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)

#: The process's local server, and the threads that trio keeps; those that work have another name.
_LASTING_THREADS = ("oa-client local server", "Trio thread")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for what it runs in the background, and a command of ours would then ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what asks for all tests."""
    parser.addoption("--full", action="store_true", help="also run every combination, and what takes long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Leave out, without --full, what is marked `full`, and what a module's `is_quick` says no to.

    Where a module runs each test in many combinations, a few of them cover the same lines and branches.
    """
    if config.getoption("--full"):
        return
    left_out = [item for item in items if not _is_quick(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_quick(item: pytest.Item) -> bool:
    if item.get_closest_marker("full") is not None:
        return False
    is_quick = getattr(getattr(item, "module", None), "is_quick", None)
    callspec = getattr(item, "callspec", None)
    return is_quick is None or callspec is None or bool(is_quick(callspec.params))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _no_kept_logins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test a folder for logins that does not exist, in place of the developer's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / f"config{next(_numbers)}"))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail a test after which a thread goes on that was not there before."""
    before = set(threading.enumerate())
    yield
    new = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread for thread in new if not thread.name.startswith(_LASTING_THREADS)]
    for thread in left:
        # One that is about to end may do so.
        thread.join(10)
    assert [thread.name for thread in left if thread.is_alive()] == []


@pytest.fixture(params=["website", "inference"])
def surface(request: pytest.FixtureRequest) -> Surface:
    """Each of the two servers that speak the protocol."""
    chosen: Surface = request.param
    return chosen


@pytest.fixture
def script(surface: Surface) -> Iterator[OpenAssistantScript]:
    """A server of each surface, whose answers a test decides."""
    with OpenAssistantScript(surface) as server:
        yield server
