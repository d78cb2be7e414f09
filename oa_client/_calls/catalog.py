"""The models, presets and plugins of a server, which the options of a question may name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
        """Fill in what only the server knows: its model, and the values of a preset."""
        model = question.model or exchange.transport.target.model
        sampling = question.sampling
        if isinstance(sampling, Sampling) and sampling.preset is not None:
            sampling = sampling.over(self._preset(exchange, model, sampling.preset))
        elif self._loaded_models is not None:
            self._model(exchange, model)
        plugins = [self._plugin(exchange, item) if isinstance(item, str) else item for item in question.plugins]
        return replace(question, model=model, sampling=sampling, plugins=plugins)

    def _model(self, exchange: Exchange, name: str) -> ModelInfo:
        # The list at hand may be old.
        for load in (lambda _: self._loaded_models or [], self.load_models):
            models = {info.name: info for info in load(exchange)}
            if name in models:
                return models[name]
        raise ConfigurationError(f"model {name!r} is not on the server{did_you_mean(name, exchange.hide(models))}")

    def _preset(self, exchange: Exchange, model: str, name: str) -> Sampling:
        presets = {preset.name: preset.sampling for preset in self._model(exchange, model).presets}
        if name not in presets:
            raise ConfigurationError(
                f"sampling: no preset {name!r} for {model}{did_you_mean(name, exchange.hide(presets))}"
            )
        return presets[name]

    def _plugin(self, exchange: Exchange, name: str) -> dict[str, Any]:
        for load in (lambda _: self._loaded_plugins or [], self.load_plugins):
            plugins = load(exchange)
            for plugin in plugins:
                if plugin.config and name in (plugin.config.name_for_human, plugin.config.name_for_model):
                    return plugin.to_json()
        names = [plugin.name for plugin in plugins if plugin.name]
        raise ConfigurationError(f"plugin {name!r} is not on the server{did_you_mean(name, exchange.hide(names))}")

    def load_plugins(self, exchange: Exchange) -> list[Plugin]:
        """Ask for the plugins that the server lists, and remember them."""
        self._loaded_plugins = exchange.send(exchange.surface.list_plugins())
        return self._loaded_plugins

    def load_models(self, exchange: Exchange) -> list[ModelInfo]:
        """Ask for the models that the server lists, and remember them."""
        self._loaded_models = exchange.send(exchange.surface.list_models())
        return self._loaded_models
