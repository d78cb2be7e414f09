"""The JSON that the real servers sent, from the recordings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def recorded_json(name: str = "*") -> Iterator[Any]:
    """Yield every JSON value in the recordings of this name, from answers and events alike."""
    for path in sorted(TRANSCRIPTS.glob(f"*/{name}.json")):
        for step in json.loads(path.read_text(encoding="utf-8"))["steps"]:
            body = "".join(item["data"] for item in step.get("response", {}).get("body_chunks", []))
            for line in body.encode("latin-1").decode("utf-8", "replace").splitlines():
                try:
                    yield json.loads(line.removeprefix("data: "))
                except ValueError:
                    continue


def recorded_objects(*keys: str, name: str = "*") -> Iterator[dict[str, Any]]:
    """Yield every recorded object that has these keys, also inside others."""
    for value in recorded_json(name):
        yield from _objects(value, set(keys))


def _objects(value: Any, keys: set[str]) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if keys <= value.keys():
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, keys)
