"""`llmpt mirror`: have the server fetch a repo from the Hub, so that it is there before a machine wants it."""

from __future__ import annotations

import sys
import time

import click
from rich.filesize import decimal
from rich.progress import Progress

from llmpt.agent.sharing import share_token
from llmpt.agent.sharing.right import Sharing
from llmpt.cli.arguments import Pick, picking, repo, repo_type_option, tracker
from llmpt.cli.output import add_row, console, count, json_option, show_json, table
from llmpt.cli.progress import bytes_columns
from llmpt.core.errors import LlmptError, TrackerRefused, TrackerUnavailable
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorState
from llmpt.core.words import plain
from llmpt.settings import ClientSettings
from llmpt.tracker.client import TrackerClient

LOOK_EVERY_S = 0.5
PATIENCE_S = 30.0  # with a server that does not answer
ASK_TIMEOUT_S = 10.0
NOT_FETCHED = (MirrorState.FAILED, MirrorState.CANCELLED)


@click.command()
@click.argument("name", metavar="REPO", required=False)
@click.option("--revision", default="main", show_default=True, help="A branch, a tag or a commit.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only these files, such as '*.safetensors'; may be repeated.")
@click.option("--no-wait", is_flag=True, help="Only put it into the server's queue.")
@click.option("--list", "as_list", is_flag=True, help="Show what the server fetches and has fetched of late.")
@repo_type_option
@json_option
@picking
def mirror(
    name: str | None,
    pick: Pick,
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
    asked = _ask(settings, client, MirrorAsk(ref, pick.revision or "main", pick.include or ("*",)))
    if not no_wait:
        asked = _wait(client, asked)
    if as_json:
        show_json(asked.as_json())
        sys.exit(1 if asked.state in NOT_FETCHED else 0)
    if asked.state in NOT_FETCHED:
        raise LlmptError(f"{ref} was not fetched: {_reason(asked)}")
    click.echo(_told(asked))


def _ask(settings: ClientSettings, client: TrackerClient, wanted: MirrorAsk) -> Mirror:
    """Put the mirror into the queue, with the token that is set, else with this machine's own."""

    def ask(known: TrackerClient) -> Mirror:
        return known.ask_mirror(wanted)

    try:
        if settings.token is not None:
            return ask(client.with_token(settings.token, timeout_s=ASK_TIMEOUT_S))
        return Sharing(client.url, share_token.token_path(client.url), client=client.with_token).call(ask)
    except TrackerRefused as error:
        if error.status in (401, 403):
            raise LlmptError(f"{error}; a token to fetch with can be set as LLMPT_TOKEN") from None
        raise


def _wait(client: TrackerClient, asked: Mirror) -> Mirror:
    """Show the progress until the mirror has ended; return it as it is then."""
    repo, answered_at = asked.ask.repo, time.monotonic()
    with Progress(*bytes_columns(), console=console()) as progress:
        bar = progress.add_task(str(repo), total=None)
        while asked.state.is_open:
            said = f"{repo} ({_reason(asked)})" if asked.error else str(repo)
            progress.update(bar, description=said, total=asked.report.bytes_total or None, completed=asked.report.bytes_done)
            time.sleep(LOOK_EVERY_S)
            try:
                asked = client.mirror(asked.id)
                answered_at = time.monotonic()
            except TrackerUnavailable:  # it may be starting anew: the queue is kept
                if time.monotonic() - answered_at > PATIENCE_S:
                    raise
        progress.update(bar, total=asked.report.bytes_total or 1, completed=asked.report.bytes_done)
    return asked


def _told(asked: Mirror) -> str:
    """Say in a line how the mirror is."""
    repo, report = asked.ask.repo, asked.report
    if asked.state is MirrorState.DONE:
        commit = (report.commit or asked.ask.revision)[:12]
        return f"{repo} at {commit} is here: {count(report.files_total, 'file')}, {decimal(report.bytes_total)}"
    return f"{repo} is in the queue; `llmpt mirror --list` shows how far it is"


def _reason(asked: Mirror) -> str:
    if (error := asked.error) is None:
        return "no reason was given"
    later = f"; again in {error.retry_after_s} s" if error.retry_after_s and asked.state.is_open else ""
    return plain(error.message) + (f" ({error.status})" if error.status else "") + later


def _list(client: TrackerClient, as_json: bool) -> None:
    found = client.mirrors()
    if as_json:
        show_json([one.as_json() for one in found])
        return
    if not found:
        click.echo(f"{client.url} has fetched nothing in the last days")
        return
    made = table("repo", "revision", "files", "size", "state")
    for one in found:
        size = f"{decimal(one.report.bytes_done)} of {decimal(one.report.bytes_total)}"
        state = one.state.value + (f": {_reason(one)}" if one.error else "")
        add_row(made, [str(one.ask.repo), one.ask.revision[:12], ", ".join(one.ask.include), size, state])
    console().print(made)
