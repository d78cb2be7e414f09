"""A plugin: a tool that a model may use for its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oa_client._values.json_object import OBJECT, TEXT, check_type, join, split


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """
    A plugin's description of itself; fields that it leaves out are None.

    The value is frozen; do not change the JSON inside `api`, `auth`, `endpoints` and `extra`.

    Attributes:
        name_for_model: its name for the model.
        name_for_human: its name for people.
        description_for_model: when and how the model uses it.
        description_for_human: its use, for people.
        schema_version: for example "v1".
        api: its kind and the address of its OpenAPI document: "type", "url" and how users sign in there.
        auth: the kind of credentials that it needs, under "type".
        logo_url: a picture.
        contact_email: of its makers.
        legal_info_url: its terms.
        endpoints: the calls that it takes, if the server has looked them up.
        extra: fields that this version does not know.
    """

    name_for_model: str
    name_for_human: str
    description_for_model: str | None = None
    description_for_human: str | None = None
    schema_version: str | None = None
    api: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    auth: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    logo_url: str | None = field(default=None, repr=False)
    contact_email: str | None = field(default=None, repr=False)
    legal_info_url: str | None = field(default=None, repr=False)
    endpoints: Sequence[Any] | None = field(default=None, hash=False, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Any) -> "PluginConfig":
        """
        Make a plugin's configuration from the server's JSON object.

        Raises:
            ProtocolError: if `data` is not an object, a name is missing, or a field has a wrong type.
        """
        values, extra = split(cls, data, "plugin config")
        check_type(values, "plugin config", str, required=("name_for_model", "name_for_human"))
        check_type(values, "plugin config", TEXT, "description_for_model", "description_for_human", "schema_version")
        check_type(values, "plugin config", TEXT, "logo_url", "contact_email", "legal_info_url")
        check_type(values, "plugin config", OBJECT, "api", "auth")
        check_type(values, "plugin config", (list, type(None)), "endpoints")
        return cls(**values, extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads back to an equal value."""
        return join(self)


@dataclass(frozen=True, slots=True)
class Plugin:
    """
    A plugin, from the server's list or by its URL.

    Attributes:
        url: of its configuration, which is a JSON file.
        enabled: whether an answer may use it.
        trusted: whether it is one of the server's own.
        config: its description of itself, or None if the server has not looked it up.
        extra: fields that this version does not know.
    """

    url: str
    enabled: bool = True
    trusted: bool = False
    config: PluginConfig | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def name(self) -> str | None:
        """Its name for people, or else for the model, or else None."""
        if self.config is None:
            return None
        return self.config.name_for_human or self.config.name_for_model or None

    @classmethod
    def from_json(cls, data: Any) -> "Plugin":
        """
        Make a plugin from the server's JSON object.

        Raises:
            ProtocolError: if `data` is not an object, has no URL, or a field has a wrong type.
        """
        values, extra = split(cls, data, "plugin", "config")
        check_type(values, "plugin", str, required=("url",))
        if values.get("trusted", False) is None:
            # The server's own code allows it.
            del values["trusted"]
        check_type(values, "plugin", bool, "enabled", "trusted")
        config = extra.pop("plugin_config", None)
        return cls(**values, config=None if config is None else PluginConfig.from_json(config), extra=extra)

    def to_json(self) -> dict[str, Any]:
        """Return the server's JSON object, to be sent back in `plugins`."""
        config = None if self.config is None else self.config.to_json()
        ours = {"url": self.url, "enabled": self.enabled, "plugin_config": config, "trusted": self.trusted}
        return {**self.extra, **ours}
