"""A command that has commands."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group that shows each command's summary whole, however narrow the terminal is."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of the commands; click's own cuts what takes more than a line."""
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
