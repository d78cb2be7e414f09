"""How the model picks its tokens."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from oa_client._values.argument import did_you_mean, is_number, show
from oa_client._values.errors import ConfigurationError

#: The most that 32 bits hold; no count of tokens and no temperature is higher.
_LARGEST = 2**31 - 1
_FLOAT_RANGES = {
    "top_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "temperature": (0.0, math.inf),
    "repetition_penalty": (0.0, math.inf),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """
    How the model picks its tokens; the server chooses values that are None.

    The server checks no ranges and fills in nothing from its presets, so this class refuses impossible values.

    Attributes:
        top_k: only the k likeliest tokens, 1 or more.
        top_p: only the likeliest tokens that together have this probability, 0 to 1.
        typical_p: locally typical sampling, 0 to 1.
        temperature: 0 or more; low is sober, high is wild.
        repetition_penalty: above 0; 1 means no penalty.
        max_new_tokens: the longest answer, in tokens, 1 or more; the server's default is 1024.
        preset: the name of one of the model's presets, which fills in the values that are not given here.

    Raises:
        ConfigurationError: if a value is of the wrong type or impossible.
    """

    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and (not is_number(value, int) or not 1 <= value <= _LARGEST):
                raise ConfigurationError(f"sampling: {name} must be a whole number of 1 or more, not {show(value)}")
        for name, (low, high) in _FLOAT_RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not is_number(value, int, float) or not -_LARGEST <= value <= _LARGEST:
                raise ConfigurationError(f"sampling: {name} must be a number, not {show(value)}")
            if not low <= value <= high or (name == "repetition_penalty" and value == 0):
                bounds = {math.inf: "0 or more"}.get(high, f"from {low:g} to {high:g}")
                bounds = "above 0" if name == "repetition_penalty" else bounds
                raise ConfigurationError(f"sampling: {name} must be {bounds}, not {show(value)}")
        if self.preset is not None and (not isinstance(self.preset, str) or not self.preset):
            raise ConfigurationError(f"sampling: preset must be the name of a preset, not {show(self.preset)}")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "Sampling":
        """
        Make a value from a mapping with the attributes' names as keys.

        Raises:
            ConfigurationError: if a key is unknown (the server would silently drop it) or a value impossible.
        """
        known = [item.name for item in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigurationError(f"sampling: unknown key {show(name)}{did_you_mean(name, known)}")
        return cls(**data)

    def over(self, base: "Sampling") -> "Sampling":
        """Return these values, with those of `base` where they are not set, and without a preset."""
        return Sampling(**{**base.to_json(), **self.to_json()})

    def to_json(self) -> dict[str, Any]:
        """
        Return the values that are set: the server refuses some nulls and ignores the others.

        The preset is left out: the server knows none by name.
        """
        return {name: value for name in VALUES if (value := getattr(self, name)) is not None}


#: The values that are sent to the server.
VALUES = tuple(item.name for item in fields(Sampling) if item.name != "preset")
