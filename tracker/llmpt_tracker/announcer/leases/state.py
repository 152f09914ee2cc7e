"""What is known of a machine, a lease and a repo between two polls (book.py decides)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from llmpt.core.blob import Etag
from llmpt.core.leases import FetchProgress, Poll
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.leases.terms import LeaseTerms


@dataclass(slots=True, eq=False)
class Machine:
    """One life of an agent, or the appliance.

    wants, repos: those of its last poll that are not here
    listed: those wants of its last poll that have a torrent, as long as that matters
    told_here: since when it was told of the others that they are
    held: its leases
    strays: the fetches that it goes on with though it has lost the lease
    pause_s: it was told to poll after so many seconds
    hub_rate_bytes_s: of its own way to the Hub, as it says; 0: not known
    """

    key: str
    token: int
    name: str
    polled_at: float
    terms: LeaseTerms
    patience_s: float = 0.0
    pause_s: float = 0.0
    hub_rate_bytes_s: int = 0
    wants: frozenset[Etag] = frozenset()
    repos: frozenset[RepoRef] = frozenset()
    held: dict[Etag, Lease] = field(default_factory=dict)
    strays: int = 0
    listed: frozenset[Etag] = frozenset()
    told_here: dict[Etag, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patience_s, self.pause_s = self.terms.min_patience_s, self.terms.min_pause_s

    def hear(self, poll: Poll, here: Collection[Etag], now: float) -> None:
        """Take over what its poll says of it. What is `here` it will take from there; if it goes on asking, it could not."""
        self.polled_at, self.patience_s = now, self.terms.patience_s(poll.stall_timeout_s)
        self.hub_rate_bytes_s = poll.hub_rate_bytes_s
        considered = self.terms.considered(poll)
        self.told_here = {want.etag: self.told_here.get(want.etag, now) for want in considered if want.etag in here}
        in_vain = {etag for etag, since in self.told_here.items() if now - since >= self.terms.in_vain * self.patience_s}
        missing = [want for want in considered if want.etag not in self.told_here or want.etag in in_vain]
        self.wants = frozenset(want.etag for want in missing)
        self.repos = frozenset(want.repo for want in missing)

    def holds(self, repo: RepoRef) -> int:
        """Return how many leases of a repo it holds."""
        return sum(lease.repo == repo for lease in self.held.values())

    @property
    def at_large(self) -> int:
        """How many files it fetches that may be of any repo: strays, and those that it reported after a restart of ours."""
        return self.strays + sum(lease.repo is None for lease in self.held.values())

    def is_present(self, now: float) -> bool:
        """Say whether it polled a moment ago."""
        return now - self.polled_at <= self.terms.present_s


@dataclass(slots=True, eq=False)
class Lease:
    """The right, and the task, to fetch an etag from the Hub.

    repo: None as long as no machine has asked for the etag: its holder reported it after a restart of ours
    unlimited: it is the appliance's
    moved_at: when its holder had last got on with it
    lent_at: when it was lent
    moves: how often it went to a faster machine
    """

    etag: Etag
    size: int
    repo: RepoRef | None
    holder: Machine
    unlimited: bool
    moved_at: float
    bytes: int = 0
    rate_bytes_s: int = 0
    lent_at: float = 0.0
    moves: int = 0

    def move(self, progress: FetchProgress, now: float) -> int:
        """Note how far its holder is; it never goes back. Return how many bytes came, as far as a line can bring them."""
        self.rate_bytes_s = progress.rate_bytes_s
        return self._reach(progress.bytes, now)

    def finish(self, now: float) -> int:
        """Note that its holder has it all; return how many bytes came, as `move` does."""
        return self._reach(self.size, now)

    def _reach(self, count: int, now: float) -> int:
        if count <= self.bytes:
            return 0
        before, since_s = self.bytes, now - self.moved_at
        self.moved_at, self.bytes = now, min(count, self.size) if self.size else count
        return min(self.bytes - before, int(since_s * self.holder.terms.fetched_bytes_s))

    def is_slow_beside(self, hub_rate_bytes_s: int, now: float) -> bool:
        """Say whether a machine with that rate should rather have it."""
        terms, age_s = self.holder.terms, now - self.lent_at
        if self.unlimited or not self.size or age_s < terms.judged_s or self.moves >= terms.max_moves:
            return False
        pace = max(self.rate_bytes_s, self.bytes / age_s)
        return hub_rate_bytes_s > terms.times_faster * pace and self.size - self.bytes > pace * terms.worth_moving_s

    def is_over(self, now: float) -> bool:
        """Say whether its holder is silent, or stands still; one that has every byte has the time to read them once."""
        holder = self.holder
        finishing_s = self.size / holder.terms.finishing_bytes_s if self.bytes >= self.size else 0.0
        is_silent = now - holder.polled_at > max(holder.patience_s, 2 * holder.pause_s)
        return is_silent or now - self.moved_at > holder.patience_s + finishing_s


@dataclass(slots=True)
class Fetched:
    """Bytes that came from the Hub: `total`, and of those what the appliance fetched for others, by repo."""

    total: int = 0
    mirrored: dict[RepoRef, int] = field(default_factory=dict)

    def add(self, lease: Lease, count: int) -> None:
        """Count bytes that came by a lease."""
        self.total += count
        if lease.unlimited and lease.repo is not None and count:
            self.mirrored[lease.repo] = self.mirrored.get(lease.repo, 0) + count


@dataclass(slots=True, eq=False)
class RepoTurns:
    """Whose turn it is with the files of a repo.

    began_at: when it was first wanted
    asked: when each machine asked last, in that order
    had: how many leases each was given
    """

    began_at: float
    terms: LeaseTerms
    asked: OrderedDict[str, float] = field(default_factory=OrderedDict)
    had: dict[str, int] = field(default_factory=dict)

    def ask(self, machine: Machine, now: float) -> None:
        """Note that `machine` wants or fetches files of it; one that has not asked for a while counts no more."""
        self.asked[machine.key] = now
        self.asked.move_to_end(machine.key)
        while self.asked[oldest := next(iter(self.asked))] < now - self.terms.asking_s:
            del self.asked[oldest]
            self.had.pop(oldest, None)

    @property
    def asked_at(self) -> float:
        """When it was asked for last."""
        return self.asked[next(reversed(self.asked))]

    @property
    def share(self) -> int:
        """How many leases of it each machine may hold."""
        return self.terms.share(len(self.asked))
