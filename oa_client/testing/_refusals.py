"""Refusals in the words of each surface."""

from __future__ import annotations

import json
from http import HTTPStatus

from oa_client.local._refusals import BUSY
from oa_client.testing._faults import Refuse
from oa_client.testing._routes import Request

Headers = list[tuple[bytes, bytes]]


def refusal(request: Request, fault: Refuse) -> tuple[int, Headers, bytes]:
    """The status, headers and body with which a call is refused."""
    status, detail = fault.status, fault.detail
    headers: Headers = []
    if fault.retry_after is not None:
        value = fault.retry_after if isinstance(fault.retry_after, str) else f"{fault.retry_after:g}"
        headers.append((b"retry-after", value.encode("latin-1")))
    if request.surface == "website":
        headers.append((b"connection", b"close"))
    tells = request.surface == "inference" or request.route in ("prompter_message", "assistant_message")
    if status in (204, 304):
        body = b""
    elif not tells or (status == 500 and detail is None and request.surface == "inference"):
        # NOTE: of most failures the website gives no reason, and the inference server of no breakdown.
        body = str(detail or _phrase(status)).encode()
        if tells:
            headers.append((b"content-type", b"text/plain; charset=utf-8"))
    else:
        name = "detail" if request.surface == "inference" else "message"
        if detail is None:
            detail = "Something went wrong" if status == 500 else BUSY if status == 503 else _phrase(status)
        body = json.dumps({name: detail}, ensure_ascii=False, separators=(",", ":")).encode()
        headers.append((b"content-type", b"application/json"))
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    return status, headers, body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
