"""The `oa-client` command; what it does is in `_command`, which needs an extra."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command and return its exit status; without its extra say how to get that."""
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
