"""The command `llmpt`: run a script with the hook, look after the agent, run a server without Docker."""

from __future__ import annotations

import sys

import click

from llmpt.cli.agent import agent
from llmpt.cli.run import run
from llmpt.cli.serve import serve
from llmpt.core.errors import LlmptError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmpt", prog_name="llmpt")
def group() -> None:
    """Hugging Face models and datasets from your LAN's own swarm."""


for command in (run, agent, serve):
    group.add_command(command)


def main() -> None:
    """Be the command: an error that we foresaw is one sentence on stderr and exit code 1."""
    try:
        group()
    except LlmptError as error:
        click.echo(f"llmpt: {error}", err=True)
        sys.exit(1)
