"""Values of the API: what goes in (`Sampling`, `Timeout`) and what comes out (`Message`, `ModelInfo`)."""

from .argument import did_you_mean, show
from .json_object import SURROGATE
from .message import Message
from .model import ModelInfo, Preset
from .sampling import Sampling
from .timeout import Timeout

__all__ = [
    "SURROGATE",
    "Message",
    "ModelInfo",
    "Preset",
    "Sampling",
    "Timeout",
    "did_you_mean",
    "show",
]
