"""`python -m llmpt.agent [--daemonize]`: run this machine's agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from llmpt.core.errors import LlmptError
from llmpt.settings import ClientSettings


def main(arguments: Sequence[str]) -> int:
    """Run an agent for this user; `--daemonize` in the background. Returns the exit code."""
    from llmpt.agent import background, daemon

    try:
        settings = ClientSettings.read()
        if "--daemonize" in arguments:
            return background.daemonize(settings, os.environ)
        daemon.run(settings, os.environ)
    except LlmptError as error:
        print(f"llmpt agent: {error}", file=sys.stderr)  # noqa: T201 - the program's own words, for a person or the log
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
