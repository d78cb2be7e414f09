"""The models, presets and plugins of a server, which the options of a question may name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from oa_client._calls.exchange import Exchange
from oa_client._values.argument import did_you_mean
from oa_client._values.errors import ConfigurationError
from oa_client._values.model import ModelInfo
from oa_client._values.plugin import Plugin
from oa_client._values.question import Question
from oa_client._values.sampling import Sampling


class Catalog:
    """The lists of one server, as they were last loaded. All methods raise as `Exchange.send` does."""

    def __init__(self) -> None:
        self._loaded_models: list[ModelInfo] | None = None
        self._loaded_plugins: list[Plugin] | None = None

    def complete(self, exchange: Exchange, question: Question) -> Question:
        """Fill in what only the server knows: its model, and the values of a preset. A list at hand may be old."""
        model, sampling = question.model or exchange.transport.target.model, question.sampling
        preset = sampling.preset if isinstance(sampling, Sampling) else None
        if preset is not None or self._loaded_models is not None:
            info = _find_model(self._loaded_models, model) or _find_model(self.load_models(exchange), model)
            if info is None:
                names = [info.name for info in self._loaded_models or ()]
                raise _unknown(exchange, f"model {model!r} is not on the server", model, names)
            if isinstance(sampling, Sampling) and preset is not None:
                presets = {one.name: one.sampling for one in info.presets}
                if preset not in presets:
                    raise _unknown(exchange, f"sampling: no preset {preset!r} for {model}", preset, presets)
                sampling = sampling.over(presets[preset])
        plugins = list(question.plugins)
        for index, name in enumerate(plugins):
            if isinstance(name, str):
                plugin = _find_plugin(self._loaded_plugins, name) or _find_plugin(self.load_plugins(exchange), name)
                if plugin is None:
                    names = [plugin.name for plugin in self._loaded_plugins or () if plugin.name]
                    raise _unknown(exchange, f"plugin {name!r} is not on the server", name, names)
                plugins[index] = plugin.to_json()
        return replace(question, model=model, sampling=sampling, plugins=plugins)

    def load_plugins(self, exchange: Exchange) -> list[Plugin]:
        """Ask for the plugins that the server lists, and remember them."""
        self._loaded_plugins = exchange.send(exchange.surface.list_plugins())
        return self._loaded_plugins

    def load_models(self, exchange: Exchange) -> list[ModelInfo]:
        """Ask for the models that the server lists, and remember them."""
        self._loaded_models = exchange.send(exchange.surface.list_models())
        return self._loaded_models


def _find_model(models: Sequence[ModelInfo] | None, name: str) -> ModelInfo | None:
    return {info.name: info for info in models or ()}.get(name)


def _find_plugin(plugins: Sequence[Plugin] | None, name: str) -> Plugin | None:
    for plugin in plugins or ():
        if plugin.config and name in (plugin.config.name_for_human, plugin.config.name_for_model):
            return plugin
    return None


def _unknown(exchange: Exchange, problem: str, name: str, known: Iterable[str]) -> ConfigurationError:
    return ConfigurationError(f"{problem}{did_you_mean(name, exchange.hide(known))}")
