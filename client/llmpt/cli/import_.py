"""`llmpt import`: what `llmpt export` wrote, into a Hub cache of a place without network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from llmpt.archive.folder import ExportFolder, bytes_here
from llmpt.archive.importing import Import, Imported
from llmpt.cli.output import add_row, console, json_option, show_json, table
from llmpt.cli.progress import bytes_bar
from llmpt.core.settings import hub_cache
from llmpt.core.settings import path as expanded


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Into this Hub cache; default HF_HUB_CACHE.")
@json_option
def import_(folder: Path, cache: Path | None, as_json: bool) -> None:
    """Put the export in DIR into the Hub cache, every file checked against its etag.

    Run again, it goes on where it stopped. Exit code 1 when a file of it was wrong, and left out.
    """
    target = cache if cache is not None else expanded(hub_cache(os.environ))
    work = Import(ExportFolder.open(folder), target)
    manifests = work.manifests()
    with bytes_bar("importing", sum(map(bytes_here, manifests))) as on_bytes:
        done = [work.revision(manifest, on_bytes) for manifest in manifests]
    if as_json:
        problems = [{"what": problem.what, "reason": problem.reason} for problem in work.problems]
        show_json({"cache": str(target), "revisions": [_as_json(one) for one in done], "problems": problems})
    else:
        _show(done, target)
        for problem in work.problems:
            click.echo(f"llmpt: {problem.what}: {problem.reason}", err=True)
    sys.exit(1 if work.problems else 0)


def _show(done: list[Imported], target: Path) -> None:
    made = table("repo", "commit", "files", "copied", title=f"into {target}")
    for one in done:
        known = len(one.manifest.files)
        add_row(made, [str(one.manifest.ref), one.manifest.commit.short, f"{one.files} of {known}", decimal(one.copied_bytes)])
    console().print(made)
    for one in done:
        for ref, before in one.moved_refs:
            click.echo(f"{ref} of {one.manifest.ref} was {before[:12]} and is {one.manifest.commit.short} now")


def _as_json(one: Imported) -> dict[str, Any]:
    return {
        "repo_type": one.manifest.ref.type,
        "repo_id": one.manifest.ref.id,
        "commit": one.manifest.commit.value,
        "complete": one.manifest.complete,
        "files": one.files,
        "copied_bytes": one.copied_bytes,
        "moved_refs": [{"ref": ref.value, "before": before} for ref, before in one.moved_refs],
    }
