"""The one place that does network I/O: requests, on connections that another thread can wake."""

from .body import Body
from .interrupt import Interrupt, Interrupted
from .transport import Transport

__all__ = ["Body", "Interrupt", "Interrupted", "Transport"]
