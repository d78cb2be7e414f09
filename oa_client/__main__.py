"""The `oa-client` command; what it does is in `_command`, which needs an extra."""

from __future__ import annotations

import signal
import sys
from types import FrameType

REPEAT = 0.01  # seconds


class Terminated(SystemExit):
    """SIGTERM came. Python ends with this status, and prints nothing, wherever it strikes."""

    status = 143


class Interrupted(Terminated, KeyboardInterrupt):
    """Ctrl-C was pressed, for which the command may have a word."""

    status = 130


def main() -> int:
    """
    Run the command and return its exit status; without its extra say how to get that.

    SIGTERM breaks the command off as Ctrl-C does, in good order; a second one ends it at once. No signal prints a
    traceback once this has begun, also while the command is imported.
    """
    # One that is ignored stays so, as in a shell's background.
    ours = [number for number in _HANDLERS if signal.getsignal(number) is not signal.SIG_IGN]
    hook = sys.unraisablehook
    try:
        for number in ours:
            signal.signal(number, _HANDLERS[number])
        sys.unraisablehook = _repeat
        return _run()
    except KeyboardInterrupt:
        return Interrupted.status
    finally:
        # All is done that had to be: from here on a signal ends the process at once.
        sys.unraisablehook = hook
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted(Interrupted.status)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated(Terminated.status)


_HANDLERS = {signal.SIGINT: _interrupt, signal.SIGTERM: _terminate}


def _repeat(struck: sys.UnraisableHookArgs) -> None:
    """Have a signal strike again, a little later, if it struck in a finalizer: Python swallows what is raised there."""
    kind = type(struck.exc_value)
    if not issubclass(kind, Terminated) or not hasattr(signal, "setitimer"):
        sys.__unraisablehook__(struck)
        return

    def strike(_number: int, _frame: FrameType | None) -> None:
        raise kind(kind.status)

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, REPEAT)


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
