"""`llmpt seed` and `llmpt unseed`: what this machine shares beyond what it downloaded from the swarm."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from llmpt.cli import blobs
from llmpt.cli.arguments import repo, repo_type_option, tracker
from llmpt.cli.blobs import LocalBlob
from llmpt.cli.output import add_row, console, count, json_option, show_json, table
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName, LlmptError, SettingError
from llmpt.core.files import expand_home, real_path
from llmpt.core.repo import RepoRef
from llmpt.core.settings import hub_cache
from llmpt.core.settings import path as expanded
from llmpt.link.answers import Answer, Failed, Ok, Refused
from llmpt.link.client import AgentClient
from llmpt.link.fields import read_path
from llmpt.link.requests import Seed, Unseed
from llmpt.settings import ClientSettings
from llmpt.tracker.client import TrackerClient

SILENCE_S = 60.0  # the agent reports twice a second while it reads
NOT_LISTED = "not in the tracker's catalogue, so it is not shared: the server publishes what may be"


@click.command()
@click.argument("what", metavar="PATH|REPO")
@repo_type_option
@json_option
def seed(what: str, repo_type: str | None, as_json: bool) -> None:
    """Share a file, a folder, or a repo of the Hub cache: what of it the catalogue lists, once it is verified.

    Exit code 1 when nothing of it is seeded.
    """
    settings = ClientSettings.read()
    if not settings.share:
        raise SettingError("this machine shares nothing: LLMPT_SHARE is off; `llmpt config show` says where that is set")
    client = tracker(settings)
    told = client.contact().min_blob_bytes
    min_bytes = settings.min_blob_bytes if told is None else told
    found = list(_local(what, repo_type, client, min_bytes))
    if not found:
        raise LlmptError(f"{what} has no file of {min_bytes} bytes or more; smaller ones have no swarm")
    agent = AgentClient(settings, environ=os.environ)
    rows = [_offer(agent, client, blob) for blob in found]
    seeded = [row for row in rows if row["seeded"]]
    if as_json:
        show_json({"files": rows})
    else:
        made = table("file", "seeded", "why not")
        for row in rows:
            add_row(made, [row["name"], "yes" if row["seeded"] else "no", row["reason"]])
        console().print(made)
    sys.exit(0 if seeded else 1)


@click.command()
@click.argument("what", metavar="PATH|REPO", required=False)
@click.option("--all", "everything", is_flag=True, help="All that this machine seeds.")
@repo_type_option
@json_option
def unseed(what: str | None, everything: bool, repo_type: str | None, as_json: bool) -> None:
    """Share a file, folder or repo no longer, also after a restart. The files stay where they are."""
    if (what is None) != everything:
        raise click.UsageError("name a path or a repo, or give --all")
    agent = AgentClient(ClientSettings.read(), environ=os.environ)
    seeding = agent.status()["seeding"]
    rows = seeding if what is None else [row for row in seeding if _belongs(read_path(row["path"]), row["etag"], what, repo_type)]
    if not rows:
        raise LlmptError(f"nothing is seeded of {what}; `llmpt status` shows what is" if what else "nothing is seeded")
    answer = agent.ask(Unseed(tuple(Etag(row["etag"]) for row in rows)))
    if not isinstance(answer, Ok):
        raise LlmptError(f"the agent says no: {_reason(answer)}")
    if as_json:
        show_json({"unseeded": [row["path"] for row in rows]})
    else:
        click.echo(f"{count(len(rows), 'file')} no longer seeded")


def _local(what: str, repo_type: str | None, client: TrackerClient, min_bytes: int) -> Iterator[LocalBlob]:
    """A path that exists is a path; anything else is the name of a repo."""
    path = expand_home(what)
    if path.exists() and repo_type is None:
        return blobs.under(path, min_bytes=min_bytes)
    ref = _repo(what, repo_type)
    torrents = client.torrents({"repo_type": ref.type, "repo_id": ref.id})
    return blobs.of_repo(_cache(), ref, torrents, min_bytes=min_bytes)


def _repo(what: str, repo_type: str | None) -> RepoRef:
    try:
        return repo(what, repo_type)
    except InvalidName:
        raise LlmptError(f"{what} is neither a file here nor the name of a repo") from None


def _offer(agent: AgentClient, client: TrackerClient, blob: LocalBlob) -> dict[str, Any]:
    """Ask the agent to seed one blob under the first of its etags that the catalogue lists; return the row to show."""
    row: dict[str, Any] = {"name": blob.name, "path": str(blob.path), "etag": None, "seeded": False, "reason": NOT_LISTED}
    listed = next((etag for etag in blob.etags if any(client.torrents({"etag": etag.value}))), None)
    if listed is None:
        return row
    answer = agent.ask(Seed(client.url, listed, blob.path), timeout_s=SILENCE_S, start=True)
    seeded = isinstance(answer, Ok)
    return row | {"etag": listed.value, "seeded": seeded, "reason": "" if seeded else _reason(answer)}


def _reason(answer: Answer) -> str:
    return answer.reason if isinstance(answer, Refused | Failed) else "no reason given"


def _belongs(path: Path, etag: str, what: str, repo_type: str | None) -> bool:
    """Whether a seeded file is meant by `what`: it lies there, is linked from there, or belongs to that repo of the cache."""
    named = expand_home(what)
    if named.exists() and repo_type is None:
        real = real_path(named)
        if real.is_dir() and any(real_path(file) == path for file in named.rglob("*") if file.is_symlink()):
            return True
        return path == real or real in path.parents
    folder = _cache() / _repo(what, repo_type).folder
    return real_path(folder) in path.parents or (folder / "blobs" / Etag(etag).value).exists()


def _cache() -> Path:
    return expanded(hub_cache(os.environ))
