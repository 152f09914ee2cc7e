"""What the lease book remembers of etags that no machine fetches now: freed, published, let go. Bounded: the oldest goes."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

from llmpt.core.blob import Etag
from llmpt_tracker.announcer.leases.state import Lease, Machine
from llmpt_tracker.announcer.leases.terms import LeaseTerms


class PublishedLease(NamedTuple):
    """A lease that ended well: when, by whom, and the file's size in bytes."""

    at_s: float
    fetcher: str
    size: int


class Past:
    """Owns these memories."""

    def __init__(self, terms: LeaseTerms) -> None:
        self._terms = terms
        self._free: OrderedDict[Etag, float] = OrderedDict()  # since when it is wanted, and none fetches it
        self._published: OrderedDict[Etag, PublishedLease] = OrderedDict()
        self._let_go: OrderedDict[tuple[Etag, str], tuple[float, int]] = (
            OrderedDict()
        )  # by which machine; when, at how many bytes

    def __len__(self) -> int:
        return len(self._free) + len(self._published) + len(self._let_go)

    def free_since(self, etag: Etag, now: float) -> float:
        """Return since when an etag that is wanted is fetched by none; from `now` on, when that is new."""
        return self._free.setdefault(etag, now)

    def taken(self, etag: Etag) -> None:
        """Note that a machine fetches it."""
        self._free.pop(etag, None)

    def published(self, etag: Etag) -> PublishedLease | None:
        """Return how it was published, if that was a moment ago: its seeder is about to announce itself."""
        return self._published.get(etag)

    def note_published(self, lease: Lease, now: float) -> None:
        self._published[lease.etag] = PublishedLease(now, lease.holder.name, lease.size)
        self._published.move_to_end(lease.etag)

    def note_let_go(self, lease: Lease, now: float) -> None:
        """Note that a holder gave up, or was given up; no machine leaves another one the turn then."""
        key = (lease.etag, lease.holder.key)
        self._let_go.pop(key, None)
        self._let_go[key] = (now, lease.bytes)
        self._free[lease.etag] = now - self._terms.turn_s

    def let_go_at(self, etag: Etag, machine: Machine) -> float:
        """Return when `machine` gave it up; minus infinity when it has not."""
        return self._let_go.get((etag, machine.key), (-math.inf, 0))[0]

    def has_let_go(self, etag: Etag, machine: Machine) -> bool:
        """Say whether `machine` gave it up, as far as that is remembered."""
        return (etag, machine.key) in self._let_go

    def stood_still(self, etag: Etag, machine: Machine, count: int) -> bool:
        """Say whether `machine` was given up at as many bytes as the `count` that it has now."""
        left = self._let_go.get((etag, machine.key))
        return left is not None and count <= left[1]

    def prune(self, now: float) -> None:
        """Forget what is too old, or too much."""
        silent = now - self._terms.forgotten_s
        while self._free and _first(self._free) < silent:
            self._free.popitem(last=False)
        while self._let_go and _first(self._let_go)[0] < silent:
            self._let_go.popitem(last=False)
        while self._published and _first(self._published).at_s <= now - self._terms.published_s:
            self._published.popitem(last=False)
        kept: OrderedDict[Any, Any]
        for kept in (self._free, self._let_go, self._published):
            while len(kept) > self._terms.max_remembered:
                kept.popitem(last=False)


def _first(kept: OrderedDict[Any, Any]) -> Any:
    return next(iter(kept.values()))
