"""A process with a local server, for a test to kill: `python -m tests.local.victim FILE` keeps its chats there."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oa_client.local import LocalServer, Settings


class Staller:
    """A backend that answers "stall" with one token, and no end."""

    name = "staller"
    description = ""
    slots = 1

    def generate(
        self, messages: Sequence[Mapping[str, str]], sampling: Mapping[str, Any], cancelled: threading.Event
    ) -> Iterator[str]:
        """Say one word, and stop at that if the prompt says so."""
        yield "Hello"
        if messages[-1]["content"] == "stall":
            cancelled.wait()

    def close(self) -> None:
        """Nothing to give back."""


def main() -> None:
    """Serve until killed, after saying where in one line of JSON."""
    settings = Settings(work_queue_max_size=2, pending_event_interval=0.01)
    with LocalServer(Staller(), store=sys.argv[1], settings=settings) as server:
        print(json.dumps({"url": server.url, "token": server.token, "cookies": server.cookies}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
