"""Who fetches what from the Hub, so that each file crosses the Internet once: leases, in memory. Every time is given.

A *machine* (one life of an agent) polls with all that it waits for. Of each etag it is told to fetch it, and then holds the
lease, or to wait, and for whom. A lease ends when its holder says so, has made no progress for its stall time-out, or has not
polled for as long; the next machine that asks gets it, rather another one than who gave it up. What was published a moment
ago is waited for: its seeder is about to announce itself. What somebody seeds is looked up, unless a machine goes on asking
for it: then that seeder has gone, or is out of its reach.

All machines ask for the files of a repo in the same order, several at a time. So that the first does not get them all:
a machine holds no more leases of a repo than its *share*; in the *rush* after a repo's first want it holds one; and who
has had more than another one that waits leaves it the *turn* for a moment.

Everything is bounded: who was silent longest is forgotten first.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from llmpt_tracker.announcer.leases import terms
from llmpt_tracker.announcer.leases.state import Lease, Machine, Repo
from llmpt_tracker.announcer.leases.terms import Answer, Poll, Progress, Want
from llmpt_tracker.control.messages import HeldLease

T = TypeVar("T")


class Leases:
    """All leases of this LAN."""

    def __init__(self) -> None:
        self._machines: OrderedDict[str, Machine] = OrderedDict()  # who polled last stands last; so in all of these
        self._repos: OrderedDict[str, Repo] = OrderedDict()
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._free: OrderedDict[str, float] = OrderedDict()  # etag → since when somebody wants and nobody fetches it
        self._published: OrderedDict[str, tuple[float, str, int]] = OrderedDict()  # etag → when, by whom, size
        self._let_go: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # etag, machine → when, at how many bytes

    def poll(self, poll: Poll, *, here: Collection[str] = (), now: float) -> tuple[list[Answer], float]:
        """Take in what a machine says; answer each of its wants, and in how many seconds it shall ask again. `here`: those of
        the wants that somebody of the LAN seeds."""
        self._prune(now)
        machine = self._touch(poll, here, now)
        for etag in poll.published:
            self._end(etag, machine, now, published=True)
        for etag in poll.failed:
            self._end(etag, machine, now, published=False)
        for progress in poll.fetching:
            self._move(progress, machine, now)
        for lease in [lease for lease in machine.held.values() if lease.is_over(now)]:
            self._give_up(lease, now)
        repos = {lease.repo for lease in machine.held.values() if lease.repo}
        for name in machine.repos | repos:
            self._ask(name, machine, now)
        fetching = {progress.etag for progress in poll.fetching}
        machine.strays = len(fetching - machine.held.keys())
        again_at = math.inf
        answers = []
        for want in poll.considered:
            if want.etag not in machine.wants:
                answers.append(Answer(want.etag, "here"))
                continue
            found, moment = self._settle(want, machine, now, unlimited=poll.unlimited)
            again_at = min(again_at, moment)
            answers.append(self._answer(want, found, machine, is_fetching=want.etag in fetching))
        answers += [Answer(want.etag, "here" if want.etag in here else "wait") for want in poll.wants[len(answers) :]]
        machine.pause_s = terms.pause_s(len(self._machines))
        return answers, max(min(machine.pause_s, again_at - now), terms.SOONEST_S)

    def fetches(self, limit: int, *, now: float) -> list[HeldLease]:
        """Return up to `limit` leases that are held, the oldest first, with how many machines wait for each."""
        waiting = Counter(etag for machine in self._machines.values() if machine.is_present(now) for etag in machine.wants)
        found: list[HeldLease] = []
        for lease in self._leases.values():
            if len(found) < limit and not lease.is_over(now):
                others = waiting[lease.etag] - (lease.etag in lease.holder.wants)
                found.append(
                    HeldLease(lease.etag, lease.size, lease.repo, lease.holder.name, lease.bytes, lease.rate_bytes_s, others)
                )
        return found

    # Who may fetch

    def _settle(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> tuple[Lease | None, float]:
        """Return the lease of an etag, perhaps a new one of `machine`, and when it is worth to ask again sooner than ever."""
        lease = self._live(want.etag, now)
        if lease is None:
            moment = self._not_before(want, machine, now, unlimited=unlimited)
            return (self._grant(want, machine, now, unlimited=unlimited), math.inf) if moment <= now else (None, moment)
        if not lease.repo:
            lease.repo, lease.size = want.repo, want.size
        if unlimited and not lease.unlimited:  # the appliance fetches what another one was fetching
            self._remove(lease)
            lease = self._grant(want, machine, now, unlimited=True)
        return lease, math.inf

    def _not_before(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> float:
        """Return the moment from which `machine` may have the lease; infinity when that depends on others."""
        if want.etag in self._published:
            return math.inf
        if unlimited:
            return now if len(machine.held) < terms.MAX_UNLIMITED else math.inf
        free_since = self._free.setdefault(want.etag, now)
        repo = self._repos[want.repo]
        held = machine.holds(want.repo)
        if held + machine.strays >= repo.share or len(machine.held) >= terms.MAX_HELD:
            return math.inf
        if held and now < repo.began_at + terms.RUSH_S:
            return repo.began_at + terms.RUSH_S
        gave_up_at = self._let_go.get((want.etag, machine.key), (-math.inf, 0))[0]
        if now < gave_up_at + terms.LET_GO_S and self._wants_another(want, machine, now):
            return gave_up_at + terms.LET_GO_S
        if now < free_since + terms.TURN_S and self._is_anothers_turn(want.repo, machine, now):
            return free_since + terms.TURN_S
        return now

    def _wants_another(self, want: Want, machine: Machine, now: float) -> bool:
        """Say whether a machine waits for the etag that has not given it up."""
        return any(
            want.etag in other.wants and (want.etag, other.key) not in self._let_go
            for other in self._present(self._repos[want.repo].asked, now)
            if other is not machine
        )

    def _is_anothers_turn(self, name: str, machine: Machine, now: float) -> bool:
        """Say whether a machine waits for files of the repo, and could have a lease, that has had fewer of them."""
        repo = self._repos[name]
        had, share = repo.had.get(machine.key, 0), repo.share
        return had > 0 and any(
            repo.had.get(other.key, 0) < had and name in other.repos and other.holds(name) < share
            for other in self._present(repo.asked, now)
        )

    def _present(self, keys: Iterable[str], now: float) -> Iterable[Machine]:
        return (one for key in keys if (one := self._machines.get(key)) is not None and one.is_present(now))

    # What becomes of a lease

    def _live(self, etag: str, now: float) -> Lease | None:
        """Return the lease of an etag, if its holder still deserves it."""
        lease = self._leases.get(etag)
        if lease is not None and lease.is_over(now):
            self._give_up(lease, now)
            return None
        return lease

    def _grant(self, want: Want, machine: Machine, now: float, *, unlimited: bool) -> Lease:
        lease = Lease(want.etag, want.size, want.repo, machine, unlimited, now)
        self._place(lease)
        repo = self._repos[want.repo]
        repo.had[machine.key] = repo.had.get(machine.key, 0) + 1
        return lease

    def _place(self, lease: Lease) -> None:
        self._leases[lease.etag] = lease.holder.held[lease.etag] = lease
        self._free.pop(lease.etag, None)
        if len(self._leases) > terms.MAX_LEASES:
            self._remove(_first(self._leases))

    def _move(self, progress: Progress, machine: Machine, now: float) -> None:
        """Note how far a fetch is. One that nobody is known to do is its reporter's: we may have been restarted."""
        lease = self._live(progress.etag, now)
        if lease is None:
            left_at = self._let_go.get((progress.etag, machine.key))
            stood_still = left_at is not None and progress.bytes <= left_at[1]
            if stood_still or progress.etag in self._published or len(machine.held) >= terms.MAX_HELD:
                return
            lease = Lease(progress.etag, 0, "", machine, unlimited=False, moved_at=now)
            self._place(lease)
        if lease.holder is machine:
            lease.move(progress, now)

    def _end(self, etag: str, machine: Machine, now: float, *, published: bool) -> None:
        lease = machine.held.get(etag)
        if lease is None:
            return
        if published:
            self._remove(lease)
            self._published[etag] = (now, machine.name, lease.size)
            self._published.move_to_end(etag)
        else:
            self._give_up(lease, now)

    def _give_up(self, lease: Lease, now: float) -> None:
        self._remove(lease)
        key = (lease.etag, lease.holder.key)
        self._let_go.pop(key, None)
        self._let_go[key] = (now, lease.bytes)
        self._free[lease.etag] = now - terms.TURN_S  # nobody leaves another one the turn

    def _remove(self, lease: Lease) -> None:
        del self._leases[lease.etag]
        del lease.holder.held[lease.etag]

    def _answer(self, want: Want, lease: Lease | None, machine: Machine, *, is_fetching: bool) -> Answer:
        if lease is not None:
            role = "fetch" if lease.holder is machine and not is_fetching else "wait"
            return Answer(want.etag, role, lease.holder.name, lease.bytes, lease.rate_bytes_s)
        if (published := self._published.get(want.etag)) is not None:
            return Answer(want.etag, "wait", published[1], published[2], 0)
        return Answer(want.etag, "wait", None, 0, 0)

    # Who is there

    def _touch(self, poll: Poll, here: Collection[str], now: float) -> Machine:
        key = f"{poll.token}:{poll.machine}"
        machine = self._machines.get(key)
        if machine is None:
            lives = [one for one in self._machines.values() if one.token == poll.token]
            if len(lives) >= terms.MAX_LIVES:
                self._forget(lives[0])
            if len(self._machines) >= terms.MAX_MACHINES:
                self._forget(_first(self._machines))
            machine = self._machines[key] = Machine(key, poll.token, poll.name, now)
        self._machines.move_to_end(key)
        machine.hear(poll, here, now)
        return machine

    def _forget(self, machine: Machine) -> None:
        for lease in list(machine.held.values()):
            self._remove(lease)
        del self._machines[machine.key]

    def _ask(self, name: str, machine: Machine, now: float) -> None:
        """Note that `machine` asks for files of a repo."""
        repo = self._repos.setdefault(name, Repo(now))
        repo.ask(machine, now)
        self._repos.move_to_end(name)

    def _prune(self, now: float) -> None:
        """Forget what is too old, or too much."""
        silent = now - terms.FORGOTTEN_S
        while self._machines and _first(self._machines).polled_at < silent:
            self._forget(_first(self._machines))
        while self._repos and _first(self._repos).asked_at < silent:
            self._repos.popitem(last=False)
        while self._free and _first(self._free) < silent:
            self._free.popitem(last=False)
        while self._let_go and _first(self._let_go)[0] < silent:
            self._let_go.popitem(last=False)
        while self._published and _first(self._published)[0] <= now - terms.PUBLISHED_S:
            self._published.popitem(last=False)
        kept: OrderedDict[Any, Any]
        for kept in (self._repos, self._free, self._let_go, self._published):
            while len(kept) > terms.MAX_REMEMBERED:
                kept.popitem(last=False)


def _first(kept: OrderedDict[Any, T]) -> T:
    return next(iter(kept.values()))
