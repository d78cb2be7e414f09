"""The models of a server, and their presets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oa_client._values.errors import ConfigurationError, ProtocolError
from oa_client._values.json_object import check_type, split
from oa_client._values.sampling import VALUES, Sampling


@dataclass(frozen=True, slots=True)
class Preset:
    """
    A named set of sampling values that the server recommends for a model.

    Attributes:
        name: the value for `sampling=`.
        sampling: the values; the server itself does not fill them in.
        description: its use.
        extra: fields that this version does not know; "sampling_parameters" in it holds the values that this version
            does not know or `Sampling` refuses. They are not sent.
    """

    name: str
    sampling: Sampling
    description: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, data: Any) -> "Preset":
        """
        Make a preset from the server's JSON object.

        Raises:
            ProtocolError: if it has not the shape of one.
        """
        values, extra = split(cls, data, "preset", "sampling")
        check_type(values, "preset", str, "description", required=("name",))
        parameters = extra.pop("sampling_parameters", None)
        if not isinstance(parameters, Mapping):
            raise ProtocolError("preset: sampling_parameters is not an object")
        possible: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in parameters.items():
            (possible if name in VALUES and _is_possible(name, value) else others)[name] = value
        if others:
            extra["sampling_parameters"] = others
        return cls(**values, sampling=Sampling(**possible), extra=extra)


def _is_possible(name: str, value: Any) -> bool:
    """Return whether `Sampling` takes a value: an odd one must not cost the whole list of models."""
    try:
        Sampling(**{name: value})
    except ConfigurationError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """
    A model that the server lists. A listed model may still have no worker: then answers stay pending.

    Attributes:
        name: the value for `model=`.
        description: often empty.
        presets: the sampling presets, in the server's order.
        extra: fields that this version does not know.
    """

    name: str
    description: str = ""
    presets: tuple[Preset, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, data: Any) -> "ModelInfo":
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
