"""`llmpt agent`: run, start, stop, and look at this machine's agent."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from llmpt.agent import lock, messages
from llmpt.agent.link import Link
from llmpt.core.errors import AgentUnavailable, LlmptError
from llmpt.settings import ClientSettings

STOP_TIMEOUT_S = 15.0


@click.group()
def agent() -> None:
    """The process that fetches for all programs of this user, and goes on seeding."""


@agent.command("run")
def run_agent() -> None:
    """Be the agent, in the foreground (for systemd and containers)."""
    from llmpt.agent import daemon

    daemon.run(ClientSettings.read(), os.environ)


@agent.command("start")
def start_agent() -> None:
    """Start the agent in the background, unless one runs."""
    from llmpt.agent.background import daemonize

    sys.exit(daemonize(ClientSettings.read(), os.environ))


@agent.command("stop")
def stop_agent() -> None:
    """End the agent; what it seeds is seeded again when the next one starts."""
    click.echo("stopped" if _stop() else "no agent is running")


@agent.command("purge")
def purge_agent() -> None:
    """End the agent and remove all that it keeps: state, logs, socket, unfinished downloads. Caches stay as they are."""
    from llmpt.agent.purge import purge

    _stop()
    removed = purge(os.environ)
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo("there was nothing to remove")


def _stop() -> bool:
    """Return when no agent runs any more: True when one did. Raises `LlmptError` when it does not end."""
    link = _link()
    try:
        pid = link.ask({"op": messages.STATUS})["pid"]
        link.ask({"op": messages.STOP})
    except AgentUnavailable:
        return False
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while lock.is_held(os.environ):
        if time.monotonic() > deadline:
            raise LlmptError(f"the agent (process {pid}) was asked to stop and has not ended in {STOP_TIMEOUT_S:.0f} s")
        time.sleep(0.05)  # the lock is all there is to look at; it has no event
    return True


@agent.command("status")
@click.option("--json", "as_json", is_flag=True, help="All there is to know, for programs.")
def agent_status(as_json: bool) -> None:
    """Show what came from where, and what is seeded. Exit code 1 when no agent runs."""
    try:
        status = _link().ask({"op": messages.STATUS})
    except AgentUnavailable as error:
        if as_json:
            click.echo(json.dumps({"running": False, "reason": str(error)}))
        else:
            click.echo(f"{error}; it starts with the first download, or by `llmpt agent start`")
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"running": True, **status}, indent=2))
        return
    _show(status)


def _link() -> Link:
    return Link(ClientSettings.read(), environ=os.environ)


def _show(status: dict[str, Any]) -> None:
    console = Console()
    answers = "answers" if status["tracker_answers"] else "[red]does not answer[/red]"
    console.print(f"agent {status['pid']} · tracker {status['tracker']} ({answers}) · peers on port {status['port']}")
    console.print(
        f"down {decimal(status['downloaded_bytes'])} ({decimal(status['download_rate_bytes_s'])}/s) · "
        f"up {decimal(status['uploaded_bytes'])} ({decimal(status['upload_rate_bytes_s'])}/s) · {status['peers']} peers"
    )
    if status["downloads"]:
        table = Table("file", "size", "from the LAN", "peers", "seconds", "outcome", title="downloads", title_justify="left")
        for row in status["downloads"][-20:]:
            outcome = row["outcome"] + (f": {row['reason']}" if row["reason"] else "")
            name = f"{row['repo_id']}/{row['filename']}"
            lan, peers = decimal(row["bytes_from_lan"]), str(len(row["bytes_by_peer"]))
            table.add_row(name, decimal(row["size"]), lan, peers, f"{row['seconds']:.1f}", outcome)
        console.print(table)
    if status["seeding"]:
        table = Table("blob", "size", "uploaded", "path", title="seeding", title_justify="left")
        for row in status["seeding"][:50]:
            table.add_row(row["etag"][:12], decimal(row["size"]), decimal(row["uploaded_bytes"]), row["path"])
        if len(status["seeding"]) > 50:
            table.caption = f"and {len(status['seeding']) - 50} more (--json shows all)"
        console.print(table)
