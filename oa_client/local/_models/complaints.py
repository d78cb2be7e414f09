"""What can go wrong with a server that has an OpenAI-compatible API, in words for whoever reads the answer."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from oa_client.local._errors import LocalServerError

MOST_SAID = 300  # characters of the server's own words that an error holds
MOST_WORD = 40  # of a header
MASK = "***"

ADVICE = {
    401: "is the key right? (api_key=, or $OA_UPSTREAM_KEY for `oa-client serve`)",
    403: "is the key right? (api_key=, or $OA_UPSTREAM_KEY for `oa-client serve`)",
    404: "is the model there, and does the address end in /v1, or whatever the documentation of that server says?",
    429: "wait, or look at what is left of the quota",
}


class Complaints:
    """
    The errors of one server. None holds the key, even if the server repeats it.

    Args:
        origin: names the server.
        key: "" if there is none.
    """

    def __init__(self, origin: str, key: str) -> None:
        self._origin = origin
        self._key = key

    def failure(self, error: Exception, *, by_proxy: bool, connect: float, silence: float) -> LocalServerError:
        """
        Tell of a request that could not be carried out.

        Args:
            error: from httpx.
            by_proxy: whether the connection was to a proxy.
            connect: seconds that the connection was given.
            silence: seconds that the server could say nothing.
        """
        causes = list(_causes(error))
        if isinstance(error, httpx.ConnectError):
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
                return self._error(
                    f"the certificate of the upstream {self._origin} is not trusted; "
                    "REQUESTS_CA_BUNDLE can name a file with one to trust"
                )
            if any(isinstance(cause, ssl.SSLError) for cause in causes):
                return self._error(f"https to the upstream {self._origin} failed: does it talk http only?")
        unreached = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
        if isinstance(error, httpx.ProxyError) or (unreached and by_proxy):
            words = "cannot be reached through the proxy that the environment names"
        elif isinstance(error, httpx.ConnectTimeout):
            words = f"cannot be reached: no connection within {connect:g} seconds"
        elif unreached:
            reasons = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror)
            words = f"cannot be reached ({next(reasons, 'no connection')}): is it running?"
        elif isinstance(error, httpx.TimeoutException):
            words = f"said nothing for {silence:g} seconds"
        else:
            kind = type(causes[-1]).__name__
            return self._error(f"the connection to the upstream {self._origin} broke in mid-answer ({kind})")
        return self._error(f"the upstream {self._origin} {words}")

    def refusal(self, response: httpx.Response, body: bytes) -> LocalServerError:
        """Tell of an answer whose status is not 200."""
        if response.has_redirect_location:
            target = urlsplit(response.headers["location"])
            host = target.netloc.rpartition("@")[2]
            where = f"{target.scheme or 'http'}://{host}" if host else "another path"
            return self._error(
                f"the upstream {self._origin} redirects to {where}, which is not followed: "
                "name the address that is meant"
            )
        said = "a web page" if media_type(response) == "text/html" else self._said(body)
        words = f"the upstream {self._origin} answered {response.status_code}: {said or response.reason_phrase}"
        if wait := self.shortened(response.headers.get("retry-after", ""), MOST_WORD):
            words += f"; it says to wait {wait} s" if wait.isdigit() else f"; it says to wait until {wait}"
        if advice := ADVICE.get(response.status_code):
            words += f"; {advice}"
        return self._error(words)

    def no_api(self) -> LocalServerError:
        """Tell of a web page in the place of an answer."""
        return self._error(
            f"the upstream {self._origin} answers with a web page, not with its API: does the address end in /v1, "
            "or whatever the documentation of that server says?"
        )

    def words(self, value: Any) -> str:
        """The words in an error as the various servers send it, or the beginning of whatever it is."""
        for _ in range(3):
            if isinstance(value, Mapping):
                value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), str(value))
        return self.shortened(str(value))

    def shortened(self, text: str, most: int = MOST_SAID) -> str:
        """The beginning of what the server said. Cut first, a part of the key might be left, and would not be found."""
        return self._clean(text)[:most]

    def _said(self, body: bytes) -> str:
        try:
            return self.words(json.loads(body))
        except (ValueError, RecursionError):
            return self.shortened(body.decode(errors="replace").strip())

    def _error(self, words: str) -> LocalServerError:
        return LocalServerError(self._clean(words))

    def _clean(self, text: str) -> str:
        return text.replace(self._key, MASK) if self._key else text


def media_type(response: httpx.Response) -> str:
    """The content type of a response without its parameters, "" if there is none."""
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
