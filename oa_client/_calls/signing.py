"""A call whose debug login is renewed before, if it is about to expire, or when the server says that it has expired."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TypeVar

from oa_client._net.interrupt import Interrupt
from oa_client._net.transport import Transport
from oa_client._values.errors import AuthError, OAError
from oa_client._values.timeout import Timeout
from oa_client._wire.call import Call
from oa_client._wire.inference import debug_login
from oa_client._wire.refusal import TOKEN_EXPIRED

_T = TypeVar("_T")
_log = logging.getLogger("oa_client")


class RenewingTransport:
    """
    A transport for a debug login, which it renews.

    One thread renews a login. Others go on with the old one while it is good, and wait when it is not.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, call: Call[_T], timeout: Timeout, interrupt: Interrupt) -> _T:
        """
        Send a call, with a login that was renewed if need be; not beside an event stream, whose reader would wait.

        Raises:
            OAError: as `Transport.send`, for the call or for the login.
        """
        transport = self._transport
        credentials = transport.target.credentials
        if call.is_public or interrupt.socket is not None:
            return transport.send(call, timeout, interrupt)
        started = monotonic()

        def log_in(username: str) -> str:
            return transport.send(debug_login(username), _after(timeout, started), interrupt)

        if credentials.is_due:
            try:
                credentials.renew(credentials.login, log_in)
            except OAError as error:
                if interrupt.fired:
                    raise
                _log.warning("a login could not be renewed yet: %s", error)
        used = credentials.login
        try:
            return transport.send(call, _after(timeout, started), interrupt)
        except AuthError as error:
            if error.detail != TOKEN_EXPIRED:
                raise
        # The server refused it, so it had no effect.
        credentials.renew(used, log_in, is_stopped=lambda: interrupt.fired)
        return transport.send(call, _after(timeout, started), interrupt)


def signing(transport: Transport) -> Transport | RenewingTransport:
    """Return what sends the calls of a transport: itself, unless its login can be renewed."""
    return RenewingTransport(transport) if transport.target.credentials.is_renewable else transport


def _after(timeout: Timeout, started: float) -> Timeout:
    """Return limits less the time that has passed since."""
    spent = monotonic() - started
    connect, read = (None if limit is None else max(limit - spent, 0.001) for limit in (timeout.connect, timeout.read))
    return Timeout(connect=connect, read=read)
