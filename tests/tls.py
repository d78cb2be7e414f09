"""A scripted server with TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from tests.scripted import Handler, ScriptedServer

# Of 127.0.0.1 and oa.test, in these tests alone; it signs itself.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRxaUEqIMVGN2+WRE
022SstmCFYR18vuxEnve7OjzX4mhRANCAAQelKQRAYyHrvxcyFR+EQzeX7qT+fCG
ZbCZYI6eElcnYPKVkmM+Xo6yIoiLqJGbZUfrD5bPXe/4zykT8lUBeM/R
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAkxMjcuMC4w
LjEwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CTEyNy4wLjAuMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB6UpBEBjIeu/FzI
VH4RDN5fupP58IZlsJlgjp4SVydg8pWSYz5ejrIiiIuokZtlR+sPls9d7/jPKRPy
VQF4z9GjXDBaMB0GA1UdDgQWBBStiqn53zM9vSItw1CCU2/8IxvEVjAYBgNVHREE
ETAPhwR/AAABggdvYS50ZXN0MA4GA1UdDwEB/wQEAwIChDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIBuaI18tJx8tPTEq5TvcSLZbpWUpof+Cjoqc
gzZBrTY0AiBEGXD26zGpt2kGP6TLEBP1t2z3cCG6eQPjw4C5OBQ0gg==
-----END CERTIFICATE-----
"""


def make_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the server's side of TLS, and the file with the certificate that its clients have to trust."""
    file = folder / "server.pem"
    file.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file


def wrap(context: ssl.SSLContext, sock: Any) -> ssl.SSLSocket:
    """Have the server's end of a connection, or what listens, talk TLS, from its first use on."""
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


class TLSServer(ScriptedServer):
    """A scripted server with TLS."""

    def __init__(self, handler: Handler, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(handler)
        self.url = self.url.replace("http:", "https:")

    def _accept(self) -> None:
        self._listener = wrap(self._context, self._listener)
        super()._accept()
