"""Refusals in the words of each surface, by the parts of the local server that it words its own with."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from oa_client.local._surfaces import fastapi as _fastapi
from oa_client.local._surfaces import nextjs as _nextjs
from oa_client.local._surfaces.refusals import BUSY
from oa_client.testing._faults import Refuse
from oa_client.testing._routes import Request, Route

DETAILS: dict[tuple[Route | None, int], str] = {
    (None, 401): "Invalid token",
    (None, 403): "Not authenticated",
    ("create_chat", 404): "User not found",
    ("delete_account", 404): "User not found",
    ("get_chat", 404): "Chat not found",
    ("delete_chat", 404): "Chat not found",
    ("plugin_config", 404): "Plugin not found",
    ("prompter_message", 400): "Parent message not found",
    ("prompter_message", 413): "Message content exceeds max length",
    ("assistant_message", 400): "Message not found",
    ("assistant_message", 413): "Maximum number of messages reached for this chat",
    ("assistant_message", 503): BUSY,
    ("events", 400): "Only assistant messages can be streamed.",
}
"""What the inference server says with a status if the test does not, by route, None being any."""

SILENT = frozenset({"update_chat", "prompter_message", "vote", "message_eval", "report"})
"""The routes whose 500 is empty on the inference server; elsewhere it has a text."""

TOLD = frozenset({"prompter_message", "assistant_message"})
"""The routes on which the website gives a reason."""


def refusal(request: Request, fault: Refuse) -> Response:
    """The answer with which a call is refused."""
    response = _on_website(request, fault) if request.surface == "website" else _on_inference(request, fault)
    if fault.retry_after is not None:
        value = fault.retry_after if isinstance(fault.retry_after, str) else f"{fault.retry_after:g}"
        response.headers["retry-after"] = value
    return response


def _on_inference(request: Request, fault: Refuse) -> Response:
    status, detail = fault.status, fault.detail
    if status in (204, 304):
        response = Response(status_code=status)
    elif status == 500 and detail is None:
        text = "" if request.route in SILENT else _phrase(status)
        response = Response(text, status, media_type="text/plain" if text else None)
    else:
        response = _fastapi.json_response({"detail": _detail(request, status) if detail is None else detail}, status)
    response.raw_headers.insert(0, _fastapi.SERVER)
    return response


def _on_website(request: Request, fault: Refuse) -> Response:
    status, detail = fault.status, fault.detail
    # Without a reason these are the website's own: it knows nobody by that cookie, or has no such page.
    if status in (204, 304) or (status in (403, 404) and detail is None):
        return _nextjs.bare_response(status)
    if request.route not in TOLD:
        return _nextjs.bare_response(status, _phrase(status) if detail is None else str(detail))
    if detail is None:
        detail = "Something went wrong" if status == 500 else _detail(request, status)
    return _nextjs.json_response({"message": detail}, status)


def _detail(request: Request, status: int) -> str:
    return DETAILS.get((request.route, status)) or DETAILS.get((None, status)) or _phrase(status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
