"""Which pieces of a young swarm are whose: disjoint, all of them, alike for all that see the same."""

from __future__ import annotations

import random

from llmpt.swarm.shares import OTHERS, OWN, USUAL, Shares, make_peer_id

PIECES = 1000


def own(peer_id: bytes, peers: list[bytes], lacking: list[int]) -> set[int]:
    """Return the share of one of these peers."""
    priorities = Shares(peer_id, PIECES).among([peer for peer in peers if peer != peer_id], lacking)
    assert priorities is not None
    assert set(priorities) <= {OWN, OTHERS}
    return {piece for piece, priority in enumerate(priorities) if priority == OWN}


def peers(count: int) -> list[bytes]:
    return [make_peer_id().encode() for _ in range(count)]


def test_the_shares_of_all_leechers_are_disjoint_equal_and_all_that_nobody_has() -> None:
    for count in (2, 3, 7, 50):
        crowd, lacking = peers(count), sorted(random.Random(count).sample(range(PIECES), 700))
        shares = [own(peer, crowd, lacking) for peer in crowd]
        assert set.union(*shares) == set(lacking)
        assert sum(map(len, shares)) == len(lacking)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_a_fast_one_has_taken_more_is_taken_off_the_others() -> None:
    fast, slow = crowd = sorted(peers(2))
    assert own(fast, crowd, [*range(PIECES)]) == {*range(500)}
    assert own(fast, crowd, [*range(400, PIECES)]) == {*range(400, 700)}, "it has come to the end of its own first"
    assert own(slow, crowd, [*range(400, PIECES)]) == {*range(700, PIECES)}


def test_more_leechers_than_pieces_leave_some_without_a_share() -> None:
    crowd = peers(5)
    assert sorted(len(own(peer, crowd, [7, 9])) for peer in crowd) == [0, 0, 0, 1, 1]


def test_alone_all_pieces_are_as_usual_and_nothing_is_said_twice() -> None:
    me, other = peers(2)
    shares = Shares(me, 4)
    assert shares.among([], [0, 1, 2, 3]) is None
    assert shares.among([other], [0, 1, 2, 3]) is not None
    assert shares.among([other], [0, 1, 2, 3]) is None
    assert shares.among([], []) == [USUAL] * 4


def test_a_peer_id_has_twenty_characters_and_is_nobody_elses() -> None:
    ids = peers(100)
    assert {len(one) for one in ids} == {20}
    assert len(set(ids)) == 100
    assert all(one.startswith(b"-LT") for one in ids)
