"""
Set up whatever is missing, start the local server, and print its answer to a question, token by token.

    python3 scripts/demo.py "Why is the sky blue?"
"""

from __future__ import annotations

import subprocess
import sys

from environment import prepare

QUESTION = "Why is the sky blue?"


def main() -> int:
    """Run `oa-client setup` and `oa-client ask` in the project's environment; return the exit status."""
    command = prepare("local") / "oa-client"
    question = sys.argv[1:] or [QUESTION]
    for arguments in (["setup"], ["ask", *question]):
        status = subprocess.run([command, *arguments]).returncode  # noqa: S603 - our own command
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
