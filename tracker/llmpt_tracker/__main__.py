"""`python -m llmpt_tracker` is `llmpt-tracker`."""

from llmpt_tracker.cli import main

main()
