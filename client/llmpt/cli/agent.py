"""`llmpt agent`: run, start, stop, and look at this machine's agent."""

from __future__ import annotations

import os
import signal
import time
from typing import NoReturn

import click

from llmpt.cli.output import show_path
from llmpt.cli.status import status
from llmpt.core.errors import AgentUnavailable, LlmptError
from llmpt.link import environment, lock
from llmpt.link.client import AgentClient
from llmpt.link.requests import Stop
from llmpt.settings import ClientSettings

STOP_TIMEOUT_S = 15.0


@click.group()
def agent() -> None:
    """The process that fetches for all programs of this user, and goes on seeding."""


@agent.command("run")
def run_agent() -> None:
    """Be the agent, in the foreground (for systemd and containers)."""
    _become()


@agent.command("start")
def start_agent() -> None:
    """Start the agent in the background, unless one runs."""
    _become("--daemonize")


@agent.command("stop")
def stop_agent() -> None:
    """End the agent; what it seeds is seeded again when the next one starts."""
    click.echo("stopped" if _stop() else "no agent is running")


@agent.command("purge")
def purge_agent() -> None:
    """End the agent and remove all that it keeps: state, logs, socket, unfinished downloads. Caches stay as they are."""
    from llmpt.agent.host.purge import purge

    _stop()
    removed = purge(os.environ)
    for path in removed:
        show_path("removed ", path)
    if not removed:
        click.echo("there was nothing to remove")


def _become(*arguments: str) -> NoReturn:
    """Be an agent from here on, with none of this shell's accidents."""
    from llmpt.agent.__main__ import replace_process

    ClientSettings.read()  # what is wrong with them is said in our own words
    environ = environment.clean(os.environ)
    os.chdir("/")  # Python would look for modules in a folder that happens to be the shell's
    replace_process(*arguments, environ=environ)


def _stop() -> bool:
    """Return when no agent runs any more: True when one did. Raises `LlmptError` when it does not end."""
    client, pid = _client(), 0
    try:
        pid = client.status()["pid"]
        client.ask(Stop())
    except AgentUnavailable as error:
        if not lock.is_held(os.environ):
            return pid != 0  # it may have ended before it could say that it does
        pid = _end_silent(error)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while lock.is_held(os.environ):
        if time.monotonic() > deadline:
            raise LlmptError(f"the agent (process {pid}) was asked to stop and has not ended in {STOP_TIMEOUT_S:.0f} s")
        time.sleep(0.05)  # the lock is all there is to look at; it has no event
    return True


def _end_silent(why: AgentUnavailable) -> int:
    """End an agent that lives and gives no answer (it is suspended, or out of descriptors); return its process."""
    pid = lock.holder(os.environ)
    if pid is None:
        raise LlmptError(f"an agent runs, its process cannot be seen from here, and {why}; end it where it was started")
    try:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)  # a suspended one would never hear it
    except ProcessLookupError:
        pass
    return pid


agent.add_command(status)


def _client() -> AgentClient:
    return AgentClient(ClientSettings.read(), environ=os.environ)
