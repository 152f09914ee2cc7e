"""A seeder is alive by its heartbeats, by its announces, and by what answers where it announced from."""

from __future__ import annotations

from llmpt_tracker.announcer.peers.seeders import ALIVE_S, DOUBTED_S, GIVEN_UP_S, MAX_SEEDERS, Seeders

KEY, ENDPOINT = "k" * 32, b"\x0a\0\0\1\x1a\xe1"


def seeders() -> Seeders:
    found = Seeders()
    found.beat("one", key=KEY, report={}, now=0)
    return found


def test_each_sign_of_life_counts_for_half_a_minute() -> None:
    found = seeders()
    assert found.is_alive(KEY, ALIVE_S - 1)
    assert not found.is_alive(KEY, ALIVE_S)
    found.announced(KEY, b"h" * 20, ENDPOINT, ALIVE_S)
    assert found.is_alive(KEY, 2 * ALIVE_S - 1)
    found.answered(KEY, 2 * ALIVE_S)
    assert [beat.seeder for beat in found.alive(3 * ALIVE_S - 1)] == ["one"]
    assert not found.is_alive(KEY, 3 * ALIVE_S)


def test_a_silent_one_is_asked_where_it_announced_from_and_not_for_ever() -> None:
    found = seeders()
    found.announced(KEY, b"h" * 20, ENDPOINT, 0)
    assert found.doubted(DOUBTED_S - 1) == []
    assert [(key, sign.endpoint) for key, sign in found.doubted(DOUBTED_S)] == [(KEY, ENDPOINT)]
    assert found.doubted(GIVEN_UP_S) == []


def test_a_new_key_of_a_seeder_replaces_its_old_one() -> None:
    found = seeders()
    found.beat("one", key="n" * 32, report={}, now=1)
    assert not found.knows(KEY)
    assert not found.is_alive(KEY, 1)


def test_there_is_an_end_to_seeders() -> None:
    found = Seeders()
    for number in range(2 * MAX_SEEDERS):
        found.beat(f"{number}", key=f"{number}", report={}, now=number / 1000)
    assert len(found.all()) == MAX_SEEDERS
    assert found.knows(f"{2 * MAX_SEEDERS - 1}")
