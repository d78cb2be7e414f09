"""
The pytest plugin of oa-client: the fixtures `oa_server`, `oa_client` and `oa_async_client`.

It stands outside the package, since pytest imports it in every run, and the package takes a
quarter of a second to import. What the fixtures give is in `oa_client.testing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oa_client import AsyncClient, Client
    from oa_client.testing import OAServer, Surface

SURFACES = ("inference", "website")

_HAS_FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Say which markers there are."""
    config.addinivalue_line(
        "markers",
        'oa_surface(*surfaces): where oa_client and oa_async_client go: "inference" (the default) or "website"; '
        "with both the test runs twice.",
    )
    config.addinivalue_line("markers", "oa_no_chat_left: fail the test if it leaves a chat on oa_server.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each surface that it is marked with."""
    marker = metafunc.definition.get_closest_marker("oa_surface")
    if marker is None or "oa_surface" not in metafunc.fixturenames:
        return
    wrong = [surface for surface in marker.args if surface not in SURFACES]
    if wrong or marker.kwargs or not marker.args:
        raise pytest.UsageError(
            f'{metafunc.definition.nodeid}: the marker oa_surface takes "inference", "website" or both, '
            f"not {', '.join(map(repr, wrong)) or marker.kwargs or 'nothing'}"
        )
    if len(marker.args) > 1:
        metafunc.parametrize("oa_surface", marker.args)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remember a test that has failed, or its setup, of which then only what may be the reason is said."""
    if call.when != "teardown":  # one that is run again begins with its setup
        item.stash[_HAS_FAILED] = call.excinfo is not None


@pytest.fixture
def oa_surface(request: pytest.FixtureRequest) -> Surface:
    """Which of the two surfaces the clients use; "inference", or as the marker of this name says."""
    marker = request.node.get_closest_marker("oa_surface")
    surface: Surface = marker.args[0] if marker else "inference"
    return surface


@pytest.fixture
def oa_server(request: pytest.FixtureRequest, oa_surface: Surface) -> Iterator[OAServer]:
    """A server that answers what the test tells it, fresh for each test; see `oa_client.testing.OAServer`."""
    try:
        from oa_client.testing import OAServer
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)
    server = OAServer(oa_surface)
    server.start()
    try:
        yield server
    finally:
        server.close()
    complaint = _complaint(request.node, server)
    if complaint:
        pytest.fail(f"oa_server: {complaint}", pytrace=False)


def _complaint(item: pytest.Item, server: OAServer) -> str:
    """What is wrong at the end of a test, "" if nothing is."""
    try:
        server.check(unused=not item.stash.get(_HAS_FAILED, False))
        if item.get_closest_marker("oa_no_chat_left"):
            server.assert_no_chat_left()
    except AssertionError as error:
        return str(error)
    return ""


@pytest.fixture
def oa_client(oa_server: OAServer) -> Client:
    """A `Client` of `oa_server`, closed after the test; `oa_server.client(…)` makes one with options."""
    return oa_server.client()


@pytest.fixture
def oa_async_client(oa_server: OAServer) -> AsyncClient:
    """An `AsyncClient` of `oa_server`, closed after the test, whatever runs the async code."""
    return oa_server.async_client()
