"""`llmpt ls`: what the LAN has."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.filesize import decimal
from rich.text import Text

from llmpt.cli.arguments import repo, repo_type_option, tracker
from llmpt.cli.output import add_row, console, json_option, show_json, table
from llmpt.core.errors import LlmptError, TrackerRefused
from llmpt.core.repo import RepoRef
from llmpt.settings import ClientSettings
from llmpt.tracker.catalogue import Catalogue, File, Manifest, Repo, Revision
from llmpt.tracker.client import TrackerClient


@click.command()
@click.argument("terms", nargs=-1)
@click.option("--repo", "name", metavar="REPO", help="Show the files of this repo, and how many machines have each.")
@click.option("--revision", default="main", show_default=True, help="With --repo: a branch, a tag or a commit.")
@repo_type_option
@json_option
def ls(terms: tuple[str, ...], name: str | None, revision: str, repo_type: str | None, as_json: bool) -> None:
    """List the repos that the LAN has; with TERMS, those in which every word occurs."""
    client = tracker(ClientSettings.read())
    if name is None:
        _list(client, " ".join(terms), as_json)
    elif terms:
        raise click.UsageError("either words to search for, or --repo")
    else:
        _show(client, repo(name, repo_type), revision, as_json)


def _list(client: TrackerClient, terms: str, as_json: bool) -> None:
    repos = Catalogue(client).repos(terms)
    if as_json:
        show_json({"tracker": client.url, "repos": [_as_json(one) for one in repos]})
        return
    if not repos:
        click.echo(f"{client.url} has nothing" + (f" with {terms!r} in it" if terms else " yet"))
        return
    made = table("repo", "newest revision", "files here", "size", "listing")
    for one in repos:
        for newest in one.revisions[:1]:
            label = ", ".join(map(str, newest.refs)) or newest.commit.short
            here = part(newest.files_here, newest.files)
            listing = "whole" if newest.complete else "in part"
            add_row(made, [str(one.ref), label, here, decimal(newest.size_here_bytes), listing])
    console().print(made)


def _as_json(one: Repo) -> dict[str, Any]:
    return {"repo_type": one.ref.type, "repo_id": one.ref.id, "revisions": list(map(_revision_as_json, one.revisions))}


def _revision_as_json(one: Revision) -> dict[str, Any]:
    return asdict(one) | {"commit": one.commit.value, "refs": list(map(str, one.refs))}


def _show(client: TrackerClient, ref: RepoRef, revision: str, as_json: bool) -> None:
    try:
        manifest = Catalogue(client).manifest(ref, revision)
    except TrackerRefused as error:
        if error.status != 404:
            raise
        raise LlmptError(f"the LAN does not have {ref} at {revision}; `llmpt ls {ref.id}` shows what it has of it") from None
    query = {"repo_type": ref.type, "repo_id": ref.id, "revision": manifest.commit.value}
    seeders = {torrent.etag: torrent.seeders for torrent in client.torrents(query)}
    if as_json:
        show_json(_manifest_as_json(manifest, seeders))
        return
    made = table("file", "size", "machines that have it")
    for file in manifest.files:
        machines = seeders.get(file.etag.value)
        shown = "not here" if not file.here else "–" if machines is None else str(machines)
        add_row(made, [file.path.value, decimal(file.size_bytes), shown])
    here = [file for file in manifest.files if file.here]
    known = "whole listing" if manifest.complete else "known in part"
    files = f"{part(len(here), len(manifest.files))} {'file' if len(manifest.files) == 1 else 'files'} here"
    size = decimal(sum(file.size_bytes for file in here))
    out = console()
    out.print(made)
    out.print(Text(f"{ref} at {manifest.commit.short}: {known}, {files}, {size}; –: too small for a swarm"))


def part(here: int, known: int) -> str:
    """Write how many of the files that are known are here: 7 of 11; one number when all are."""
    return str(known) if here == known else f"{here} of {known}"


def _manifest_as_json(manifest: Manifest, seeders: dict[str, int]) -> dict[str, Any]:
    return {
        "repo_type": manifest.ref.type,
        "repo_id": manifest.ref.id,
        "commit": manifest.commit.value,
        "refs": list(map(str, manifest.refs)),
        "complete": manifest.complete,
        "files": [_file_as_json(file) | {"seeders": seeders.get(file.etag.value)} for file in manifest.files],
    }


def _file_as_json(file: File) -> dict[str, Any]:
    return asdict(file) | {"path": file.path.value, "etag": file.etag.value}
