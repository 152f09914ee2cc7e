"""Tokens in the environment: a process that needs none gets none, for a program's environment can be read by its whole user."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "LLMPT_TOKEN")


def without_tokens(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process that asks neither the Hub nor the tracker for anything that takes a token."""
    return {name: value for name, value in environ.items() if name not in TOKENS}


def forget_tokens(environ: MutableMapping[str, str]) -> None:
    """Take the tokens out of this process's own environment, once they were read: what it starts has none of them."""
    for name in TOKENS:
        environ.pop(name, None)
