"""
A faithful Open-Assistant on your own machine, for trying the client and for tests.

    from oa_client import Client
    from oa_client.local import LocalServer

    with LocalServer(backend="lorem") as server, Client(server.url, token=server.token) as client:
        print(client.ask("Hello"))

It is both real servers at one address. It imports nothing from the client, so it does not share the client's mistakes.
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
