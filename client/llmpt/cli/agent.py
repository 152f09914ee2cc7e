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

from llmpt.agent import messages
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
    from llmpt.agent import daemon

    sys.exit(daemon.daemonize(ClientSettings.read(), os.environ))


@agent.command("stop")
def stop_agent() -> None:
    """End the agent; what it seeds is seeded again when the next one starts."""
    link = _link()
    try:
        pid = link.ask({"op": messages.STATUS})["pid"]
        link.ask({"op": messages.STOP})
    except AgentUnavailable:
        click.echo("no agent is running")
        return
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        if not _holds_lock():
            click.echo("stopped")
            return
        time.sleep(0.05)  # the lock is all there is to look at; it has no event
    raise LlmptError(f"the agent (process {pid}) was asked to stop and has not ended in {STOP_TIMEOUT_S:.0f} s")


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


def _holds_lock() -> bool:
    """Whether some agent still lives: its lock goes with it."""
    import fcntl

    with (messages.runtime_dir(os.environ) / "agent.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


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
