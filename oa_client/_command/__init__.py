"""
The command `oa-client`: a module for each of its commands, and their common parts.

Exit status: 0 done, 1 an error of ours (one line on stderr), 2 wrong usage, 130 interrupted, 143 terminated by SIGTERM
(in `__main__`).
"""

from __future__ import annotations

import click

from oa_client._command import output
from oa_client._command.ask import ask
from oa_client._command.chats import chats
from oa_client._command.group import Group
from oa_client._command.login import login
from oa_client._command.logout import logout
from oa_client._command.models import models
from oa_client._command.serve import serve
from oa_client._command.setup import setup
from oa_client._command.whoami import whoami
from oa_client._values.errors import OAError


def run(arguments: list[str] | None = None) -> int:
    """Run a command line (`sys.argv` if None) and return its exit status."""
    output.prepare()
    try:
        return int(cli.main(arguments, prog_name="oa-client", standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        problem = error.format_message()
    except OAError as error:
        problem = str(error)
    except OSError as error:
        problem = error.strerror or str(error)
        output.check()
    output.complain(problem)
    return 1


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oa-client")
def cli() -> None:
    """
    Talk to an Open-Assistant server, or run a small one here.

    --server or $OA_BASE_URL names the server; `login`, or $OA_TOKEN (inference server) or $OA_COOKIE (website), signs
    in. Without an address, the only server where you are signed in answers, or else a small demo model on this machine.
    """


for _command in (ask, chats, models, login, logout, whoami, serve, setup):
    cli.add_command(_command)
