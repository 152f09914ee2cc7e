"""What every `SwarmStore` does. A new implementation adds itself to `IMPLEMENTATIONS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.store import LOOPBACK_TAG, Counts, PortVerdict, Role, StoreLimits, SwarmStore
from llmpt_tracker.announcer.peers.wire import split
from llmpt_tracker.announcer.replicas.shared_store import SharedStore
from tests.support.replicated import Replicated
from tests.support.valkey import ValkeyProcess, program

Make = Callable[..., SwarmStore]
IMPLEMENTATIONS: dict[str, Make] = {
    "memory": MemoryStore,
    "shared": lambda **arguments: SharedStore(MemoryStore(**arguments), lambda _: None),
}

ONE, TWO = b"1" * 20, b"2" * 20


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyProcess]:
    with ValkeyProcess() as running:
        yield running


@pytest.fixture(params=[*IMPLEMENTATIONS, "valkey"])
def make(request: pytest.FixtureRequest) -> Make:
    """`valkey`: what is read is another replica's, which knows what it was told through a Valkey."""
    if request.param == "valkey" and program() is None:
        pytest.skip("needs Valkey or Redis (Debian: apt-get install redis-server)")

    def build(**arguments: object) -> SwarmStore:
        store: SwarmStore
        if request.param == "valkey":
            store = Replicated(request.getfixturevalue("valkey").url, lambda: MemoryStore(**arguments))  # type: ignore[arg-type]
        else:
            store = IMPLEMENTATIONS[request.param](**arguments)
        store.register([ONE, TWO])
        return store

    return build


def v4(number: int, port: int = 6881) -> bytes:
    return bytes((10, 0, number >> 8, number & 255)) + port.to_bytes(2, "big")


def v6(number: int) -> bytes:
    return b"\xfd" + bytes(14) + bytes((number,)) + (6881).to_bytes(2, "big")


def listed(
    store: SwarmStore, role: Role, *, family: int = 6, limit: int = 1000, exclude: bytes = b"", is_reachable: bool = True
) -> list[bytes]:
    return sorted(split(store.plain(ONE, role, family, limit, exclude=exclude, is_reachable=is_reachable), family))


def test_only_registered_torrents_are_on_the_list(make: Make) -> None:
    store = make()
    assert ONE in store
    assert b"3" * 20 not in store
    assert len(store) == 2


def test_registering_again_keeps_the_peers(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    store.add_completed(ONE)
    store.register([ONE])
    assert store.counts(ONE) == Counts(seeders=1, completed=1)


def test_torrents_come_onto_the_list_with_what_was_counted_before(make: Make) -> None:
    store = make()
    store.add_completed(ONE)
    store.register([ONE, b"3" * 20], completed={ONE: 7, b"3" * 20: 9})
    assert (store.counts(ONE).completed, store.counts(b"3" * 20).completed) == (1, 9)


def test_counts_that_have_changed_are_told_once(make: Make) -> None:
    store = make()
    store.register([b"3" * 20], completed={b"3" * 20: 9})
    for info_hash in (ONE, ONE, TWO, b"3" * 20):
        store.add_completed(info_hash)
    store.unregister([TWO])
    assert store.newly_completed() == {ONE: 2, b"3" * 20: 10}
    assert store.newly_completed() == {}


def test_unregistering_drops_the_torrent_and_its_peers(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    store.put(TWO, v4(1), Role.SEEDER, now=0)
    store.unregister([ONE, b"3" * 20])
    assert ONE not in store
    assert store.counts(ONE) == Counts()
    assert store.peer_count == 1


def test_a_peer_of_a_torrent_that_is_not_listed_is_a_bug(make: Make) -> None:
    with pytest.raises(KeyError):
        make().put(b"3" * 20, v4(1), Role.SEEDER, now=0)


def test_put_returns_the_role_that_the_peer_had(make: Make) -> None:
    store = make()
    assert store.put(ONE, v4(1), Role.LEECHER, now=0) is None
    assert store.put(ONE, v4(1), Role.PAUSED, now=1) is Role.LEECHER
    assert store.put(ONE, v4(1), Role.SEEDER, now=2) is Role.PAUSED
    assert store.counts(ONE) == Counts(seeders=1)
    assert store.peer_count == 1


def test_all_peers_are_counted_by_role(make: Make) -> None:
    store = make()
    for number, role in enumerate((Role.LEECHER, Role.LEECHER, Role.SEEDER, Role.PAUSED)):
        store.put(ONE, v4(number), role, now=0, tag=LOOPBACK_TAG if number == 1 else None)
    store.put(TWO, v4(0), Role.LEECHER, now=0)
    store.put(ONE, v4(0), Role.SEEDER, now=1)
    store.remove(ONE, v4(3))
    assert dict(store.roles) == {Role.SEEDER: 2, Role.LEECHER: 2, Role.PAUSED: 0}
    store.unregister([ONE])
    assert dict(store.roles) == {Role.SEEDER: 0, Role.LEECHER: 1, Role.PAUSED: 0}


def test_remove_returns_the_role_and_forgets_the_peer(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.LEECHER, now=0)
    assert store.remove(ONE, v4(1)) is Role.LEECHER
    assert store.remove(ONE, v4(1)) is None
    assert store.counts(ONE) == Counts()
    assert store.peer_count == 0


def test_families_and_roles_are_kept_apart(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    store.put(ONE, v4(2), Role.LEECHER, now=0)
    store.put(ONE, v6(3), Role.SEEDER, now=0)
    store.put(ONE, v6(4), Role.PAUSED, now=0)
    assert listed(store, Role.SEEDER) == [v4(1)]
    assert listed(store, Role.LEECHER) == [v4(2)]
    assert listed(store, Role.SEEDER, family=18) == [v6(3)]
    assert listed(store, Role.PAUSED, family=18) == [v6(4)]
    assert store.counts(ONE) == Counts(seeders=2, leechers=1, paused=1)


def test_peers_that_leave_leave_no_gap(make: Make) -> None:
    store = make()
    for number in range(50):
        store.put(ONE, v4(number), Role.SEEDER, now=0)
    for number in range(0, 50, 2):
        store.remove(ONE, v4(number))
    assert listed(store, Role.SEEDER) == sorted(v4(number) for number in range(1, 50, 2))


@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.5, 0.97, 0.999999])
@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11, 100])
def test_a_sample_has_distinct_peers_without_the_asker_wherever_it_starts(make: Make, uniform: float, limit: int) -> None:
    store = make(uniform=lambda: uniform)
    everybody = {v4(number) for number in range(10)}
    for endpoint in everybody:
        store.put(ONE, endpoint, Role.SEEDER, now=0)
    assert len(listed(store, Role.SEEDER, limit=limit)) == min(limit, 10)
    for asker in everybody:
        found = listed(store, Role.SEEDER, limit=limit, exclude=asker)
        assert len(found) == len(set(found)) == min(limit, 9)
        assert set(found) <= everybody - {asker}


def test_a_sample_of_nothing_is_empty(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    assert store.plain(ONE, Role.SEEDER, 6, 0) == b""
    assert store.plain(ONE, Role.LEECHER, 6, 10) == b""
    assert store.plain(TWO, Role.SEEDER, 6, 10) == b""


def test_samples_start_at_different_places(make: Make) -> None:
    store = make()
    for number in range(200):
        store.put(ONE, v4(number), Role.SEEDER, now=0)
    assert len({store.plain(ONE, Role.SEEDER, 6, 1) for _ in range(200)}) > 20


def test_tagged_peers_are_told_one_by_one_and_not_in_samples(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0, tag="key", owner=b"a" * 20)
    store.put(ONE, v4(2), Role.LEECHER, now=0, tag="")
    assert listed(store, Role.SEEDER) == []
    assert [(peer.endpoint, peer.role, peer.tag) for peer in store.tagged(ONE)] == [
        (v4(1), Role.SEEDER, "key"),
        (v4(2), Role.LEECHER, ""),
    ]
    assert store.counts(ONE) == Counts()
    assert store.peer_count == 2


def test_a_peer_can_gain_and_lose_its_tag(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    store.put(ONE, v4(1), Role.SEEDER, now=1, tag="key")
    assert listed(store, Role.SEEDER) == []
    assert len(store.tagged(ONE)) == 1
    store.put(ONE, v4(1), Role.LEECHER, now=2)
    assert listed(store, Role.LEECHER) == [v4(1)]
    assert not store.tagged(ONE)


def test_the_peer_id_of_the_last_announce_is_known(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0, owner=b"a" * 20)
    store.put(ONE, v4(1), Role.SEEDER, now=1, owner=b"b" * 20)
    peer = store.peer(ONE, v4(1))
    assert peer is not None
    assert peer.owner == b"b" * 20
    assert store.peer(ONE, v4(2)) is None


def test_the_sweep_drops_the_silent_and_keeps_the_rest(make: Make) -> None:
    store = make(limits=StoreLimits(peer_ttl_s=100))
    for number in range(10):
        store.put(ONE, v4(number), Role.SEEDER, now=0)
    store.put(ONE, v4(3), Role.SEEDER, now=60)
    store.put(TWO, v4(1), Role.LEECHER, now=90, tag="")
    assert store.sweep(99, swarms=10) == 0
    assert store.sweep(100, swarms=10) == 9
    assert listed(store, Role.SEEDER) == [v4(3)]
    assert store.peer_count == 2


def test_the_sweep_goes_on_where_it_stopped(make: Make) -> None:
    store = make(limits=StoreLimits(peer_ttl_s=100))
    hashes = [bytes((number,)) * 20 for number in range(10)]
    store.register(hashes)
    for info_hash in hashes:
        store.put(info_hash, v4(1), Role.SEEDER, now=0)
    assert [store.sweep(200, swarms=4) for _ in range(3)] == [4, 4, 2]
    assert store.peer_count == 0


def test_one_address_has_a_limit_in_a_swarm_and_its_oldest_peer_goes(make: Make) -> None:
    store = make(limits=StoreLimits(per_address_and_swarm=3))
    for port in (1, 2, 3):
        store.put(ONE, v4(1, port), Role.SEEDER, now=port)
    store.put(ONE, v4(1, 1), Role.SEEDER, now=4)
    store.put(ONE, v4(1, 4), Role.SEEDER, now=5)
    assert listed(store, Role.SEEDER) == [v4(1, 1), v4(1, 3), v4(1, 4)]


def test_one_address_has_a_limit_over_all_swarms(make: Make) -> None:
    store = make(limits=StoreLimits(per_address=2))
    hashes = [bytes((number,)) * 20 for number in range(3)]
    store.register(hashes)
    for number, info_hash in enumerate(hashes):
        store.put(info_hash, v4(1), Role.SEEDER, now=number)
    assert [store.counts(info_hash).seeders for info_hash in hashes] == [0, 1, 1]


def test_a_swarm_has_a_limit_and_the_peer_silent_longest_goes(make: Make) -> None:
    store = make(limits=StoreLimits(per_swarm=3))
    for number in (1, 2, 3):
        store.put(ONE, v4(number), Role.SEEDER, now=number)
    store.put(ONE, v4(1), Role.SEEDER, now=4)
    store.put(ONE, v4(4), Role.SEEDER, now=5)
    assert listed(store, Role.SEEDER) == [v4(1), v4(3), v4(4)]


def test_tagged_peers_have_a_limit_of_their_own(make: Make) -> None:
    store = make(limits=StoreLimits(tagged_per_swarm=2))
    for number in (1, 2, 3):
        store.put(ONE, v4(number), Role.SEEDER, now=number, tag="key")
    assert [peer.endpoint for peer in store.tagged(ONE)] == [v4(2), v4(3)]


def test_an_unreachable_endpoint_is_told_apart_in_all_its_swarms(make: Make) -> None:
    store = make()
    for info_hash in (ONE, TWO):
        store.put(info_hash, v4(1), Role.SEEDER, now=0)
        store.put(info_hash, v4(2), Role.SEEDER, now=0)
    store.mark(v4(1), is_reachable=False, now=5)
    assert store.verdict(v4(1)) == PortVerdict(False, 5)
    assert (listed(store, Role.SEEDER), listed(store, Role.SEEDER, is_reachable=False)) == ([v4(2)], [v4(1)])
    assert store.plain(TWO, Role.SEEDER, 6, 10) == v4(2)
    assert store.counts(TWO) == Counts(seeders=2, unreachable=1)
    peer = store.peer(ONE, v4(1))
    assert peer is not None
    assert not peer.is_reachable


def test_an_unreachable_endpoint_is_so_in_swarms_that_it_comes_to_later_and_in_another_role(make: Make) -> None:
    store = make()
    store.put(TWO, v4(1), Role.SEEDER, now=0)
    store.mark(v4(1), is_reachable=False, now=0)
    store.put(ONE, v4(1), Role.LEECHER, now=1)
    store.put(ONE, v4(1), Role.SEEDER, now=2)
    assert (listed(store, Role.SEEDER), listed(store, Role.SEEDER, is_reachable=False)) == ([], [v4(1)])
    assert listed(store, Role.SEEDER, is_reachable=False, exclude=v4(1)) == []


def test_an_endpoint_that_can_be_reached_after_all_is_an_ordinary_one_again(make: Make) -> None:
    store = make()
    for number in range(1, 4):
        store.put(ONE, v4(number), Role.SEEDER, now=0)
        store.mark(v4(number), is_reachable=False, now=0)
    store.mark(v4(2), is_reachable=True, now=1)
    assert (listed(store, Role.SEEDER), listed(store, Role.SEEDER, is_reachable=False)) == ([v4(2)], [v4(1), v4(3)])
    assert store.counts(ONE) == Counts(seeders=3, unreachable=2)


def test_ports_of_one_address_are_judged_one_by_one(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1, 1), Role.SEEDER, now=0)
    store.put(ONE, v4(1, 2), Role.SEEDER, now=0)
    store.mark(v4(1, 1), is_reachable=False, now=0)
    assert store.verdict(v4(1, 2)) is None
    assert listed(store, Role.SEEDER) == [v4(1, 2)]


def test_what_is_known_of_an_endpoint_goes_with_the_last_peer_of_its_address(make: Make) -> None:
    store = make()
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    store.mark(v4(1), is_reachable=False, now=0)
    store.remove(ONE, v4(1))
    assert store.verdict(v4(1)) is None
    store.mark(v4(1), is_reachable=False, now=0)  # the verdict comes when the peer has gone
    store.put(ONE, v4(1), Role.SEEDER, now=0)
    assert listed(store, Role.SEEDER) == [v4(1)]


def test_a_tagged_peer_that_is_unreachable_says_so_and_keeps_its_place(make: Make) -> None:
    store = make()
    for number in (1, 2):
        store.put(ONE, v4(number), Role.SEEDER, now=number, tag="key")
    store.mark(v4(1), is_reachable=False, now=3)
    assert [(peer.endpoint, peer.is_reachable) for peer in store.tagged(ONE)] == [(v4(1), False), (v4(2), True)]
    store.remove(ONE, v4(1))
    store.put(ONE, v4(1), Role.SEEDER, now=4)
    assert store.counts(ONE) == Counts(seeders=1)


def tags(store: SwarmStore) -> list[str | None]:
    return [peer.tag for peer in store.tagged(ONE)]


@pytest.mark.parametrize("tag", [None, ""])
def test_who_has_entered_under_a_key_is_never_displaced_by_who_has_not(make: Make, tag: str | None) -> None:
    store = make(limits=StoreLimits(per_address_and_swarm=3, per_address=5, per_swarm=6, tagged_per_swarm=4))
    store.put(ONE, v4(1, 1), Role.SEEDER, now=0, tag="key")
    for number in range(20):  # of its own host, and of others
        store.put(ONE, v4(1, 100 + number), Role.LEECHER, now=number, tag=tag)
        store.put(TWO, v4(1, 100 + number), Role.LEECHER, now=number, tag=tag)
        store.put(ONE, v4(2 + number), Role.LEECHER, now=number, tag=tag)
    assert "key" in tags(store)
    assert store.peer_count <= 6 + 5


def test_a_swarm_full_of_keys_takes_no_other_and_one_more_key(make: Make) -> None:
    store = make(limits=StoreLimits(per_swarm=2))
    for number in (1, 2):
        store.put(ONE, v4(number), Role.SEEDER, now=number, tag=f"key {number}")
    assert store.put(ONE, v4(9), Role.LEECHER, now=9) is None
    assert store.peer(ONE, v4(9)) is None
    store.put(ONE, v4(3), Role.SEEDER, now=3, tag="key 3")
    assert sorted(filter(None, tags(store))) == ["key 2", "key 3"]


def test_a_keyed_peer_that_comes_without_its_key_counts_as_any_other(make: Make) -> None:
    store = make(limits=StoreLimits(per_address_and_swarm=1))
    store.put(ONE, v4(1), Role.SEEDER, now=0, tag="key")
    store.put(ONE, v4(1), Role.SEEDER, now=1)
    store.put(ONE, v4(1, 2), Role.SEEDER, now=2)
    assert listed(store, Role.SEEDER) == [v4(1, 2)]
    store.put(ONE, v4(1, 2), Role.SEEDER, now=3, tag="key")
    store.mark(v4(1, 2), is_reachable=False, now=4)
    assert [peer.is_reachable for peer in store.tagged(ONE)] == [False]
    store.remove(ONE, v4(1, 2))
    assert store.peer_count == 0
