"""A command with commands of its own."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group that shows the whole summary of each command, however narrow the terminal is."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of the commands; click's own cuts long summaries."""
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
