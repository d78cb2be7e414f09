"""
Vote for an answer, compare it with another draft, and report it.

    python examples/feedback.py

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one.
"""

from __future__ import annotations

from oa_client import Client, UnsupportedError


def main() -> None:
    """Judge two answers to a question."""
    with Client() as client:
        chat = client.create_chat(sampling={"max_new_tokens": 30})
        try:
            first = chat.ask("Name three rivers.")
            second = chat.regenerate(sampling={"temperature": 1.2, "max_new_tokens": 30}).finish()

            chat.vote(first, -1)
            chat.vote(second, 1)
            for message in chat.branches(first):
                print(f"score {message.score}: {message}")

            chat.evaluate(second, inferior=[first])
            print("the second is better: told")

            try:
                chat.report(first, "These are not rivers.", "feedback")
                report = chat.branches(first)[0].reports[0]
                print(f"reported: {report['report_type']}, {report['reason']}")
            except UnsupportedError as error:
                print(f"not reported: {error}")
        finally:
            chat.delete()


if __name__ == "__main__":
    main()
