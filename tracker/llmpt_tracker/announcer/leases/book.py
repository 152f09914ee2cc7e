"""Which machine fetches what from the Hub, so that each file crosses the Internet once: leases, in memory. Every time is given.

A *machine* (one life of an agent) polls with all that it waits for. Of each etag it is told to fetch it, and then holds the
lease, or to wait, and for which one. A lease ends when its holder says so, has made no progress for its stall time-out, or has
not polled for as long; the next machine that asks gets it, rather another one than the one that gave it up. What was published
a moment ago is waited for: its seeder is about to announce itself. What is seeded is looked up, unless a machine goes on asking
for it: then that seeder has gone, or is out of its reach.

All machines ask for the files of a repo in the same order, several at a time. So that the first does not get them all:
a machine holds no more leases of a repo than its *share*; in the *rush* after a repo's first want it holds one; and one that
has had more than another one that waits leaves it the *turn* for a moment.

Everything is bounded: what was silent longest is forgotten first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection

from llmpt.core.blob import Etag
from llmpt.core.leases import FetchProgress, Grant, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef
from llmpt_tracker.announcer.leases.machines import Machines
from llmpt_tracker.announcer.leases.past import Past
from llmpt_tracker.announcer.leases.state import Fetched, Lease, Machine, RepoTurns
from llmpt_tracker.announcer.leases.terms import LeaseTerms
from llmpt_tracker.control.messages import HeldLease, Owner

DEFAULT_TERMS = LeaseTerms()


class LeaseBook:
    """All leases of this LAN."""

    def __init__(self, terms: LeaseTerms = DEFAULT_TERMS, *, opened_at: float = -math.inf) -> None:
        """`opened_at`: since when machines can ask; those that fetch since before must have told of it first."""
        self._terms, self._opened_at, self.has_begun = terms, opened_at, False
        self._machines = Machines(terms, on_forgotten=self._forget)
        self._repos: OrderedDict[RepoRef, RepoTurns] = OrderedDict()  # what was asked for last stands last
        self._leases: OrderedDict[Etag, Lease] = OrderedDict()
        self._past = Past(terms)
        self._fetched = Fetched()

    def take_fetched(self) -> Fetched:
        """Return how many bytes came from the Hub since this was asked last."""
        taken, self._fetched = self._fetched, Fetched()
        return taken

    def poll(
        self, poll: Poll, owner: Owner, *, here: Collection[Etag] = (), listed: Collection[Etag] = (), now: float
    ) -> tuple[tuple[Grant, ...], float]:
        """Take in what a machine of `owner`'s says; answer each of its wants, and in how many seconds it must ask again.

        `here`: those of the wants that are seeded; `listed`: those that have a torrent, so that a machine had them once.
        """
        self._prune(now)
        self._begin(now)
        machine = self._machines.touch(poll, owner, now)
        machine.listed = frozenset(listed) if now < self._opened_at + self._terms.returning_s else frozenset()
        machine.hear(poll, here, now)
        self._take_in(poll, machine, now)
        fetching = {progress.etag for progress in poll.fetching}
        machine.strays = len(fetching - machine.held.keys())
        again_at = math.inf
        grants = []
        for want in self._terms.considered(poll):
            if want.etag not in machine.wants:
                grants.append(Grant(want.etag, LeaseRole.HERE))
                continue
            found, moment = self._settle(want, machine, now, unlimited=poll.unlimited)
            again_at = min(again_at, moment)
            grants.append(self._grant_for(want, found, machine, is_fetching=want.etag in fetching))
        for want in poll.wants[len(grants) :]:
            grants.append(Grant(want.etag, LeaseRole.HERE if want.etag in here else LeaseRole.WAIT))
        machine.pause_s = self._terms.pause_s(len(self._machines))
        return tuple(grants), max(min(machine.pause_s, again_at - now), self._terms.soonest_s)

    def _begin(self, now: float) -> None:
        """Settle from the first poll on: at a restart the application is there later than the announcer."""
        if not self.has_begun:
            self.has_begun = True
            if now - self._opened_at < self._terms.starting_s:
                self._opened_at = now

    def held(self, limit: int, *, now: float) -> list[HeldLease]:
        """Return up to `limit` leases that are held, the oldest first, with how many machines wait for each."""
        waiting = self._machines.wanted(now)
        found: list[HeldLease] = []
        for lease in self._leases.values():
            if len(found) < limit and not lease.is_over(now):
                others = waiting[lease.etag] - (lease.etag in lease.holder.wants)
                holder = lease.holder.name
                found.append(HeldLease(lease.etag, lease.size, lease.repo, holder, lease.bytes, lease.rate_bytes_s, others))
        return found

    def _take_in(self, poll: Poll, machine: Machine, now: float) -> None:
        """Note what ended and how far the rest is, and for which repos it asks."""
        for outcome in (LeaseOutcome.PUBLISHED, LeaseOutcome.FAILED):
            for ended in poll.ended:
                if ended.outcome is outcome and (lease := machine.held.get(ended.etag)) is not None:
                    self._end(lease, outcome, now)
        for progress in poll.fetching:
            self._move(progress, machine, now)
        for lease in [lease for lease in machine.held.values() if lease.is_over(now)]:
            self._give_up(lease, now)
        for repo in machine.repos | {lease.repo for lease in machine.held.values() if lease.repo is not None}:
            self._repos.setdefault(repo, RepoTurns(now, self._terms)).ask(machine, now)
            self._repos.move_to_end(repo)

    # Which may fetch

    def _settle(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> tuple[Lease | None, float]:
        """Return the lease of an etag, perhaps a new one of `machine`, and when it is worth to ask again sooner than ever."""
        lease = self._live(want.etag, now)
        if lease is None:
            moment = self._not_before(want, machine, now, unlimited=unlimited)
            return (self._lend(want, machine, now, unlimited=unlimited), math.inf) if moment <= now else (None, moment)
        if lease.repo is None:
            lease.repo, lease.size = want.repo, want.size
        elif (
            lease.holder is not machine and lease.is_slow_beside(machine.hub_rate_bytes_s, now) and self._has_room(want, machine)
        ):
            moves = lease.moves + 1
            self._give_up(lease, now)
            lease = self._lend(want, machine, now, unlimited=unlimited)
            lease.moves = moves
        if unlimited and not lease.unlimited:  # the appliance fetches what another one was fetching
            self._remove(lease)
            lease = self._lend(want, machine, now, unlimited=True)
        return lease, math.inf

    def _not_before(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> float:
        """Return the moment from which `machine` may have the lease; infinity when that depends on others."""
        terms = self._terms
        if self._past.published(want.etag) is not None:
            return math.inf
        if unlimited:
            return now if len(machine.held) < terms.max_unlimited else math.inf
        settled_at = self._opened_at + (terms.returning_s if want.etag in machine.listed else terms.settling_s)
        if now < settled_at:
            return settled_at
        free_since = self._past.free_since(want.etag, now)
        repo = self._repos[want.repo]
        held = machine.holds(want.repo)
        if not self._has_room(want, machine):
            return math.inf
        if held and now < repo.began_at + terms.rush_s:
            return repo.began_at + terms.rush_s
        let_go_at = self._past.let_go_at(want.etag, machine)
        if now < let_go_at + terms.let_go_s and self._wants_another(want, machine, now):
            return let_go_at + terms.let_go_s
        if now < free_since + terms.turn_s and self._is_anothers_turn(want.repo, machine, now):
            return free_since + terms.turn_s
        return now

    def _has_room(self, want: Want, machine: Machine) -> bool:
        """Say whether a machine may hold one more lease of the repo."""
        has_share = machine.holds(want.repo) + machine.at_large < self._repos[want.repo].share
        return has_share and len(machine.held) < self._terms.max_held

    def _wants_another(self, want: Want, machine: Machine, now: float) -> bool:
        """Say whether a machine waits for the etag that has not given it up."""
        return any(
            want.etag in other.wants and not self._past.has_let_go(want.etag, other)
            for other in self._machines.present(self._repos[want.repo].asked, now)
            if other is not machine
        )

    def _is_anothers_turn(self, name: RepoRef, machine: Machine, now: float) -> bool:
        """Say whether a machine waits for files of the repo, and could have a lease, that has had fewer of them."""
        repo = self._repos[name]
        had, share = repo.had.get(machine.key, 0), repo.share
        return had > 0 and any(
            repo.had.get(other.key, 0) < had and name in other.repos and other.holds(name) < share
            for other in self._machines.present(repo.asked, now)
        )

    # What becomes of a lease

    def _live(self, etag: Etag, now: float) -> Lease | None:
        """Return the lease of an etag, if its holder still deserves it."""
        lease = self._leases.get(etag)
        if lease is not None and lease.is_over(now):
            self._give_up(lease, now)
            return None
        return lease

    def _lend(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> Lease:
        lease = Lease(want.etag, want.size, want.repo, machine, unlimited, now, lent_at=now)
        self._place(lease)
        repo = self._repos[want.repo]
        repo.had[machine.key] = repo.had.get(machine.key, 0) + 1
        return lease

    def _place(self, lease: Lease) -> None:
        self._leases[lease.etag] = lease.holder.held[lease.etag] = lease
        self._past.taken(lease.etag)
        if len(self._leases) > self._terms.max_leases:
            self._remove(next(iter(self._leases.values())))

    def _move(self, progress: FetchProgress, machine: Machine, now: float) -> None:
        """Note how far a fetch is. One that no machine is known to do is its reporter's: we may have been restarted."""
        lease = self._live(progress.etag, now)
        if lease is None:
            stood_still = self._past.stood_still(progress.etag, machine, progress.bytes)
            is_over = stood_still or self._past.published(progress.etag) is not None
            if is_over or len(machine.held) >= self._terms.max_held:
                return
            lease = Lease(progress.etag, 0, None, machine, unlimited=False, moved_at=now, lent_at=now)
            self._place(lease)
        if lease.holder is machine:
            self._fetched.add(lease, lease.move(progress, now))

    def _end(self, lease: Lease, outcome: LeaseOutcome, now: float) -> None:
        if outcome is LeaseOutcome.PUBLISHED:
            self._fetched.add(lease, lease.finish(now))
            self._remove(lease)
            self._past.note_published(lease, now)
        else:
            self._give_up(lease, now)

    def _give_up(self, lease: Lease, now: float) -> None:
        self._remove(lease)
        self._past.note_let_go(lease, now)

    def _remove(self, lease: Lease) -> None:
        del self._leases[lease.etag]
        del lease.holder.held[lease.etag]

    def _grant_for(self, want: Want, lease: Lease | None, machine: Machine, *, is_fetching: bool) -> Grant:
        if lease is not None:
            role = LeaseRole.FETCH if lease.holder is machine and not is_fetching else LeaseRole.WAIT
            return Grant(want.etag, role, lease.holder.name, lease.bytes, lease.rate_bytes_s)
        if (published := self._past.published(want.etag)) is not None:
            return Grant(want.etag, LeaseRole.WAIT, published.fetcher, published.size)
        return Grant(want.etag, LeaseRole.WAIT)

    # What is forgotten

    def _forget(self, machine: Machine) -> None:
        for lease in list(machine.held.values()):
            self._remove(lease)

    def _prune(self, now: float) -> None:
        """Forget what is too old, or too much."""
        terms = self._terms
        self._machines.prune(now)
        self._past.prune(now)
        while self._repos and next(iter(self._repos.values())).asked_at < now - terms.forgotten_s:
            self._repos.popitem(last=False)
        while len(self._repos) > terms.max_remembered:
            self._repos.popitem(last=False)
