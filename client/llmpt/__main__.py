"""`python -m llmpt`: the command `llmpt`."""

from __future__ import annotations

from llmpt.cli import main

if __name__ == "__main__":
    main()
