"""How far it is from a user's call to the request that it makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

import oa_client
from oa_client import Chat, Client
from tests.scripted import Surface
from tests.test_catalog import Catalog

PACKAGE = str(Path(oa_client.__file__).parent)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each request that is sent, how many frames of the package are below it, in the thread that sends it."""
    counts: list[int] = []
    send = requests.Session.send

    def count_and_send(*arguments: Any, **options: Any) -> requests.Response:
        frame, count = sys._getframe(1), 0
        while frame is not None:
            count += frame.f_code.co_filename.startswith(PACKAGE)
            frame = frame.f_back  # type: ignore[assignment]  # None at the end
        counts.append(count)
        return send(*arguments, **options)

    monkeypatch.setattr(requests.Session, "send", count_and_send)
    return counts


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client, chat: chat.rename("Trees"), id="rename"),
        pytest.param(lambda client, chat: client.list_models(), id="list_models"),
    ],
)
def test_plain_call(surface: Surface, frames: list[int], call: Callable[[Client, Chat], Any]) -> None:
    """A plain call takes six frames at most."""
    with Catalog(surface) as script, Client(script.url, **script.credentials) as client:
        chat = client.create_chat()
        frames.clear()
        call(client, chat)

    assert frames
    assert max(frames) <= 6
