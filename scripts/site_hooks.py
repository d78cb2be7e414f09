"""What `mkdocs.yml` has no setting for: links from names in code type, and the looks of code and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pygments.formatters import HtmlFormatter

import oa_client
from oa_client import local, provider, testing

STYLES = "styles.css"
#: Long cells of tables are broken into lines, and code has one frame.
_CHANGES = """
.wy-table-responsive table td, .wy-table-responsive table th { white-space: normal; }
.rst-content div.highlight { background: none; border: 0; padding: 0; }
.rst-content div.highlight pre { margin: 0; }
"""
#: Where each public class is.
_HOMES = {name: module for module in (provider, local, testing, oa_client) for name in module.__all__}
#: A heading of the reference, or a name in code type: `Client.stream()`, `Client`, or `stream` below the heading
#: `Client`. Names of parameters are bold.
_PLACES = re.compile(
    r'<h\d id="oa_client\.(?:\w+\.)*?(?P<heading>[A-Z]\w+)'
    r"|(?<!<b>)<code>(?:oa_client\.)?(?P<names>\w+(?:\.\w+)?)(?:\(\))?</code>"
)


def on_config(config: Any) -> Any:
    """Have each page load the styles."""
    config.extra_css.append(STYLES)
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Have public names lead to the reference."""
    heading = ""

    def link(found: re.Match[str]) -> str:
        nonlocal heading
        heading = found["heading"] or heading
        names = found["names"]
        if not names:
            return found[0]
        if "." not in names and callable(getattr(getattr(_HOMES.get(heading), heading, None), names, None)):
            names = f"{heading}.{names}"
        name, _, member = names.partition(".")
        home = _HOMES.get(name)
        if home is None:
            return found[0]
        value = getattr(getattr(home, name), member, None)
        if not callable(value) and not isinstance(value, property):
            # Its class describes it.
            names = name
        # What is not in the reference stays as it is.
        return f'<autoref identifier="{home.__name__}.{names}" optional>{found[0]}</autoref>'

    return _PLACES.sub(link, html)


def on_post_build(config: Any) -> None:
    """Write the styles."""
    colours: str = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    Path(config.site_dir, STYLES).write_text(colours + _CHANGES, encoding="utf-8")
