"""
A faithful Open-Assistant on your own machine, to try the client on and to test against.

    from oa_client import Client
    from oa_client.local import LocalServer

    with LocalServer(backend="lorem") as server, Client(server.url, token=server.token) as client:
        print(client.ask("Hello"))

It speaks both dialects of the real server on one address, and imports nothing of the client: a
double that shared the client's constants could only agree with its mistakes.
"""

from oa_client.local._errors import LocalServerError
from oa_client.local._models.backends import Backend
from oa_client.local._models.weights import MODEL, ModelFile, download_model
from oa_client.local._server import LocalServer
from oa_client.local._settings import Settings
from oa_client.local._shared import shared_server

__all__ = [
    "MODEL",
    "Backend",
    "LocalServer",
    "LocalServerError",
    "ModelFile",
    "Settings",
    "download_model",
    "shared_server",
]
