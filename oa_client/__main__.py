"""The `oa-client` command; what it does is in `_command`, which needs an extra."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130
TERMINATED = 143


def main() -> int:
    """
    Run the command and return its exit status; without its extra say how to get that.

    SIGTERM breaks the command off as Ctrl-C does, in good order. After the first line of `main` no
    signal prints a traceback, also while the command is imported.
    """
    terminated = []

    def terminate(*_: object) -> None:
        terminated.append(True)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, terminate)
        status = _run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    # All is done that had to be: from here on a signal ends the process at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return TERMINATED if terminated else status


def _run() -> int:
    try:
        from oa_client._command import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        print(
            "oa-client: the command needs an extra: pip install 'oa-client[local]', "
            "or 'oa-client[cli]' without the local server",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
