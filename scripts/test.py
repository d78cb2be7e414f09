"""
Set up whatever is missing, and run the tests; arguments go to pytest.

    python3 scripts/test.py
"""

import subprocess
import sys

from environment import ROOT, prepare


def main() -> int:
    """Run pytest in the project's environment; return its exit status."""
    python = prepare("dev") / "python"
    # More at once than small machines have cores, as many tests wait; not many more, as each may load the model.
    command = [str(python), "-m", "pytest", "-n", "4", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT).returncode  # noqa: S603 - our own words


if __name__ == "__main__":
    sys.exit(main())
