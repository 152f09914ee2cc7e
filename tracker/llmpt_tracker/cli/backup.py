"""`llmpt-tracker backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmpt_tracker.settings import TrackerSettings

if TYPE_CHECKING:
    from llmpt_tracker.serve.backup import Backup

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, overwrite: bool) -> None:
    """Put the catalogue, this server's key and the seeder's token into FILE, also while the tracker runs.

    FILE is readable by its owner alone: with what is in it, another machine can pass for this server.
    """
    settings = TrackerSettings.read()
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.serve import backup  # a wrong setting is told before this is loaded

    click.echo(f"wrote {file}: {_told(backup.write(settings, file, overwrite=overwrite, now=utc_now()))}")


@click.command()
@click.argument("file", type=FILE)
def restore(file: Path) -> None:
    """Put back what is in FILE, a backup, once all of it was found whole. The tracker must not run.

    What was there is kept, and its new name shown.
    """
    settings = TrackerSettings.read()
    from llmpt_tracker.clock import utc_now
    from llmpt_tracker.serve import backup

    made, kept = backup.restore(settings, file, now=utc_now())
    click.echo(f"restored {file}: {_told(made)}")
    for one in kept:
        click.echo(f"what was there is kept as {one}")


def _told(made: Backup) -> str:
    return f"a catalogue of {made.size_bytes:,} bytes at schema {made.schema}, of {made.made_at:%Y-%m-%d %H:%M:%S} UTC"
