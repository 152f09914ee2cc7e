"""Trying endpoints: each once, a few at a time, without end in any queue."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from functools import partial

from llmpt.core.networks import Address
from llmpt.host.loops import Health
from llmpt_tracker.announcer.peers import prober as module
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.prober import Prober, ProbeTimings
from llmpt_tracker.announcer.peers.store import PortVerdict, Role

HASH = b"h" * 20


def endpoint(number: int, port: int = 6881) -> bytes:
    return bytes((10, 0, number >> 8, number & 255)) + port.to_bytes(2, "big")


class Network:
    """What is there when somebody connects: everybody, but for those who are `away`; nobody while `gate` is closed."""

    def __init__(self, *away: str, result: bool | None = True) -> None:
        self.away, self.result = away, result
        self.tried: list[str] = []
        self.open_now = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self, address: Address, port: int, timeout_s: float) -> bool | None:
        self.tried.append(f"{address}:{port}")
        self.open_now += 1
        self.most_at_once = max(self.most_at_once, self.open_now)
        await self.gate.wait()
        self.open_now -= 1
        return self.result if str(address) not in self.away else False


class Rig:
    """A prober over a store, with work to do."""

    def __init__(self, network: Network) -> None:
        self.network, self.store = network, MemoryStore()
        self.store.register([HASH])
        self.prober = Prober(self.store, clock=lambda: 7.0, connect=network.connect, timings=ProbeTimings(pace_s=0))

    def announce(self, *endpoints: bytes) -> None:
        for one in endpoints:
            self.store.put(HASH, one, Role.SEEDER, now=0)
            self.prober.ask(one)

    async def run_until(self, tried: int) -> None:
        running = asyncio.create_task(self.prober.run(Health()))
        await until(lambda: len(self.network.tried) == tried and not self.network.open_now)
        running.cancel()


async def until(check: Callable[[], bool]) -> None:
    """Let the others go on until `check` holds."""
    deadline_s = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_what_comes_out_is_kept_with_the_peer() -> None:
    async def scenario() -> None:
        rig = Rig(Network("10.0.0.2"))
        rig.announce(endpoint(1), endpoint(2))
        await rig.run_until(2)
        assert rig.network.tried == ["10.0.0.1:6881", "10.0.0.2:6881"]
        assert (rig.store.verdict(endpoint(1)), rig.store.verdict(endpoint(2))) == (
            PortVerdict(True, 7.0),
            PortVerdict(False, 7.0),
        )

    asyncio.run(scenario())


def test_an_endpoint_that_waits_or_is_being_tried_is_not_asked_for_again() -> None:
    async def scenario() -> None:
        rig = Rig(Network())
        rig.network.gate.clear()
        rig.announce(endpoint(1), endpoint(1))
        running = asyncio.create_task(rig.prober.run(Health()))
        await until(lambda: bool(rig.network.tried))
        rig.announce(endpoint(1))
        rig.network.gate.set()
        await until(lambda: rig.store.verdict(endpoint(1)) is not None)
        running.cancel()
        assert len(rig.network.tried) == 1

    asyncio.run(scenario())


def test_a_try_that_raises_ends_alone() -> None:
    async def scenario() -> None:
        rig = Rig(Network())
        mark = rig.store.mark

        def broken(one: bytes, *, is_reachable: bool, now: float) -> None:
            if one == endpoint(1):
                raise ZeroDivisionError
            mark(one, is_reachable=is_reachable, now=now)

        rig.store.mark = broken  # type: ignore[method-assign,assignment]
        rig.announce(endpoint(1), endpoint(2))
        await rig.run_until(2)
        assert rig.store.verdict(endpoint(2)) == PortVerdict(True, 7.0)

    asyncio.run(scenario())


def test_no_more_than_so_many_are_tried_at_once() -> None:
    async def scenario() -> None:
        rig = Rig(Network())
        rig.network.gate.clear()
        rig.announce(*map(endpoint, range(3 * module.AT_ONCE)))
        running = asyncio.create_task(rig.prober.run(Health()))
        await until(lambda: rig.network.open_now == module.AT_ONCE)
        for _ in range(100):
            await asyncio.sleep(0)
        rig.network.gate.set()
        await until(lambda: len(rig.network.tried) == 3 * module.AT_ONCE)
        running.cancel()
        assert rig.network.most_at_once == module.AT_ONCE

    asyncio.run(scenario())


def test_one_address_cannot_fill_the_queue() -> None:
    async def scenario() -> None:
        rig = Rig(Network())
        for port in range(1, 1000):
            rig.prober.ask(endpoint(1, port))
        rig.prober.ask(endpoint(2))
        await rig.run_until(module.MAX_QUEUED_PER_ADDRESS + 1)
        assert rig.network.tried[-1] == "10.0.0.2:6881"
        assert len(rig.network.tried) == module.MAX_QUEUED_PER_ADDRESS + 1

    asyncio.run(scenario())


def test_a_trouble_of_our_own_is_no_verdict() -> None:
    async def scenario() -> None:
        rig = Rig(Network(result=None))
        rig.announce(endpoint(1))
        await rig.run_until(1)
        assert rig.store.verdict(endpoint(1)) is None
        assert await rig.prober.reach(ipaddress.ip_address("10.0.0.1"), 6881) is None

    asyncio.run(scenario())


def test_an_address_that_needs_its_link_named_is_not_tried() -> None:
    async def scenario() -> None:
        rig = Rig(Network())
        local = ipaddress.ip_address("fe80::1")
        rig.prober.ask(local.packed + b"\x1a\xe1")
        rig.prober.ask(endpoint(1))
        await rig.run_until(1)
        assert await rig.prober.reach(local, 6881) is None
        assert rig.network.tried == ["10.0.0.1:6881"]

    asyncio.run(scenario())


def test_who_asks_is_answered_at_once_and_its_peer_is_judged_too() -> None:
    async def scenario() -> None:
        rig = Rig(Network("10.0.0.1"))
        rig.store.put(HASH, endpoint(1), Role.SEEDER, now=0)
        assert await rig.prober.reach(ipaddress.ip_address("10.0.0.1"), 6881) is False
        assert rig.store.verdict(endpoint(1)) == PortVerdict(False, 7.0)
        assert await rig.prober.reach(ipaddress.ip_address("10.0.0.2"), 6881) is True

    asyncio.run(scenario())


async def _claim(rig: Rig, answer: bool | None) -> list[str]:
    """Return what became of an endpoint that was claimed, where a greeting has such an end."""

    async def greet(_address: Address, _port: int, _info_hash: bytes, _timeout_s: float) -> bool | None:
        return answer

    prober = Prober(rig.store, clock=lambda: 7.0, greet=greet, timings=ProbeTimings(pace_s=0))
    entered: list[str] = []

    def enter() -> None:
        rig.store.put(HASH, endpoint(1), Role.SEEDER, now=0)
        entered.append("entered")

    prober.prove(HASH, endpoint(1), b"its owner", enter)
    running = asyncio.create_task(prober.run(Health()))
    await asyncio.sleep(0.05)
    running.cancel()
    return entered + [f"reachable: {one.is_reachable}" for one in [rig.store.verdict(endpoint(1))] if one is not None]


def test_a_claim_counts_when_a_peer_answers_and_where_nothing_does_but_not_at_another_service() -> None:
    """A host may see less than its clients do; a service that answers is never entered as a peer."""
    assert asyncio.run(_claim(Rig(Network()), True)) == ["entered"]
    assert asyncio.run(_claim(Rig(Network()), False)) == []
    assert asyncio.run(_claim(Rig(Network()), None)) == ["entered", "reachable: False"]


def test_a_machine_that_has_all_of_it_before_it_was_found_is_entered_as_that() -> None:
    """Its last word counts: a small file is there before the answer is."""

    assert asyncio.run(_proved(("one", "a leecher"), ("one", "a seeder"))) == ["a seeder"]


def test_a_machine_that_ends_before_it_was_found_is_not_entered_and_only_it_itself_can_end_so() -> None:
    assert asyncio.run(_proved(("one", "a leecher"), ("one", STOPPED))) == []
    assert asyncio.run(_proved(("one", "a leecher"), ("other", STOPPED))) == ["a leecher"]
    assert asyncio.run(_proved(("one", "a leecher"), ("one", STOPPED), ("one", "a seeder"))) == ["a seeder"]
    assert asyncio.run(_proved(("one", "a leecher"), ("other", "a seeder"))) == ["a leecher"], "it belongs to the first"
    assert asyncio.run(_proved(("one", "a leecher"), ("other", "a seeder"), ("one", STOPPED))) == ["a seeder"]
    claims = [(str(number), "a seeder") for number in range(1000)]
    ends = [(owner, STOPPED) for owner, _ in claims[: module.MAX_CLAIMS]]
    assert asyncio.run(_proved(*claims, *ends)) == [], "no more are remembered"


STOPPED = ""


async def _proved(*claims: tuple[str, str]) -> list[str]:
    """Return what is entered when a peer answers after all that was claimed of one endpoint, each by an owner."""
    answers, ended, said = asyncio.Event(), asyncio.Event(), list[str]()

    async def greet(_address: Address, port: int, _info_hash: bytes, _timeout_s: float) -> bool | None:
        if port != 6881:
            ended.set()
        await answers.wait()
        return True

    prober = Prober(MemoryStore(), clock=lambda: 7.0, greet=greet, timings=ProbeTimings(pace_s=0))
    running = None
    for owner, words in claims:
        if words == STOPPED:
            prober.forget(HASH, endpoint(1), owner.encode())
        else:
            prober.prove(HASH, endpoint(1), owner.encode(), partial(said.append, words))
        if running is None:
            running = asyncio.create_task(prober.run(Health()))
            await asyncio.sleep(0.01)  # it is being asked now
    answers.set()
    prober.prove(HASH, endpoint(1, 7000), b"another", ended.set)
    await asyncio.wait_for(ended.wait(), 20)
    for _ in range(10):
        await asyncio.sleep(0)
    assert running is not None
    running.cancel()
    return said


def test_what_is_there_and_is_no_peer_is_told_apart_from_what_does_not_answer() -> None:
    here = ipaddress.ip_address("127.0.0.1")

    async def greet(port: int) -> bool | None:
        return await module.can_greet(here, port, HASH, 0.2)

    with socket.socket() as service, socket.socket() as full, socket.socket() as one, socket.socket() as other:
        for listener in (service, full):
            listener.bind((str(here), 0))
        service.listen()  # it takes the connection, and says nothing that a peer says
        assert asyncio.run(greet(service.getsockname()[1])) is False
        full.listen(0)  # and takes none: what comes now is not answered
        for crowd in (one, other):
            crowd.setblocking(False)
            crowd.connect_ex(full.getsockname())
        assert asyncio.run(greet(full.getsockname()[1])) is None
        port = service.getsockname()[1]
    assert asyncio.run(greet(port)) is False, "refused: nobody listens there"
