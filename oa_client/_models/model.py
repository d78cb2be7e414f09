"""What a server answers with: its models and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .._errors import ConfigurationError, ProtocolError
from .json_object import check_type, split
from .sampling import Sampling


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of sampling values that the server recommends for a model."""

    name: str
    sampling: Sampling
    description: str = ""

    @classmethod
    def from_json(cls, data: Any) -> Preset:
        """
        Make a preset from the server's JSON object.

        Raises:
            ProtocolError: if it has not the shape of one.
        """
        values, _ = split(cls, data, "preset", "sampling")
        check_type(values, "preset", str, "description", required=("name",))
        parameters = data.get("sampling_parameters")
        if not isinstance(parameters, Mapping):
            raise ProtocolError("preset: sampling_parameters is not an object")
        known = {item.name for item in fields(Sampling)}
        try:
            values["sampling"] = Sampling(**{name: parameters[name] for name in known & parameters.keys()})
        except ConfigurationError as error:
            raise ProtocolError(f"preset {values['name']!r}: {error}") from error
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """
    A model that the server lists. A listed model may still have no worker: then answers stay pending.

    Attributes:
        name: what `model=` takes.
        description: often empty.
        presets: the sampling presets, in the server's order.
        extra: fields that this version does not know.
    """

    name: str
    description: str = ""
    presets: tuple[Preset, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, data: Any) -> ModelInfo:
        """
        Make a model from the server's JSON object.

        Raises:
            ProtocolError: if it has not the shape of one.
        """
        values, extra = split(cls, data, "model", "presets")
        check_type(values, "model", str, "description", required=("name",))
        configs = extra.pop("parameter_configs", [])
        if not isinstance(configs, list):
            raise ProtocolError("model: parameter_configs is not a list")
        return cls(**values, presets=tuple(map(Preset.from_json, configs)), extra=extra)
