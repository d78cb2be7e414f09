"""Fixtures of the local server's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oa_client.local import LocalServer, Settings
from tests.local.support import Puppet, User


@pytest.fixture
def puppet() -> Puppet:
    """A backend that writes one answer at a time."""
    return Puppet()


@pytest.fixture
def server(puppet: Puppet) -> Iterator[LocalServer]:
    """A server with the puppet, which says "pending" as soon as it can and lets everybody sign in."""
    settings = Settings(pending_event_interval=0.01)
    with LocalServer(puppet, debug_login=True, settings=settings) as server:
        yield server
        puppet.release()


@pytest.fixture(params=["inference", "website"])
def user(server: LocalServer, request: pytest.FixtureRequest) -> User:
    """The user, on each surface in turn."""
    return User(server, request.param)
