"""Values of the API: what goes in (`Sampling`, `Timeout`) and what comes out (`Message`, `ChatInfo`, `ModelInfo`…)."""

from .argument import did_you_mean, show
from .chat import ChatInfo, ChatPage
from .json_object import SURROGATE, as_utc, without_halves
from .message import Message
from .model import ModelInfo, Preset
from .plugin import Plugin, PluginConfig
from .sampling import Sampling
from .timeout import Timeout
from .user import User

__all__ = [
    "SURROGATE",
    "ChatInfo",
    "ChatPage",
    "Message",
    "ModelInfo",
    "Plugin",
    "PluginConfig",
    "Preset",
    "Sampling",
    "Timeout",
    "User",
    "as_utc",
    "did_you_mean",
    "show",
    "without_halves",
]
