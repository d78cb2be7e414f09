"""Explain answers that are not a success, and say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oa_client._values.errors import APIError, AuthError, BusyError, NotFoundError, RateLimitError, RequestError
from oa_client._wire.inference import Inference
from oa_client._wire.surface import Surface
from oa_client._wire.website import Website


def error_class(status: int) -> type[APIError]:
    """Return the class for an HTTP status that is not a success."""
    return _ERROR_CLASSES.get(status, APIError)


_ERROR_CLASSES: dict[int, type[APIError]] = {
    400: RequestError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    413: RequestError,
    422: RequestError,
    429: RateLimitError,
    503: BusyError,
}


#: The inference server's words for an access token that has expired.
TOKEN_EXPIRED = "Token expired"  # noqa: S105 - words


def advice(status: int, surface: Surface, is_signed: bool, detail: Any = "", has_worked: bool = False) -> str:
    """
    Return advice about an HTTP status, or "".

    Args:
        status: the status of the answer.
        surface: the surface of the server.
        is_signed: whether credentials were sent.
        detail: the server's explanation.
        has_worked: whether the server has accepted the credentials before.
    """
    if surface.name == Inference.name and isinstance(detail, str):
        if has_worked and detail == "Invalid token":
            return f"the token worked before, so the server has a new secret: {_NEW_TOKEN}"
        if detail in _ADVICE_ON_DETAIL:
            return _ADVICE_ON_DETAIL[detail]
    if surface.name == Website.name:
        if status in (401, 403, 404) and not is_signed:
            return (
                "no credentials are given, so the client took it for a website: pass cookies= (or $OA_COOKIE) for one, "
                f"token= (or $OA_TOKEN) for an inference server, or sign in with {_LOGIN}"
            )
        if status in (401, 403):
            if has_worked:
                return (
                    "the session worked before, so it has expired (or the user is banned): sign in to the website "
                    f"again, and {_NEW_COOKIE}"
                )
            return (
                "the session has expired, or the user is banned; these cookies have not worked before, so they may "
                f"also be another site's: {_NEW_COOKIE}"
            )
        if status == 404:
            return f"{_ADVICE[404]}; a site with its chat switched off answers this to every call"
    return _ADVICE.get(status, "")


_LOGIN = "oa_client.login() or the command `oa-client login URL`"
_NEW_TOKEN = f"log in again, and pass the new token as token=, in $OA_TOKEN or to {_LOGIN}"
_NEW_COOKIE = f"pass a fresh session cookie as cookies=, in $OA_COOKIE or to {_LOGIN}"
#: Advice by the inference server's explanation, whatever the status.
_ADVICE_ON_DETAIL = {
    TOKEN_EXPIRED: f"the token has expired: {_NEW_TOKEN}",
    "Invalid token": (
        "the server does not know the token: pass a whole access token of this very server as token=, in $OA_TOKEN or "
        f"to {_LOGIN}"
    ),
    "Invalid token type": (
        "this is a refresh token, not an access token: pass the access token that came with it as token=, in $OA_TOKEN "
        f"or to {_LOGIN}"
    ),
    "Not authenticated": (
        "no token reached the server: pass an access token as token= or in $OA_TOKEN, and if you do, look for what "
        "takes the header Authorization away in front of the server"
    ),
    "Unauthorized client": "the server does not know the api_key of the TrustedClient",
    "User not found": "the server has no such user: oa_client.login() makes one for a TrustedClient or a name",
    "Debug auth is not allowed": "the server takes no login by a name alone: pass token= in place of username=",
}

_ADVICE = {
    401: f"the token is wrong or has expired: {_NEW_TOKEN}",
    403: f"the server did not see valid credentials: pass an access token as token=, in $OA_TOKEN or to {_LOGIN}",
    404: "this does not exist on the server, or it is another user's; check base_url too",
    413: "shorten the message, or start a new chat",
    422: "see Client.list_models() for the models and their sampling values, `oa-client models` for their names",
    429: "wait before asking again",
    500: "the server failed",
    502: "the server behind the proxy is down",
    503: "the server's queue is full: try again later",
    504: "the server behind the proxy did not answer in time",
}


def error_detail(data: Any, text: str) -> Any:
    """
    Return the server's own explanation, unchanged: a string, or a list of `{"loc", "msg", "type"}`.

    The website says `{"message": …}`, the inference server `{"detail": …}`; failures are plain text or nothing.
    """
    if isinstance(data, Mapping):
        for name in ("message", "detail"):
            if isinstance(data.get(name), (str, list)):
                return data[name]
    return text
