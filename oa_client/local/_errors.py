"""The one error of the local server."""

from __future__ import annotations

INSTALL = "pip install 'oa-client[local]'"


class LocalServerError(RuntimeError):
    """
    The local server, or the model behind it, cannot be had.

    Its text says what to do: install the extra, fetch the model, or close what is in the way.
    """
