"""The one place that does network I/O: requests, on connections that another thread can wake."""

from .interrupt import Interrupt, Interrupted
from .transport import Body, Transport

__all__ = ["Body", "Interrupt", "Interrupted", "Transport"]
