"""
Set up whatever is missing, start the local server, and print its answer to a question, token by token.

    python3 scripts/demo.py "Why is the sky blue?"
"""

import os
import subprocess
import sys

from environment import HOME, prepare

QUESTION = "Why is the sky blue?"


def main() -> int:
    """Run `oa-client setup` and `oa-client ask` in the project's environment; return the exit status."""
    command = str(prepare("local") / "oa-client")
    status = subprocess.run([command, "setup"]).returncode  # noqa: S603 - our own command
    if status != 0:
        return status
    # The local server is to answer, whichever server the user has: none is named, and no login is kept there.
    environment = {**os.environ, "XDG_CONFIG_HOME": str(HOME / "no-logins")}
    for name in ("OA_BASE_URL", "OA_TOKEN", "OA_COOKIE"):
        environment.pop(name, None)
    ask = [command, "ask", *(sys.argv[1:] or [QUESTION])]
    # Standard input may be a pipe that nobody closes.
    return subprocess.run(ask, env=environment, stdin=subprocess.DEVNULL).returncode  # noqa: S603 - as above


if __name__ == "__main__":
    sys.exit(main())
