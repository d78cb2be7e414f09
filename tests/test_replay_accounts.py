"""What the real servers were recorded to say about accounts, and what a client makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import oa_client
from oa_client import APIError, AuthError, Client, NotFoundError, RequestError, TrustedClient, User
from oa_client._wire.call import Call
from tests.replay import Exchange, recordings
from tests.scripted import Connection, Request, ScriptedServer

NAMES = (
    *("auth_bearer", "auth_refresh", "auth_trusted_client", "auth_cookie", "auth_cookie_https_site"),
    *("account_delete", "chat_disabled", "create_chat_new_user"),
)
EXCHANGES = [item for recording in recordings() if recording.name in NAMES for item in recording.exchanges]
REFUSED = [item for item in EXCHANGES if item.status >= 300]
# What a client never calls is left out.
TAKEN = [item for item in EXCHANGES if item.status < 300 and not item.target.startswith(("/workers/", "/admin/"))]
CLASSES: Mapping[int, type[APIError]] = {
    307: APIError,
    302: APIError,
    400: RequestError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    405: APIError,
    422: RequestError,
    500: APIError,
}
ADVICE = {
    "Token expired": "the token has expired",
    "Invalid token": "does not know the token",
    "Invalid token type": "this is a refresh token",
    "Not authenticated": "no token reached the server",
    "Unauthorized client": "does not know the api_key",
    "User not found": "oa_client.login() makes one",
}
#: The calls that are methods of a client.
METHODS = {
    "GET /auth/check": "whoami",
    "DELETE /account/": "delete_account",
    "DELETE /api/account/delete": "delete_account",
    "GET /api/chat/models": "list_models",
}


def by_id(exchange: Exchange) -> str:
    """Name a parameter."""
    return exchange.id


class Player(ScriptedServer):
    """A server that gives one recorded answer to each request."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        super().__init__(self._play)

    def _play(self, connection: Connection, request: Request) -> None:
        connection.send(self.exchange.raw)
        if b"\r\nconnection: close" in self.exchange.raw:
            connection.close()


@pytest.fixture
def client(exchange: Exchange) -> Iterator[Client]:
    """A client of a server that plays the exchange."""
    credentials: dict[str, Any] = {"cookies": "x"} if exchange.surface == "website" else {"token": "x"}
    with Player(exchange) as server, Client(server.url, **credentials, max_retries=0) as made:
        yield made


def send(client: Client, exchange: Exchange) -> Any:
    """Make the recorded request: by the method for it, or as the client makes its own."""
    path = exchange.target.partition("?")[0]
    method = METHODS.get(f"{exchange.method} {path}")
    if method is not None:
        return getattr(client, method)(**({"confirm": True} if method == "delete_account" else {}))
    if exchange.route == "create" and exchange.status >= 300:
        return client.ask("Hi")
    body = json.loads(exchange.request_body) if exchange.request_body else None
    call = Call(exchange.method, exchange.target, lambda data: data, body=body)
    return client._engine.send(lambda _: call)


def detail_of(exchange: Exchange) -> Any:
    """Return the server's explanation."""
    text = exchange.body.decode()
    if text.startswith("<"):
        return ""
    return exchange.json["detail"] if text.startswith("{") else text


def test_all_are_there() -> None:
    """As many recorded answers are replayed as there were when this was written."""
    counts = {name: Counter(item.surface for item in items) for name, items in (("no", REFUSED), ("yes", TAKEN))}

    assert {"no": {"inference": 37, "website": 26}, "yes": {"inference": 19, "website": 18}} == counts


@pytest.mark.parametrize("exchange", REFUSED, ids=by_id)
def test_recorded_refusal(exchange: Exchange, client: Client) -> None:
    """Each refusal is the error of its status, with the server's words, and advice that fits them."""
    with pytest.raises(APIError) as caught:
        send(client, exchange)

    error, detail = caught.value, detail_of(exchange)
    assert (CLASSES[exchange.status], exchange.status, detail) == (type(error), error.status, error.detail)
    assert ADVICE.get(detail if isinstance(detail, str) else "", "") in str(error)
    if isinstance(error, AuthError):
        assert (detail == "Token expired") == error.has_expired
    if exchange.surface == "website" and exchange.status == 403:
        assert "have not worked before" in str(error)
    if exchange.recording == "chat_disabled":
        assert "chat switched off" in str(error)


@pytest.mark.parametrize("exchange", [item for item in REFUSED if item.status in (401, 403)], ids=by_id)
def test_recorded_refusal_of_what_has_worked(exchange: Exchange, client: Client) -> None:
    """The same refusal of credentials that have worked before says that they have expired."""
    target = client._engine.target
    assert target is not None
    target.credentials.has_worked = True
    with pytest.raises(AuthError) as caught:
        send(client, exchange)

    assert caught.value.has_expired
    if exchange.surface == "website":
        assert "worked before, so it has expired" in str(caught.value)
    elif caught.value.detail == "Invalid token":
        assert "has a new secret" in str(caught.value)


@pytest.mark.parametrize("exchange", TAKEN, ids=by_id)
def test_recorded_success(exchange: Exchange, client: Client) -> None:
    """What the servers took is no error, and after it the credentials count as good where they were looked at."""
    result = send(client, exchange)

    if exchange.target == "/auth/check":
        assert User(exchange.json) == result
    target = client._engine.target
    assert target is not None
    looks = not exchange.target.startswith(("/auth/callback", "/auth/providers", "/auth/trusted"))
    assert looks == target.credentials.has_worked


@pytest.mark.parametrize(
    "exchange", [item for item in EXCHANGES if item.target.startswith("/auth/callback/debug?code=a")], ids=by_id
)
def test_recorded_debug_login(exchange: Exchange) -> None:
    """The token of a recorded login is the one that the next call has."""
    answers = iter([exchange.raw, b'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"ada"'])
    with ScriptedServer(lambda connection, _: connection.send(next(answers))) as server:
        assert User("ada") == oa_client.login(server.url, username=exchange.target.rpartition("=")[2])
        asked, checked = server.requests

    assert exchange.target == asked.target
    assert f"Bearer {exchange.json['access_token']['access_token']}" == checked.headers["Authorization"]


@pytest.mark.parametrize("exchange", [item for item in TAKEN if item.target == "/auth/trusted"], ids=by_id)
def test_recorded_login_of_a_trusted_client(exchange: Exchange) -> None:
    """The user that the server was recorded to make is no obstacle, whatever its fields are."""
    answers = iter([exchange.raw, b'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"ada"'])
    with ScriptedServer(lambda connection, _: connection.send(next(answers))) as server:
        assert User("ada") == oa_client.login(server.url, token=TrustedClient("k", "website", "ada", "1", "Ada"))
        assert ["POST /auth/trusted", "GET /auth/check"] == [str(request) for request in server.requests]
