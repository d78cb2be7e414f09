"""The routes for the server's models and plugins. They are open to all."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oa_client.local._answers.calculator import evaluate
from oa_client.local._answers.plugins import FOLDER, Plugins
from oa_client.local._models.models import Models
from oa_client.local._surfaces.fastapi import json_response, read_json, read_query, worded
from oa_client.local._surfaces.http import Handler
from oa_client.local._surfaces.refusals import RefusalError

#: bytes of a body that anybody may send
PLUGIN_BYTES = 1 << 20


class Configs:
    """The routes below `/configs` and `/plugins`."""

    def __init__(self, models: Models, plugins: Plugins) -> None:
        self._models = models
        self._plugins = plugins

    def routes(self) -> dict[str, dict[str, Handler]]:
        """The handlers, by path and method."""
        return {
            "/configs/model_configs": {"GET": self._list_models},
            "/configs/builtin_plugins": {"GET": self._list_plugins},
            "/configs/plugin_config": {"POST": worded(self._configure_plugin)},
            f"{FOLDER}/ai-plugin.json": {"GET": self._describe_plugin},
            f"{FOLDER}/openapi.json": {"GET": self._describe_api},
            f"{FOLDER}/evaluate": {"GET": worded(self._evaluate)},
        }

    async def _list_models(self, request: Request) -> Response:
        return json_response(self._models.to_json())

    async def _list_plugins(self, request: Request) -> Response:
        return json_response(self._plugins.builtin())

    async def _configure_plugin(self, request: Request) -> Response:
        return json_response(await self._plugins.configured(await read_json(request, PLUGIN_BYTES)))

    async def _describe_plugin(self, request: Request) -> Response:
        return json_response(self._plugins.description)

    async def _describe_api(self, request: Request) -> Response:
        return json_response(self._plugins.openapi)

    async def _evaluate(self, request: Request) -> Response:
        try:
            return json_response(evaluate(read_query(request, "expression", str)))
        except (ArithmeticError, ValueError) as error:
            raise RefusalError(400, str(error)) from None
