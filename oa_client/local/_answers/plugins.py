"""
The server's only plugin, a calculator, and its use in an answer.

The steps and `used_plugin` have the form that the real server's worker sends.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from oa_client.local._answers.calculator import evaluate, find_expressions
from oa_client.local._surfaces.bodies import PLUGIN, PLUGIN_CONFIG
from oa_client.local._surfaces.fields import read_body, read_fields
from oa_client.local._surfaces.http import own_target
from oa_client.local._surfaces.refusals import BreakdownError, RefusalError

NAME = "Calculator"
FOLDER = "/plugins/calculator"
#: uses for one answer, at most
PLUGIN_DEPTH = 4

Get = Callable[[str], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Step:
    """One use of a plugin, on the way to an answer."""

    thought: str
    action: str
    input: str
    response: str


@dataclass(frozen=True)
class PluginUse:
    """The steps, the prompt for the model after them, and the `used_plugin` of the message."""

    steps: Sequence[Step]
    prompt: str
    used: dict[str, Any]


def use_plugin(entry: Mapping[str, Any], prompt: str) -> PluginUse:
    """
    Work out the first `PLUGIN_DEPTH` pieces of arithmetic in a prompt, and put their results before it.

    The first step says only "thinking...", as on the real server. Without arithmetic it is the only step, and the
    prompt stays the same.
    """
    steps = []
    failure: str | None = None
    for expression, _ in zip(find_expressions(prompt), range(PLUGIN_DEPTH), strict=False):
        try:
            response = evaluate(expression)
        except ArithmeticError as error:
            failure = f"{expression}: {error}"
            response = f"ERROR: {error}"
        steps.append(Step(f"I should calculate {expression}", NAME, expression, response))
    if steps:
        results = ", ".join(f"{step.input} = {step.response}" for step in steps)
        prompt = f"It is known that {results}.\n\n{prompt}"
    details = {
        "inner_monologue": [step.thought for step in steps],
        "final_tool_output": steps[-1].response if steps else "",
        "final_prompt": prompt if steps else "",
        "final_generation_assisted": bool(steps),
        "achieved_depth": len(steps) or None,
        "error_message": failure,
        "status": "success" if failure is None else "failure",
    }
    used = {"name": NAME, "url": entry["url"], "trusted": entry["trusted"], "execution_details": details}
    return PluginUse([Step("thinking...", "", "", ""), *steps], prompt, used)


class Plugins:
    """
    The server's plugins and their descriptions.

    Args:
        root: the server's own address.
        leads_here: tells the names of the server from others.
        get: asks the server itself for a path, and returns the status and the body of the answer.
    """

    def __init__(self, root: str, leads_here: Callable[[str], bool], get: Get) -> None:
        self._get = get
        self._leads_here = leads_here
        self._port = urlsplit(root).port
        self._url = f"{root}{FOLDER}/ai-plugin.json"
        self.description = {
            "schema_version": "v1",
            "name_for_model": NAME,
            "name_for_human": NAME,
            "description_for_human": "Works out the arithmetic in your question, exactly.",
            "description_for_model": "Works out an arithmetic expression: numbers, + - * / % ^ and brackets.",
            "api": {"type": "openapi", "url": f"{root}{FOLDER}/openapi.json"},
            "auth": {"type": "none"},
        }
        text = {"content": {"application/json": {"schema": {"type": "string"}}}}
        self.openapi = {
            "openapi": "3.0.2",
            "info": {"title": NAME, "version": "1"},
            "servers": [{"url": f"{root}{FOLDER}"}],
            "paths": {
                "/evaluate": {
                    "get": {
                        "operationId": "evaluate",
                        "summary": "Work out an expression",
                        "parameters": [
                            {"name": "expression", "in": "query", "required": True, "schema": {"type": "string"}}
                        ],
                        "responses": {
                            "200": {"description": "What it comes to", **text},
                            "400": {"description": "It comes to nothing"},
                        },
                    }
                }
            },
        }

    def builtin(self) -> list[dict[str, Any]]:
        """Return the server's list of plugins."""
        config = read_fields(PLUGIN_CONFIG)(self.description)
        return [{"url": self._url, "enabled": True, "plugin_config": config, "trusted": True}]

    def chosen(self, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return the first enabled plugin of a question, or None if it is not this server's."""
        entry = next((entry for entry in entries if entry["enabled"]), None)
        if entry is None or own_target(entry["url"], self._port, self._leads_here) != urlsplit(self._url).path:
            return None
        return entry

    async def configured(self, body: Any) -> dict[str, Any]:
        """
        Return a plugin entry with the description at its URL.

        Raises:
            RefusalError: 404 if nothing is there, 500 for a URL elsewhere: the server asks only itself, so it refuses
                at once instead of after three tries.
            BreakdownError: if it is not the description of a plugin.
        """
        entry = read_body(body, PLUGIN)
        url = entry["url"]
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)
        except ValueError:
            host = None
        if not host:
            raise RefusalError(500, f"Request failed: {url}")
        if (target := own_target(url, self._port, self._leads_here)) is None:
            reason = f"Cannot connect to host {host}:{port} ssl:default [the local server asks nobody but itself]"
            raise RefusalError(500, f"Request failed after 3 retries: {reason}")
        status, content = await self._get(target)
        if status != 200:
            raise (
                RefusalError(404, "Plugin not found") if status == 404 else RefusalError(500, "Failed to fetch plugin")
            )
        try:
            config = read_body(json.loads(content), PLUGIN_CONFIG)
        except (ValueError, RefusalError):
            raise BreakdownError(empty=False) from None
        return {**entry, "plugin_config": config, "trusted": False}
