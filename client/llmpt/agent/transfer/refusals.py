"""How the agent says no to a hook."""

from __future__ import annotations

from llmpt.core.errors import LlmptError

Ranges = tuple[tuple[int, int], ...]


class Refused(LlmptError):
    """Nothing was transferred: the ordinary path."""


class Missing(Refused):
    """Nobody of the LAN has it."""


class Yours(Refused):
    """The ordinary path, and for all: this machine holds the lease."""


class TryAgain(Refused):
    """Who led has gone away before anything was decided: whoever follows shall lead."""


class Failed(LlmptError):
    """The file is not whole: fall back. `have` are the byte ranges [start, stop) of it that are on disk and verified.

    `fetch`: this machine holds the lease, and fetches the rest for all.
    """

    def __init__(self, reason: str, have: Ranges = (), *, fetch: bool = False) -> None:
        super().__init__(reason)
        self.have, self.fetch = have, fetch
