"""The address at which a server listens, and the names that lead to it."""

from __future__ import annotations

import ipaddress
import re
import socket

from oa_client.local._errors import LocalServerError

LOOPBACK = "127.0.0.1"
#: connections that may wait to be accepted; one more would wait a second
BACKLOG = 1024

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


class Host:
    """
    An address or a name of this machine.

    Attributes:
        is_exposed: whether other machines can reach it, as far as is known without resolving names.

    Args:
        host: an IPv4 or IPv6 address, "localhost", or another name; "0.0.0.0" and "::" are all
            addresses that the machine has.

    Raises:
        ValueError: if it is not one of these.
    """

    def __init__(self, host: str) -> None:
        self._host = host.strip("[]") if host.startswith("[") else host
        self._address = _address(self._host)
        if self._address is None and not _NAME.fullmatch(self._host):
            raise ValueError(f"host {host!r} is neither an address nor a name")
        self.is_exposed = not is_loopback(self._host)
        self._names = {self._host.lower(), socket.gethostname().lower()} if self.is_exposed else set()

    def __str__(self) -> str:
        return self._host

    def listen(self, port: int) -> socket.socket:
        """
        Accept connections; 0 takes any free port.

        Raises:
            LocalServerError: if that fails.
        """
        try:
            family, *_, address = socket.getaddrinfo(
                self._host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            both = family == socket.AF_INET6 and self._is_wildcard and socket.has_dualstack_ipv6()
            return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
        except OSError as error:
            raise LocalServerError(f"cannot serve on port {port} of {self._host}: {error}") from error

    def url(self, port: int) -> str:
        """Return an address for this machine itself, without a slash at its end."""
        host = self._host
        if self._is_wildcard:
            host = "[::1]" if ":" in host else LOOPBACK
        elif ":" in host:
            host = f"[{host}]"
        return f"http://{host}:{port}"

    def leads_here(self, name: str) -> bool:
        """
        Return whether a request to this name or address is meant for this server.

        A foreign web page can resolve its own name to this machine, but its requests then carry that name. So with
        other machines let in, every address counts, but only this machine's names.
        """
        if is_loopback(name):
            return True
        return self.is_exposed and (_address(name) is not None or name.lower() in self._names)

    @property
    def _is_wildcard(self) -> bool:
        return self._address is not None and self._address.is_unspecified


def is_loopback(name: str) -> bool:
    """Return whether a name or an address leads to this machine only."""
    address = _address(name)
    return name.lower() == "localhost" if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
