"""Plugins, from the server's JSON and back."""

from __future__ import annotations

from typing import Any

import pytest

from oa_client import Plugin, PluginConfig, ProtocolError
from tests.recorded import recorded_objects

CONFIG = {"name_for_model": "retriever", "name_for_human": "Web Retriever"}


def test_every_recorded_plugin() -> None:
    """Each plugin that the real servers sent has a name and no unknown field, and is sent back as it came."""
    count = 0
    for data in recorded_objects("plugin_config", name="models_plugins"):
        plugin = Plugin.from_json(data)
        count += 1

        assert data == plugin.to_json()
        assert data["plugin_config"]["name_for_human"] == plugin.name
        assert plugin.config is not None
        assert ({}, {}) == (plugin.extra, plugin.config.extra)
    assert count > 5


def test_every_plugin_of_recorded_work() -> None:
    """The plugins among the parameters of recorded answers are read and written as they came."""
    works = [work for work in recorded_objects("plugins") if isinstance(work["plugins"], list)]
    plugins = [plugin for work in works for plugin in work["plugins"]]

    assert plugins
    assert plugins == [Plugin.from_json(data).to_json() for data in plugins]


def test_plugin_with_a_url_alone() -> None:
    """All but the URL may be missing, and a plugin made of it can be sent."""
    plugin = Plugin.from_json({"url": "http://h/p.json"})

    assert Plugin("http://h/p.json") == plugin
    assert {"url": "http://h/p.json", "enabled": True, "plugin_config": None, "trusted": False} == plugin.to_json()


def test_unknown_fields() -> None:
    """What this version does not know is kept, whatever it is called, and sent back."""
    data = {
        "url": "http://h/p.json",
        "enabled": False,
        "trusted": True,
        "plugin_config": {**PluginConfig("m", "h").to_json(), "novelty": [1]},
        "config": "not ours",
        "name": "not ours either",
    }
    plugin = Plugin.from_json(data)

    assert {"config": "not ours", "name": "not ours either"} == plugin.extra
    assert PluginConfig("m", "h", extra={"novelty": [1]}) == plugin.config
    assert data == plugin.to_json()


def test_trust_that_is_null() -> None:
    """A plugin of which the server does not say whether it is trusted is not."""
    assert Plugin("http://h") == Plugin.from_json({"url": "http://h", "trusted": None})


@pytest.mark.parametrize(
    ("config", "name"),
    [
        pytest.param(None, None, id="no config"),
        pytest.param(PluginConfig("model", "human"), "human", id="both"),
        pytest.param(PluginConfig("model", ""), "model", id="for the model"),
        pytest.param(PluginConfig("", ""), None, id="neither"),
    ],
)
def test_name(config: PluginConfig | None, name: str | None) -> None:
    """A plugin's name is the one for people, else the one for the model."""
    assert name == Plugin("http://h", config=config).name


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param({}, "plugin: it has no url", id="no url"),
        pytest.param({"url": 5}, "plugin: url ", id="url number"),
        pytest.param({"url": "u", "enabled": None}, "plugin: enabled ", id="enabled null"),
        pytest.param({"url": "u", "trusted": 1}, "plugin: trusted ", id="trusted number"),
        pytest.param({"url": "u", "plugin_config": []}, "plugin config: expected an object", id="config list"),
        pytest.param({"url": "u", "plugin_config": {}}, "plugin config: it has no name_for_model", id="no name"),
    ],
)
def test_malformed_plugin(data: Any, words: str) -> None:
    """A plugin of a wrong shape is refused, and the error names the field."""
    with pytest.raises(ProtocolError, match=f"^{words}"):
        Plugin.from_json(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(pytest.param(name, None, id=f"{name} null") for name in CONFIG),
        *(
            pytest.param(name, 5, id=f"{name} number")
            for name in (
                *("description_for_model", "description_for_human", "schema_version", "logo_url", "contact_email"),
                *("legal_info_url", "api", "auth", "endpoints"),
            )
        ),
    ],
)
def test_wrongly_typed_field_of_a_config(name: str, value: Any) -> None:
    """A field of a wrong type in what a plugin says of itself is refused, and the error names it."""
    with pytest.raises(ProtocolError, match=f"^plugin config: {name} "):
        PluginConfig.from_json({**CONFIG, name: value})
