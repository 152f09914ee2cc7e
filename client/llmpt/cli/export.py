"""`llmpt export`: revisions of the LAN in a folder, to be carried to where there is no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from llmpt.archive.exporting import TRICKLE, Export, Exported, chosen
from llmpt.archive.folder import ExportFolder, Signed, bytes_here
from llmpt.archive.signing import signed_manifest
from llmpt.cli.arguments import Pick, picking, repo, repo_type_option, tracker
from llmpt.cli.output import add_row, console, json_option, show_json, table
from llmpt.cli.progress import bytes_bar
from llmpt.core.errors import LlmptError, TrackerRefused
from llmpt.core.repo import RepoRef
from llmpt.core.settings import hub_cache
from llmpt.core.settings import path as expanded
from llmpt.settings import ClientSettings
from llmpt.tracker.blobs import BlobHttp, BlobTimings
from llmpt.tracker.catalogue import Catalogue


@click.command()
@click.argument("names", metavar="REPO...", nargs=-1, required=True)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write.")
@click.option("--revision", default="main", show_default=True, help="A branch, a tag or a commit.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only these files, such as '*.safetensors'; may be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files; may be repeated.")
@repo_type_option
@json_option
@picking
def export(
    names: tuple[str, ...],
    folder: Path,
    pick: Pick,
    repo_type: str | None,
    as_json: bool,
) -> None:
    """Write REPO... from the LAN into a folder: content, file lists and torrents, verified, and signed by the server.

    `llmpt import` reads it.

    Run again, it goes on where it stopped. Exit code 1 when files of the LAN did not come.
    """
    settings = ClientSettings.read()
    client = tracker(settings)
    catalogue, revision = Catalogue(client), pick.revision or "main"
    cache = expanded(hub_cache(os.environ))
    found = [_signed(catalogue, cache, repo(name, repo_type), revision) for name in names]
    wanted = [chosen(one, pick.include, pick.exclude) for one in found]
    with bytes_bar("exporting", sum(bytes_here(one.manifest) for one in wanted)) as on_bytes:
        timings, patience_s = BlobTimings(crawl=TRICKLE), settings.stall_timeout_s
        blobs = BlobHttp(client.url, stall_timeout_s=patience_s, trust=client.trust, reader=client.reader, timings=timings)
        work = Export(ExportFolder.create(folder), client, blobs, cache, on_bytes)
        done = [work.revision(one) for one in wanted]
    if as_json:
        show_json({"folder": str(folder), "revisions": [_as_json(one) for one in done]})
    else:
        _show(done)
    sys.exit(1 if any(one.missing for one in done) else 0)


def _signed(catalogue: Catalogue, cache: Path, ref: RepoRef, revision: str) -> Signed:
    try:
        return signed_manifest(catalogue, cache, ref, revision)
    except TrackerRefused as error:
        if error.status != 404:
            raise
        raise LlmptError(f"the LAN does not have {ref} at {revision}; `llmpt ls` shows what it has") from None


def _show(done: list[Exported]) -> None:
    made = table("repo", "commit", "files", "from the LAN", "from this machine's cache", "there already")
    for one in done:
        here = sum(file.here for file in one.manifest.files) - len(one.missing)
        row = [str(one.manifest.ref), one.manifest.commit.short, f"{here} of {len(one.manifest.files)}"]
        add_row(made, [*row, decimal(one.from_lan), decimal(one.from_cache), decimal(one.kept)])
    console().print(made)
    for one in done:
        for signature in one.signatures:
            click.echo(f"{one.manifest.ref} is signed by {signature.name} ({signature.key.fingerprint})")
        if not one.manifest.complete:
            click.echo(f"llmpt: of {one.manifest.ref} the LAN knows only a part; that part was exported", err=True)
        for path, reason in one.missing:
            click.echo(f"llmpt: {one.manifest.ref}/{path} is missing: {reason}", err=True)


def _as_json(one: Exported) -> dict[str, Any]:
    return {
        "repo_type": one.manifest.ref.type,
        "repo_id": one.manifest.ref.id,
        "commit": one.manifest.commit.value,
        "complete": one.manifest.complete,
        "signed_by": [{"name": by.name, "fingerprint": str(by.key.fingerprint)} for by in one.signatures],
        "files": len(one.manifest.files),
        "from_lan_bytes": one.from_lan,
        "from_cache_bytes": one.from_cache,
        "kept_bytes": one.kept,
        "missing": [{"path": path, "reason": reason} for path, reason in one.missing],
    }
