"""The hook: what runs in the user's own process, inside huggingface_hub. Standard library only.

`patch` puts it in place; a file then goes through `download`, which asks the machine's agent through `llmpt.link`.
"""
