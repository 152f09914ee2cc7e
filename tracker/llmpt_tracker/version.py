"""Which version this is, and which clients it works with."""

from __future__ import annotations

import re
from importlib.metadata import version

VERSION = version("llmpt")
PROTOCOL = 1  # of the API: raised when something changes its meaning or goes; what is added changes nothing
OLDEST_CLIENT = "0.1.0"  # raised when an older client would misunderstand us

_CLIENT = re.compile(r"llmpt/([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})")


def outdated_client(user_agent: str) -> str | None:
    """Return the version of a client of ours that is too old to be served; None for a newer one, or another program.

    `user_agent` is the header of that name, such as `llmpt/0.1.0`; what follows the numbers (`.dev3`, `rc1`) doesn't count.
    """
    found = _CLIENT.match(user_agent)
    if found is None or _numbers(found[1]) >= _numbers(OLDEST_CLIENT):
        return None
    return found[1]


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))
