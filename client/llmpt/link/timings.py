"""How long a program waits for its machine's agent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkTimings:
    """All in seconds.

    `connect_s`: for the agent to take a connection, and for an answer that takes it no time.
    `hello_s`: for it to say which version it is, or that it makes room.
    `believed_s`: for how long one that has said something is taken to answer.
    `looked_s`: after which it is looked for again whether there is another one. A file of a snapshot takes milliseconds.
    `silence_margin_s`: how much longer than the stall time-out it may say nothing while it fetches. It reports at least
    every half second once bytes flow; before, it may be waiting for the tracker and for peers.
    `ending_s`: for one that is dying to be gone. Until then its socket accepts, and no answer comes.
    `start_s`: for a started one to be ready.
    `retire_s`: for an older one that makes room to be gone.
    """

    connect_s: float = 2.0
    hello_s: float = 2.0
    believed_s: float = 2.0
    looked_s: float = 1.0
    silence_margin_s: float = 5.0
    ending_s: float = 2.0
    start_s: float = 10.0
    retire_s: float = 4.0

    @property
    def start_lock_s(self) -> float:
        """How long another process may be busy starting one."""
        return self.start_s + self.retire_s + 3


TIMINGS = LinkTimings()
