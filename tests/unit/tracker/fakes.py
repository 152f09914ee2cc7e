"""An announcer without peers, with the Protocol of the real one's client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmpt.core.leases import Grant, LeaseAnswer, LeaseRole, Poll
from llmpt_tracker.control.messages import AnnouncerStatus, BlobAddress, HeldLease, Owner, SeederReport, Swarm, Traffic
from llmpt_tracker.errors import AnnouncerUnavailable, SeedersBusy


class FakeAnnouncer:
    """Knows what it was told; `down` makes every call fail, as a dead one's would."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new."""
        self.down = False
        self.is_open = True
        self.troubles: tuple[str, ...] = ()
        self.registered: set[bytes] = set()
        self.live: dict[str, Swarm] = {}
        self.beats: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.addresses: dict[str, str] = {}
        self.serving: list[BlobAddress] = []
        self.askers: list[str] = []
        self.reachable: dict[tuple[str, int], bool] = {}
        self.polls: list[tuple[Poll, Owner, Mapping[str, bytes]]] = []
        self.under_way: list[HeldLease] = []
        self.taken: list[tuple[str, float, float]] = []
        self.wait_s = 0.0
        self.age_s: float | None = None
        self.limits: list[str] = []

    def status(self) -> AnnouncerStatus:
        self._answer()
        peers = sum(len(swarm.peers) for swarm in self.live.values())
        return AnnouncerStatus(
            "boot-1",
            self.is_open,
            6969,
            len(self.registered),
            peers,
            self.troubles,
            self.age_s,
            tuple(self.limits),
            roles={"seeder": peers, "leecher": 0, "paused": 0},
        )

    def register(self, swarms: Iterable[bytes]) -> None:
        self._answer()
        self.registered.update(swarms)

    def unregister(self, swarms: Iterable[bytes]) -> None:
        self._answer()
        self.registered.difference_update(swarms)

    def swarms(self, swarms: Sequence[str], *, peers: int, asker: str) -> tuple[dict[str, Swarm], str]:
        self._answer()
        self.askers.append(asker)
        found = {name: self.live.get(name, Swarm()) for name in swarms}
        return {name: Swarm(one.seeders, one.leechers, one.completed, one.peers[:peers]) for name, one in found.items()}, "boot-1"

    def reach(self, address: str, port: int) -> bool | None:
        self._answer()
        return self.reachable.get((address, port))

    def heartbeat(self, seeder_id: str, *, key: str, report: Mapping[str, Any], address: str) -> str:
        self._answer()
        self.beats[seeder_id] = (key, report)
        self.addresses[seeder_id] = address
        return "boot-1"

    def seeders(self) -> list[SeederReport]:
        self._answer()
        return [SeederReport(name, 1.0, report) for name, (_, report) in self.beats.items()]

    def leases(self, poll: Poll, *, owner: Owner, swarms: Mapping[str, bytes]) -> LeaseAnswer:
        self._answer()
        self.polls.append((poll, owner, swarms))
        return LeaseAnswer(tuple(Grant(want.etag, LeaseRole.FETCH, owner.name) for want in poll.wants), 0.5, "boot-1")

    def fetches(self, limit: int) -> list[HeldLease]:
        self._answer()
        return self.under_way[:limit]

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        self._answer()
        self.taken.append((name, per_s, burst))
        return self.wait_s

    def note_limit(self, sentence: str, *, times: int) -> None:
        self._answer()
        self.limits.append(sentence)

    def traffic(self) -> Traffic:
        self._answer()
        return Traffic()

    def blob_servers(self, *, asker: str) -> list[BlobAddress]:
        self._answer()
        self.askers.append(asker)
        return self.serving

    def _answer(self) -> None:
        if self.down:
            raise AnnouncerUnavailable("the announcer does not answer (fake)")


class FakeBlobs:
    """Blob servers that have what they were given; `asked` notes by whom, and under which host, they were asked for it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new."""
        self.held: set[str] = set()
        self.busy = False
        self.knocks = 0
        self.asked: list[tuple[str, str]] = []

    def locate(self, etag: str, *, asker: str, host_as_asked: str, may_serve: object) -> str | None:
        self.asked.append((asker, host_as_asked))
        self._answer()
        return f"http://{host_as_asked}:8001/blobs/{etag}" if etag in self.held else None

    def has(self, etag: str, *, may_serve: object) -> bool:
        self._answer()
        return etag in self.held

    def knock(self) -> None:
        self.knocks += 1

    def _answer(self) -> None:
        if self.busy:
            raise SeedersBusy("a seeder is busy (fake)")
