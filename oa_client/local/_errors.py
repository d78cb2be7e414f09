"""The error of the local server."""

from __future__ import annotations

INSTALL = "pip install 'oa-client[local]'"


class LocalServerError(RuntimeError):
    """
    The local server or its model cannot be used.

    Its text says what to do: for example install the extra, or download the model.
    """
