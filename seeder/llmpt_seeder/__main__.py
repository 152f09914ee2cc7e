"""`python -m llmpt_seeder` is `llmpt-seeder`."""

from llmpt_seeder.cli import main

if __name__ == "__main__":
    main()
