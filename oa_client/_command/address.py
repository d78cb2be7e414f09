"""The address of a server, as an argument of a command."""

from __future__ import annotations

import click

from oa_client._accounts.target import check_url
from oa_client._values.errors import ConfigurationError


def url(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Check an address here, where it has the name that its user knows."""
    try:
        return None if value is None else check_url("URL", value)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
