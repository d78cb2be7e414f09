"""
List the server's plugins, and watch the model use them.

    python examples/plugins.py "What is 1234 * 5678?"

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one, which has a calculator.
"""

from __future__ import annotations

import sys

from oa_client import Client, MessageEvent, PluginEvent, TokenEvent


def main() -> None:
    """Ask with the first plugin of the server."""
    question = " ".join(sys.argv[1:]) or "What is 1234 * 5678?"
    with Client() as client:
        plugins = client.list_plugins()
        for plugin in plugins:
            print(f"{plugin.name}: {plugin.config.description_for_human if plugin.config else plugin.url}")
        if not plugins:
            print("the server offers no plugins")
            return

        with client.stream(question, plugins=plugins[:1], sampling={"max_new_tokens": 60}) as stream:
            for event in stream.events():
                match event:
                    case PluginEvent(thought=thought, action_taken=""):
                        print(f"[{thought}]")
                    case PluginEvent():
                        print(f"[{event.thought}: {event.action_taken} says {event.action_response}]")
                    case TokenEvent(text=text):
                        print(text, end="", flush=True)
                    case MessageEvent(message=message) if message.used_plugin:
                        print(f"\nused: {message.used_plugin['name']}")
                    case MessageEvent():
                        print("\nno plugin was used")


if __name__ == "__main__":
    main()
