"""A swarm of many machines as events: who has which part, and who sends which to whom. No network, no clock.

Every machine sends two parts at once and takes two, each at half its cable's rate, and a part is passed on when it is whole. A
machine knows as many others as the tracker has named to it. A seeder sends each part once before it sends one twice, which is
what shares of their own come to (docs/decisions/11-a-share-of-its-own.md); all others send what the other lacks, at random.
Subnets share an uplink each way; so many transfers go through it at once as it carries.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

SLOTS = 2  # at once, each way


@dataclass(frozen=True)
class Lan:
    """machines, seeders: all with the same cable
    parts: of the file; the real pieces are more, and smaller
    named: how many others the tracker names to each machine; of these the share `near` (0 to 1) are of its own subnet, or as
        many as there are in it
    subnet: machines in each; 0: there are none. A seeder is in the first
    uplink: what a subnet's uplink carries, in cables
    jitter: how much longer, or shorter, a part may take
    """

    machines: int
    seeders: int = 1
    parts: int = 128
    named: int = 50
    near: float = 0.0
    subnet: int = 0
    uplink: int = 4
    jitter: float = 0.2

    @property
    def bound(self) -> float:
        """In F/u: with equal cables F/u, whatever the numbers are; behind an uplink that is slower, F over that."""
        return max(1.0, 1 / self.uplink if self.subnet else 0.0)


@dataclass
class Filled:
    """times: of each machine, in F/u; sent: by the seeders ÷ F; crossed: by uplinks, of the subnets without a seeder ÷ F each."""

    times: list[float]
    sent: float
    crossed: float

    @property
    def last(self) -> float:
        return max(self.times)


@dataclass
class _Node:
    subnet: int
    have: int = 0
    coming: int = 0
    sending: int = 0
    taking: int = 0
    known: list[int] = field(default_factory=list)
    near: frozenset[int] = frozenset()


def fill(lan: Lan, *, seed: int = 1) -> Filled:
    """Let all machines begin at once; return what became of it. The same seed gives the same."""
    return _Swarm(lan, random.Random(seed)).run()


class _Swarm:
    def __init__(self, lan: Lan, chance: random.Random) -> None:
        self.lan, self.chance, self.whole = lan, chance, (1 << lan.parts) - 1
        place = lan.subnet or lan.machines + lan.seeders
        self.nodes = [_Node(0, have=self.whole) for _ in range(lan.seeders)]
        self.nodes += [_Node(number // place) for number in range(lan.machines)]
        self.unsent = self.whole
        self.out = [0] * (1 + self.nodes[-1].subnet)  # transfers that leave each subnet now
        self.into = list(self.out)
        self.crossed = self.sent = 0
        self.events: list[tuple[float, int, int, int]] = []
        self._introduce()

    def _introduce(self) -> None:
        lan, count = self.lan, len(self.nodes)
        by_subnet: dict[int, list[int]] = {}
        for index, node in enumerate(self.nodes):
            by_subnet.setdefault(node.subnet, []).append(index)
        links: list[set[int]] = [set() for _ in self.nodes]
        for index in range(lan.seeders, count):
            near = by_subnet[self.nodes[index].subnet]
            wanted = min(lan.named, count - 1)
            named = set(self.chance.sample(near, min(len(near), int(wanted * lan.near))))
            named |= set(self.chance.sample(range(count), int(wanted * (1 - lan.near) + 0.5)))
            named |= set(range(lan.seeders))  # a look-up names the appliance
            for other in named - {index}:
                links[index].add(other)
                links[other].add(index)
        for node, linked in zip(self.nodes, links, strict=True):
            node.known = sorted(linked)
            node.near = frozenset(one for one in linked if self.nodes[one].subnet == node.subnet)

    def run(self) -> Filled:
        times = [0.0] * len(self.nodes)
        for index in range(self.lan.seeders):
            self._send(index, 0.0)
        while self.events:
            now, source, target, part = heapq.heappop(self.events)
            giver, taker = self.nodes[source], self.nodes[target]
            giver.sending -= 1
            taker.taking -= 1
            taker.coming &= ~part
            taker.have |= part
            if giver.subnet != taker.subnet:
                self.out[giver.subnet] -= 1
                self.into[taker.subnet] -= 1
            if taker.have == self.whole:
                times[target] = now
            self._send(source, now)
            self._take(target, now)
            self._send(target, now)
        unfinished = [node for node in self.nodes if node.have != self.whole]
        if unfinished:
            raise AssertionError(f"{len(unfinished)} machines stand still")
        others = max(1, len(self.out) - 1)
        lan = self.lan
        return Filled(times[lan.seeders :], self.sent / lan.parts, self.crossed / lan.parts / others)

    def _send(self, source: int, now: float) -> None:
        node = self.nodes[source]
        if node.sending < SLOTS and node.have:
            for target in self._known(node):
                taker = self.nodes[target]
                if (
                    taker.taking < SLOTS
                    and node.have & ~(taker.have | taker.coming)
                    and self._begin(source, target, now)
                    and node.sending >= SLOTS
                ):
                    return

    def _take(self, target: int, now: float) -> None:
        node = self.nodes[target]
        if node.taking < SLOTS and node.have | node.coming != self.whole:
            lacks = self.whole & ~(node.have | node.coming)
            for source in self._known(node):
                giver = self.nodes[source]
                if giver.sending < SLOTS and giver.have & lacks and self._begin(source, target, now) and node.taking >= SLOTS:
                    return

    def _known(self, node: _Node) -> list[int]:
        """Those that it knows, from a place at random on; its own subnet first, where the tracker names that first."""
        start = self.chance.randrange(len(node.known))
        turned = node.known[start:] + node.known[:start]
        if not self.lan.near:
            return turned
        return [one for one in turned if one in node.near] + [one for one in turned if one not in node.near]

    def _begin(self, source: int, target: int, now: float) -> bool:
        giver, taker = self.nodes[source], self.nodes[target]
        useful = giver.have & ~(taker.have | taker.coming)
        crosses, most = giver.subnet != taker.subnet, self.lan.uplink * SLOTS
        if crosses and (self.out[giver.subnet] >= most or self.into[taker.subnet] >= most):
            return False
        if source < self.lan.seeders:
            useful = useful & self.unsent or useful
        part = self._one_of(useful)
        if source < self.lan.seeders:
            self.sent += 1
            self.unsent = self.unsent & ~part or self.whole
        if crosses:
            self.out[giver.subnet] += 1
            self.into[taker.subnet] += 1
            self.crossed += bool(taker.subnet)
        giver.sending += 1
        taker.taking += 1
        taker.coming |= part
        lasts = SLOTS / self.lan.parts * (1 + self.lan.jitter * (self.chance.random() - 0.5))
        heapq.heappush(self.events, (now + lasts, source, target, part))
        return True

    def _one_of(self, parts: int) -> int:
        """Return one of the bits, at random."""
        above = parts >> (start := self.chance.randrange(self.lan.parts)) << start
        chosen = above or parts
        return chosen & -chosen
