"""`oa-client setup`: download the demo model."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import DownloadColumn, Progress


@click.command()
def setup() -> None:
    """Download the small demo model that the local server answers with."""
    from oa_client import local

    model = local.MODEL
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    try:
        if not model.downloaded:
            size = model.download_bytes / 1e6
            console.print(f"Downloading {model.name}, {size:.0f} MB ({model.licence}), to {model.path.parent}")
        if console.is_terminal:
            with Progress(*Progress.get_default_columns(), DownloadColumn(), console=console, transient=True) as bar:
                task = bar.add_task(model.name, total=model.download_bytes)
                path = local.download_model(lambda done, total: bar.update(task, completed=done, total=total))
        else:
            # Even without a bar, rich may leave an empty line.
            path = local.download_model()
    except local.LocalServerError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"{model.name} is ready: {path}")
