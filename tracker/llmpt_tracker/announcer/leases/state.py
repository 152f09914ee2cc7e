"""What is known of machines, leases and repos between two polls (leases.py decides)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from llmpt_tracker.announcer.leases import terms


@dataclass(slots=True)
class Machine:
    """`wants` and `repos` are those of its last poll that are not here; `told_here` since when it was told of others that they
    are; `held` its leases by etag, `strays` the fetches that it goes on with though it has lost the lease; it was told to
    poll after `pause_s`."""

    key: str
    token: int
    name: str
    polled_at: float
    patience_s: float = terms.MIN_PATIENCE_S
    pause_s: float = terms.MIN_PAUSE_S
    wants: frozenset[str] = frozenset()
    repos: frozenset[str] = frozenset()
    held: dict[str, Lease] = field(default_factory=dict)
    strays: int = 0
    told_here: dict[str, float] = field(default_factory=dict)

    def hear(self, poll: terms.Poll, here: Collection[str], now: float) -> None:
        """Take over what its poll says of it. What is `here` it will take from there; if it goes on asking, it could not."""
        self.name, self.polled_at = poll.name, now
        self.patience_s = min(max(poll.stall_timeout_s, terms.MIN_PATIENCE_S), terms.MAX_PATIENCE_S)
        self.told_here = {want.etag: self.told_here.get(want.etag, now) for want in poll.considered if want.etag in here}
        in_vain = {etag for etag, since in self.told_here.items() if now - since >= terms.IN_VAIN * self.patience_s}
        missing = [want for want in poll.considered if want.etag not in self.told_here or want.etag in in_vain]
        self.wants = frozenset(want.etag for want in missing)
        self.repos = frozenset(want.repo for want in missing)

    def holds(self, repo: str) -> int:
        """Return how many leases of a repo it holds."""
        return sum(lease.repo == repo for lease in self.held.values())

    def is_present(self, now: float) -> bool:
        """Say whether it polled a moment ago."""
        return now - self.polled_at <= terms.PRESENT_S


@dataclass(slots=True)
class Lease:
    """`repo` is empty as long as nobody has asked for the etag: its holder reported it after a restart of ours. `moved_at`:
    when its holder had last got on with it."""

    etag: str
    size: int
    repo: str
    holder: Machine
    unlimited: bool
    moved_at: float
    bytes: int = 0
    rate_bytes_s: int = 0

    def move(self, progress: terms.Progress, now: float) -> None:
        """Note how far its holder is; it never goes back."""
        if progress.bytes > self.bytes:
            self.moved_at = now
            self.bytes = min(progress.bytes, self.size) if self.size else progress.bytes
        self.rate_bytes_s = progress.rate_bytes_s

    def is_over(self, now: float) -> bool:
        """Say whether its holder is silent, or stands still; who has every byte has the time to read them once."""
        holder = self.holder
        finishing_s = self.size / terms.FINISHING_BYTES_S if self.bytes >= self.size else 0.0
        is_silent = now - holder.polled_at > max(holder.patience_s, 2 * holder.pause_s)
        return is_silent or now - self.moved_at > holder.patience_s + finishing_s


@dataclass(slots=True)
class Repo:
    """`asked`: when each machine did last, in that order; `had`: how many leases it was given."""

    began_at: float
    asked: OrderedDict[str, float] = field(default_factory=OrderedDict)
    had: dict[str, int] = field(default_factory=dict)

    def ask(self, machine: Machine, now: float) -> None:
        """Note that `machine` wants or fetches files of it; who has not asked for a while counts no more."""
        self.asked[machine.key] = now
        self.asked.move_to_end(machine.key)
        while self.asked[oldest := next(iter(self.asked))] < now - terms.ASKING_S:
            del self.asked[oldest]
            self.had.pop(oldest, None)

    @property
    def asked_at(self) -> float:
        """When it was asked for last."""
        return self.asked[next(reversed(self.asked))]

    @property
    def share(self) -> int:
        """How many leases of it each machine may hold."""
        return terms.share(len(self.asked))
