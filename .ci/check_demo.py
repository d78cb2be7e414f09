"""Run a command and make sure that its output comes piece by piece, as the tokens of an answer do."""

import os
import subprocess
import sys


def main() -> int:
    """Pass the output on as it comes; return 1 if it came at once, or the command failed."""
    read, write = os.pipe()
    with subprocess.Popen(sys.argv[1:], stdout=write) as process:  # noqa: S603 - CI's own command
        os.close(write)
        pieces = 0
        while True:
            piece = os.read(read, 65536)
            if not piece:
                break
            pieces += 1
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
    status = process.returncode
    print(f"the answer came in {pieces} pieces")
    return status or (1 if pieces < 3 else 0)


if __name__ == "__main__":
    sys.exit(main())
