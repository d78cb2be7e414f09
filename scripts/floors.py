"""
Print the oldest versions that setup.cfg allows, as constraints for pip.

    pip install -c <(python3 scripts/floors.py) -e '.[local,test]'
"""

import configparser
import re

from environment import ROOT


def floors() -> list[str]:
    """Return a line `name==version` for each requirement `name>=version` of the package and its extras."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].splitlines()
    for extra in parser["options.extras_require"].values():
        lines += extra.splitlines()
    found = (re.fullmatch(r"([\w.-]+)>=([\w.]+)", line.strip()) for line in lines)
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


if __name__ == "__main__":
    print("\n".join(floors()))
