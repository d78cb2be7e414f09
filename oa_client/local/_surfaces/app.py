"""Both surfaces and the chat page on one address, behind a check of who is asking from where."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oa_client.local._answers.assistant import Assistant
from oa_client.local._answers.limits import RequestLimit
from oa_client.local._answers.plugins import Plugins
from oa_client.local._answers.work import BackendWorkers
from oa_client.local._models.models import Models
from oa_client.local._settings import Settings
from oa_client.local._storage.accounts import Accounts
from oa_client.local._storage.clock import Clock
from oa_client.local._storage.store import Store
from oa_client.local._surfaces.auth import Auth
from oa_client.local._surfaces.configs import Configs
from oa_client.local._surfaces.host import Host, is_loopback
from oa_client.local._surfaces.http import own_target
from oa_client.local._surfaces.inference import InferenceRoutes
from oa_client.local._surfaces.page import STOP, Page
from oa_client.local._surfaces.website import WebsiteRoutes

FOREIGN_SITES = (b"cross-site", b"same-site")
"""
What browsers say of requests that pages of other addresses make, images and links included.

For a cookie, another port of this machine is the same site: it alone would let those in. They may
link to the chat page, and no more.

NOTE: browsers say it to loopback addresses and https only. To a server that is reached by other names,
which can only be because its user lets other machines in, a page of another port can send whatever
bears no Origin: links, images and the like. The user is told.
"""


def create_app(
    workers: BackendWorkers,
    models: Models,
    accounts: Accounts,
    store: Store,
    settings: Settings,
    *,
    root: str,
    host: Host,
    debug_login: bool,
    clock: Clock,
) -> ASGIApp:
    """The whole server, which listens on `host` and whose own address is `root`, as one application."""
    plugins = Plugins(root, host.leads_here, lambda target: _get(app, root, target))
    assistant = Assistant(workers, models, plugins, accounts, store, settings)
    limit = RequestLimit(settings, clock)
    website = WebsiteRoutes(assistant, accounts, models, plugins, limit, settings).app()
    auth = Auth(accounts, root, debug_login)
    inference = InferenceRoutes(assistant, auth, Configs(models, plugins), limit, settings).app()
    page = Page(accounts, assistant)
    port = urlsplit(root).port

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        path = scope["path"]
        if not _is_meant(headers, port, host):
            surface: ASGIApp = PlainTextResponse("Not for you", 403)
        elif page.serves(scope):
            surface = page
        elif headers.get(b"sec-fetch-site") in FOREIGN_SITES:
            surface = PlainTextResponse("Not for you", 403)
        elif path == STOP:
            surface = page.stop
        else:
            surface = website if path == "/api" or path.startswith("/api/") else inference
        await surface(scope, receive, send)

    return app


def _is_meant(headers: dict[bytes, bytes], port: int | None, host: Host) -> bool:
    """
    Whether the request was meant for this server, and not by a page of another one.

    A web page elsewhere can have its name resolved to this machine (then the Host is foreign) or
    send requests here (then the Origin is). Pages of this machine may call it by any of its names.
    """
    target = "http://" + headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", target.encode("latin-1")).decode("latin-1")
    if not own_target(target, port, host.leads_here) == own_target(origin, port, host.leads_here) == "":
        return False
    names = {urlsplit(url).hostname or "" for url in (target, origin)}
    return len(names) == 1 or all(map(is_loopback, names))


async def _get(app: ASGIApp, root: str, target: str) -> tuple[int, bytes]:
    """Ask an application for a path, without a socket: the status and the body of its answer."""
    parts = urlsplit(target)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(parts.path) or "/",
        "query_string": parts.query.encode(),
        "headers": [(b"host", urlsplit(root).netloc.encode())],
    }
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages[0]["status"], b"".join(message["body"] for message in messages[1:])
