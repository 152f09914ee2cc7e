"""The command `llmpt`: what people type, on a workstation and, with `serve`, on a server without Docker.

Exit codes: 0 done; 1 a foreseen error, told in one sentence on stderr; 2 a wrong command line; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys

import click

from llmpt.cli.agent import agent
from llmpt.cli.config import config
from llmpt.cli.doctor import doctor
from llmpt.cli.download import download
from llmpt.cli.export import export
from llmpt.cli.import_ import import_
from llmpt.cli.join import join, leave
from llmpt.cli.ls import ls
from llmpt.cli.mirror import mirror
from llmpt.cli.output import INTERRUPTED
from llmpt.cli.run import run
from llmpt.cli.seed import seed, unseed
from llmpt.cli.serve import serve
from llmpt.cli.status import status
from llmpt.core.errors import LlmptError
from llmpt.host.terminal import PlainGroup, plainly


@click.group(cls=PlainGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmpt", prog_name="llmpt")
def group() -> None:
    """Hugging Face models and datasets from your LAN's own swarm."""


for command in (status, download, ls, seed, unseed, join, leave, mirror, export, import_, doctor, config, run, agent, serve):
    group.add_command(command)


def main() -> None:
    """Be the command. An error is told in a sentence, never in a traceback (a program under `run` has its own)."""
    with plainly():
        code = _exit_code()
    sys.exit(code)


def _exit_code() -> int:
    try:
        code = group(standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        code = INTERRUPTED
    except LlmptError as error:
        click.echo(f"llmpt: {error}", err=True)
        code = 1
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        what = f": {error.filename}" if error.filename else ""
        click.echo(f"llmpt: {error.strerror or error}{what}", err=True)
        code = 1
    return code if isinstance(code, int) else 0
