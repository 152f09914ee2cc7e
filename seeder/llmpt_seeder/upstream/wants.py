"""Which blobs of the cache that is fetched into are wanted: when last, and by which clients of late.

Clients are known by a name of theirs (`llmpt.core.mirrors.asker_name`), the same for all addresses that one machine may have.
What several of them wanted of late is kept from one that alone wants something else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from llmpt.core.blob import Etag

LATELY_S = 24 * 3600.0
SEVERAL = 2
MAX_ASKERS = 4  # of one blob that are told apart
TICK_S = 1e-6  # between two wants in one moment, and after a clock that stepped back

Askers = dict[str, float]


class WantedMemory(Protocol):
    """Where it is kept when each blob was wanted last, and when by whom."""

    def wanted(self) -> dict[Etag, float]: ...

    def askers(self) -> dict[Etag, Askers]: ...

    def keep_wanted(self, times: Mapping[Etag, float], gone: Iterable[Etag], askers: Mapping[Etag, Askers]) -> bool: ...


class Wants:
    """Owns what is wanted. Its methods may be called from any thread; none waits for a disk but `keep`."""

    def __init__(self, memory: WantedMemory, clock: Callable[[], float]) -> None:
        self._memory, self._clock = memory, clock
        self._lock = threading.Lock()
        self._times = memory.wanted()
        self._askers = memory.askers()
        self._newest = max(self._times.values(), default=0.0)
        self._untold: set[Etag] = set()

    def note(self, etag: Etag, askers: Iterable[str] = ()) -> None:
        """Note that a blob is wanted, by these clients."""
        with self._lock:
            self._newest = self._times[etag] = max(self._clock(), self._newest + TICK_S)
            self._add(etag, askers)
            self._untold.add(etag)

    def note_asker(self, etag: Etag, asker: str) -> None:
        """Note which client wanted a blob, if it is one of which it is known that it was wanted."""
        with self._lock:
            if etag in self._times:
                self._add(etag, [asker])
                self._untold.add(etag)

    def last(self, etag: Etag) -> float:
        """Return when a blob was wanted last (seconds since 1970); 0: never."""
        with self._lock:
            return self._times.get(etag, 0.0)

    def etags(self) -> frozenset[Etag]:
        """Return what is known to have been wanted."""
        with self._lock:
            return frozenset(self._times)

    def askers(self, etag: Etag) -> frozenset[str]:
        """Return which clients wanted a blob of late, as far as that is known."""
        with self._lock:
            return frozenset(one for one, at in self._askers.get(etag, {}).items() if abs(self._newest - at) < LATELY_S)

    def is_wanted_by_several(self, etag: Etag) -> bool:
        """Whether more than one client wanted a blob of late."""
        return len(self.askers(etag)) >= SEVERAL

    def forget(self, etags: Iterable[Etag]) -> None:
        """Forget blobs that are gone."""
        with self._lock:
            for etag in etags:
                self._times.pop(etag, None)
                self._askers.pop(etag, None)
                self._untold.add(etag)

    def forget_but(self, lying: Iterable[Etag]) -> None:
        """Forget all blobs that are not there."""
        there = set(lying)
        self.forget([etag for etag in self._times.keys() | self._askers.keys() if etag not in there])

    def keep(self) -> None:
        """Write down what is new, so that it is known after a restart; while that cannot be written it stays to be told."""
        with self._lock:
            untold, self._untold = self._untold, set()
            times = {etag: self._times[etag] for etag in untold if etag in self._times}
            askers = {etag: dict(self._askers.get(etag, {})) for etag in times}
        if untold and not self._memory.keep_wanted(times, untold - times.keys(), askers):
            with self._lock:
                self._untold |= untold

    def _add(self, etag: Etag, askers: Iterable[str]) -> None:
        for asker in filter(None, askers):
            known = self._askers.setdefault(etag, {})
            known[asker] = self._newest
            if len(known) > MAX_ASKERS:
                del known[min(known, key=known.__getitem__)]
