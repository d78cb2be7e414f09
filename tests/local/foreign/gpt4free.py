"""
Ask the published gpt4free provider: `.foreign/bin/python gpt4free.py URL COOKIES MODEL PROMPT`, COOKIES being JSON.

Prints what it yields and what it raises, as JSON. The package is used as it is, but that its host is
another: of the modules that it is made of only the provider's own is imported, and rewritten before.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import types
from typing import Any

HOST = "https://open-assistant.io"
NAME = "g4f.Provider.needs_auth.OpenAssistant"


def load_provider(url: str) -> Any:
    """The provider, with a URL in the place of its host."""
    (root,) = importlib.util.find_spec("g4f").submodule_search_locations  # type: ignore[union-attr,misc]
    # NOTE: packages without their code, which would import every other provider and what those need.
    for name in ("g4f", "g4f.Provider", "g4f.Provider.needs_auth"):
        package = types.ModuleType(name)
        package.__path__ = ["/".join([root, *name.split(".")[1:]])]
        sys.modules[name] = package
    importlib.import_module("g4f.debug")
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        source = file.read()
    assert source.count(HOST) == 6
    module = importlib.util.module_from_spec(spec)
    exec(compile(source.replace(HOST, url), spec.origin, "exec"), module.__dict__)  # noqa: S102 - that is the test
    return module.OpenAssistant


async def ask(provider: Any, cookies: dict[str, str], model: str, prompt: str) -> dict[str, Any]:
    """What it yields, and what it raises."""
    texts: list[str] = []
    try:
        async for text in provider.create_async_generator(
            model, [{"role": "user", "content": prompt}], cookies=cookies, max_new_tokens=40
        ):
            texts.append(text)
    except Exception as error:
        return {"texts": texts, "error": f"{type(error).__name__}: {error}"}
    return {"texts": texts, "error": None}


if __name__ == "__main__":
    url, cookies, model, prompt = sys.argv[1:]
    print(json.dumps(asyncio.run(ask(load_provider(url), json.loads(cookies), model, prompt))))
