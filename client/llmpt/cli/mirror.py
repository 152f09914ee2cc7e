"""`llmpt mirror`: have the server fetch a repo from the Hub, so that it is there before a machine wants it."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from llmpt.agent.sharing import share_token
from llmpt.agent.sharing.right import Sharing
from llmpt.cli.arguments import repo, repo_type_option, tracker
from llmpt.cli.output import add_row, console, count, json_option, show_json, table
from llmpt.core.errors import LlmptError, TrackerRefused, TrackerUnavailable
from llmpt.core.repo import RepoRef
from llmpt.settings import ClientSettings
from llmpt.tracker.client import TrackerClient

LOOK_EVERY_S = 0.5
PATIENCE_S = 30.0  # with a server that does not answer
ASK_TIMEOUT_S = 10.0


@click.command()
@click.argument("name", metavar="REPO", required=False)
@click.option("--revision", default="main", show_default=True, help="A branch, a tag or a commit.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only these files, such as '*.safetensors'; may be repeated.")
@click.option("--no-wait", is_flag=True, help="Only put it into the server's queue.")
@click.option("--list", "as_list", is_flag=True, help="Show what the server fetches and has fetched of late.")
@repo_type_option
@json_option
def mirror(
    name: str | None,
    revision: str,
    include: tuple[str, ...],
    no_wait: bool,
    as_list: bool,
    repo_type: str | None,
    as_json: bool,
) -> None:
    """Have the server fetch REPO from the Hub, and wait until it has."""
    settings = ClientSettings.read()
    client = tracker(settings)
    if as_list:
        _list(client, as_json)
        return
    if name is None:
        raise click.UsageError("name a REPO, or give --list")
    ref = repo(name, repo_type)
    row = _ask(settings, client, ref, revision, include or ("*",))
    if not no_wait:
        row = _wait(client, ref, row)
    if as_json:
        show_json(row)
        sys.exit(1 if row["state"] == "failed" else 0)
    if row["state"] == "failed":
        raise LlmptError(f"{ref} was not fetched: {_reason(row)}")
    click.echo(_told(ref, row))


def _ask(
    settings: ClientSettings, client: TrackerClient, ref: RepoRef, revision: str, include: tuple[str, ...]
) -> dict[str, Any]:
    """Put the repo into the queue, with the token that is set, else with this machine's own."""

    def ask(known: TrackerClient) -> dict[str, Any]:
        return known.ask_mirror(ref, revision=revision, include=include)

    try:
        if settings.token is not None:
            return ask(TrackerClient(client.url, token=settings.token, timeout_s=ASK_TIMEOUT_S))
        return Sharing(client.url, share_token.token_path(client.url)).call(ask)
    except TrackerRefused as error:
        if error.status in (401, 403):
            raise LlmptError(f"{error}; a token to fetch with can be set as LLMPT_TOKEN") from None
        raise


def _wait(client: TrackerClient, ref: RepoRef, row: dict[str, Any]) -> dict[str, Any]:
    """Show the progress until the fetch has ended; return the row as it is then."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    answered_at = time.monotonic()
    with Progress(*columns, console=console()) as progress:
        bar = progress.add_task(str(ref), total=None)
        while row["state"] in ("queued", "running"):
            said = f"{ref} ({_reason(row)})" if row["error"] else str(ref)
            total = row["bytes_total"] or None
            progress.update(bar, description=said, total=total, completed=row["bytes_done"])
            time.sleep(LOOK_EVERY_S)
            try:
                row = client.mirror(row["id"])
                answered_at = time.monotonic()
            except TrackerUnavailable:  # it may be starting anew: the queue is kept
                if time.monotonic() - answered_at > PATIENCE_S:
                    raise
        progress.update(bar, total=row["bytes_total"] or 1, completed=row["bytes_done"])
    return row


def _told(ref: RepoRef, row: dict[str, Any]) -> str:
    """Say in a line how the row is."""
    if row["state"] == "done":
        commit = (row["commit"] or row["revision"])[:12]
        return f"{ref} at {commit} is here: {count(row['files_total'], 'file')}, {decimal(row['bytes_total'])}"
    return f"{ref} is in the queue; `llmpt mirror --list` shows how far it is"


def _reason(row: dict[str, Any]) -> str:
    error = row["error"] or {}
    later = error.get("retry_after_s") if row["state"] in ("queued", "running") else None
    status = f" ({error['status']})" if error.get("status") else ""
    return f"{error.get('message', 'no reason was given')}{status}" + (f"; again in {later} s" if later else "")


def _list(client: TrackerClient, as_json: bool) -> None:
    rows = client.mirrors()
    if as_json:
        show_json(rows)
        return
    if not rows:
        click.echo(f"{client.url} has fetched nothing in the last days")
        return
    made = table("repo", "revision", "files", "size", "state")
    for row in rows:
        ref = RepoRef(row["repo_type"], row["repo_id"])
        include = ", ".join(row["include"])
        size = f"{decimal(row['bytes_done'])} of {decimal(row['bytes_total'])}"
        state = row["state"] + (f": {_reason(row)}" if row["error"] else "")
        add_row(made, [str(ref), row["revision"][:12], include, size, state])
    console().print(made)
