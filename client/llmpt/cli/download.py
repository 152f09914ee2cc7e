"""`llmpt download`: a repo of the Hub, from the LAN where it has it, into the ordinary cache or a folder."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

import llmpt
from llmpt.cli.arguments import Pick, picking, repo, repo_type_option
from llmpt.cli.output import INTERRUPTED, json_option, show_json, show_path
from llmpt.host.terminal import as_it_is
from llmpt.hub import snapshot as hub
from llmpt.settings import ClientSettings


@click.command()
@click.argument("name", metavar="REPO")
@click.option("--revision", help="A branch, a tag or a commit; default main.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only these files, such as '*.safetensors'; may be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files; may be repeated.")
@click.option("--local-dir", type=click.Path(path_type=Path, file_okay=False), help="Into this folder, not into the Hub cache.")
@repo_type_option
@json_option
@picking
def download(
    name: str,
    pick: Pick,
    local_dir: Path | None,
    repo_type: str | None,
    as_json: bool,
) -> None:
    """Download REPO (owner/name, datasets/owner/name, …) and print the folder in which it lies."""
    ref = repo(name, repo_type)
    settings = ClientSettings.read()
    if not llmpt.enable_p2p():
        click.echo("llmpt: the LAN is not asked (HF_USE_P2P=0, or see `llmpt doctor`)", err=True)
    elif settings.tracker is None:
        click.echo("llmpt: no tracker is set, so all comes from the Hub: `llmpt join http://server:8000`", err=True)
    signal.signal(signal.SIGINT, _end_at_once)
    with as_it_is():
        folder = hub.snapshot(ref, revision=pick.revision, include=pick.include, exclude=pick.exclude, local_dir=local_dir)
    if as_json:
        show_json({"repo_type": ref.type, "repo_id": ref.id, "revision": pick.revision, "folder": str(folder)})
    else:
        show_path("", folder)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C. The library would wait for every file that is under way; what has arrived is kept for the next try."""
    sys.stdout.flush()
    os.write(2, b"\n")
    os._exit(INTERRUPTED)
