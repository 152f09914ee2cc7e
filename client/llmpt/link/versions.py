"""Which llmpt this is, and which of two is the newer."""

from __future__ import annotations

import functools
import re


@functools.cache
def own_version() -> str:
    """Return the version of this llmpt; "0" when it is not installed but lies on the path."""
    import importlib.metadata  # not at the top: it is only needed when there is an agent to talk to

    try:
        return importlib.metadata.version("llmpt")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def is_newer(version: str, other: str) -> bool:
    """Whether `version` is a later release than `other`; what follows the numbers does not count."""
    return _numbers(version) > _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d{1,9}(?:\.\d{1,9}){0,5}", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        del numbers[-1]
    return tuple(numbers)
