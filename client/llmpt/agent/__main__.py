"""`python -m llmpt.agent [--daemonize]`: run this machine's agent."""

from __future__ import annotations

import sys

from llmpt.agent.daemon import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
