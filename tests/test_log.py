"""What is told to a program that looks at the log at the level INFO."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from oa_client import APIError, Client
from oa_client.testing import Drop, OAServer, Refuse

both_surfaces = pytest.mark.oa_surface("website", "inference")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged for the eyes of users."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "oa_client"]


def test_nothing(oa_server: OAServer, oa_client: Client, lines: Callable[[], list[str]]) -> None:
    """Where all goes well there is nothing to tell."""
    oa_server.reply("Hello there")
    oa_client.ask("Hi")

    assert lines() == []


@both_surfaces
def test_call_that_is_sent_again(oa_server: OAServer, oa_client: Client, lines: Callable[[], list[str]]) -> None:
    """The log has the error and which try comes next, and no secret."""
    oa_server.fail("prompter_message", Refuse(503))
    oa_server.reply("Hello there")
    oa_client.ask("Hi")
    (line,) = lines()

    assert "answered 503" in line
    assert "; try 2 of 3 in 0." in line
    assert not any(secret in line for secret in oa_server.environment.values() if secret != oa_server.url)


def test_call_that_is_not_sent_again(oa_server: OAServer, lines: Callable[[], list[str]]) -> None:
    """Where nothing is done, nothing is told but the error that is raised."""
    oa_server.fail("prompter_message", Refuse(503))
    with oa_server.client(max_retries=0) as client, pytest.raises(APIError):
        client.ask("Hi")

    assert lines() == []


@both_surfaces
def test_reply_that_is_completed(oa_server: OAServer, oa_client: Client, lines: Callable[[], list[str]]) -> None:
    """The log names the message, and why its stream has ended."""
    oa_server.reply("Hello there", fault=Drop(after=1))
    answer = oa_client.ask("Hi")
    (line,) = lines()

    assert str(answer) == "Hello there"
    assert line.startswith(f"message {answer.id}: taken from the server's record, as its stream ended early")
    assert "Hello" not in line
