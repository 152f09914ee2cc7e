"""Connection ids prove an address for two minutes."""

from __future__ import annotations

from llmpt_tracker.announcer.udp.connections import ConnectionIds


def test_an_id_is_good_for_its_address_and_for_two_minutes() -> None:
    now = [1000.0]
    ids = ConnectionIds(lambda: now[0])
    given = ids.give("10.0.0.1")
    assert len(given) == 8
    assert not ids.is_good(given, "10.0.0.2")
    assert not ids.is_good(bytes(8), "10.0.0.1")
    for seconds, is_good in ((0, True), (120, True), (180, False), (-100, False)):
        now[0] = 1000.0 + seconds
        assert ids.is_good(given, "10.0.0.1") is is_good


def test_another_tracker_and_the_next_start_know_no_id_of_this_one() -> None:
    assert not ConnectionIds(lambda: 0.0).is_good(ConnectionIds(lambda: 0.0).give("10.0.0.1"), "10.0.0.1")
