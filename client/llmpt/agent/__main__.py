"""`python -m llmpt.agent [--daemonize]`: run this machine's agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from llmpt.agent.host import inheritance
from llmpt.core.errors import LlmptError
from llmpt.core.words import plain
from llmpt.link import environment
from llmpt.settings import ClientSettings

CLEAN = "--clean"  # it has begun anew already


def main(arguments: Sequence[str]) -> int:
    """Run an agent for this user; `--daemonize` in the background. Returns the exit code."""
    _be_clean(arguments)
    from llmpt.agent import background, daemon

    try:
        settings = ClientSettings.read()
        if "--daemonize" in arguments:
            return background.daemonize(settings, os.environ)
        daemon.run(settings, os.environ)
    except (LlmptError, OSError) as error:
        print(f"llmpt agent: {plain(error)}", file=sys.stderr)  # noqa: T201 - the program's own words, for a person or the log
        return 1
    return 0


def replace_process(*arguments: str, environ: Mapping[str, str]) -> NoReturn:
    """Become an agent that has its environment from the allow-list. The process stays the same one, and its parent, too."""
    os.execve(sys.executable, [sys.executable, "-m", "llmpt.agent", *arguments, CLEAN], dict(environ))  # noqa: S606


def _be_clean(arguments: Sequence[str]) -> None:
    """Give up what the starter has left us; begin anew when a library or the environment itself was among it."""
    environ = environment.clean(os.environ)
    inheritance.give_up()
    if CLEAN not in arguments and environ != dict(os.environ) and sys.executable:
        replace_process(*arguments, environ=environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
