"""Certificates are checked, whatever the environment says, and one of the user's own can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from oa_client import Client, TransportError
from tests.scripted import empty_response, json_response, reply
from tests.tls import TLSServer, make_context

MODELS = reply(json_response([]))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The file of the server's certificate."""
    return make_context(tmp_path)[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TLSServer]:
    """A server whose certificate nobody trusts yet."""
    with TLSServer(MODELS, make_context(tmp_path)[0]) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("REQUESTS_CA_BUNDLE", "", id="no bundle"),
        pytest.param("CURL_CA_BUNDLE", "", id="no bundle for curl"),
        pytest.param("PYTHONHTTPSVERIFY", "0", id="Python told not to look"),
    ],
)
def test_untrusted_certificate_is_refused(
    server: TLSServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A certificate that nobody vouches for ends the call before anything is sent, and the error says what to do."""
    monkeypatch.setenv(name, value)
    with Client(server.url, token="t", max_retries=0) as client, pytest.raises(TransportError) as caught:
        client.list_models()

    assert "REQUESTS_CA_BUNDLE" in str(caught.value)
    assert server.requests == []


def test_session_without_a_word_on_certificates_checks_them(server: TLSServer) -> None:
    """A session of the user's checks certificates too."""
    with (
        requests.Session() as session,
        Client(server.url, token="t", session=session, max_retries=0) as client,
        pytest.raises(TransportError),
    ):
        client.list_models()

    assert server.requests == []


def test_certificate_of_another_host_is_refused(
    server: TLSServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate does not do for another name."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    url = server.url.replace("127.0.0.1", "localhost")
    with Client(url, token="t", max_retries=0) as client, pytest.raises(TransportError):
        client.list_models()

    assert server.requests == []


def test_authority_of_the_environment(server: TLSServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that $REQUESTS_CA_BUNDLE vouches for is accepted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Client(server.url, token="t") as client:
        assert client.list_models() == []


def test_authority_of_a_session(
    server: TLSServer, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that the user's session vouches for is accepted, whatever the environment vouches for."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with requests.Session() as session:
        session.verify = str(certificate)
        with Client(server.url, token="t", session=session) as client:
            assert client.list_models() == []


def test_authorities_are_read_once(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that vouches is read for the first connection, and all later ones are checked by what was read."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    once = reply(json_response([], headers={"connection": "close"}))
    with TLSServer(once, make_context(tmp_path)[0]) as server, Client(server.url, token="t", max_retries=0) as client:
        client.list_models()
        certificate.unlink()
        client.list_models()

        assert server.accepted == 2


def test_file_without_authorities(server: TLSServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds no certificates is an error that says what to do, each time."""
    (tmp_path / "broken.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "broken.pem"))
    with Client(server.url, token="t", max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(TransportError, match="REQUESTS_CA_BUNDLE"):
                client.list_models()

    assert server.requests == []


@pytest.mark.parametrize("is_trusted", [True, False])
def test_proxy_with_tls(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool) -> None:
    """A proxy's own certificate is checked, and the same file can vouch for it."""
    if is_trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        TLSServer(reply(empty_response(403, headers={"connection": "close"})), make_context(tmp_path)[0]) as proxy,
        Client("https://oa.test", token="t", proxy=proxy.url, max_retries=0) as client,
        pytest.raises(TransportError),
    ):
        client.list_models()

    assert [request.method for request in proxy.requests] == (["CONNECT"] if is_trusted else [])
