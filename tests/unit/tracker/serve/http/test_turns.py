"""Whose request is answered next."""

from __future__ import annotations

from llmpt_tracker.serve.http.turns import OWN, Turns


def taken(turns: Turns[str], count: int) -> list[str | None]:
    return [turns.take() for _ in range(count)]


def test_a_machine_that_sends_many_delays_its_own() -> None:
    turns: Turns[str] = Turns(at_once=4, of_each=(3, 3, 3))
    for number in range(10):
        turns.add("loud", f"loud {number}")
    assert taken(turns, 4) == ["loud 0", "loud 1", "loud 2", None]
    turns.add("quiet", "quiet 0")
    assert taken(turns, 2) == ["quiet 0", None]
    turns.end("loud")
    assert turns.take() == "loud 3"


def test_machines_take_turns() -> None:
    turns: Turns[str] = Turns(at_once=10, of_each=(2, 2, 2))
    for machine in "aab", "b":
        for one in machine:
            turns.add(one, one)
    assert taken(turns, 5) == ["a", "b", "a", "b", None]


def test_the_appliances_own_has_its_turn_when_all_are_taken() -> None:
    turns: Turns[str] = Turns(at_once=2)
    for machine in ("a", "b", "c", OWN, OWN, OWN):
        turns.add(machine, machine)
    assert taken(turns, 5) == ["a", "b", OWN, OWN, None]


def test_a_request_that_steps_aside_makes_room_and_comes_back() -> None:
    turns: Turns[str] = Turns(at_once=1)
    turns.add("a", "1")
    turns.add("a", "2")
    assert turns.take() == "1"
    assert turns.take() is None
    turns.end("a")
    assert turns.take() == "2"
    turns.begin("a")
    turns.end("a")
    turns.end("a")
    assert turns.is_idle
    assert turns.take() is None


def test_a_machine_that_has_its_turns_keeps_none_of_its_neighbours_waiting() -> None:
    turns: Turns[str] = Turns(at_once=10)
    for number in range(3):
        turns.add("fd00::1", f"one's {number}")
    turns.add("fd00::2", "another's")
    assert taken(turns, 3) == ["one's 0", "another's", None]


def test_a_neighbourhood_that_has_its_turns_keeps_no_other_of_its_site_waiting() -> None:
    turns: Turns[str] = Turns(at_once=10)
    for machine in ("fd00::1", "fd00::2", "fd00::3", "fd00:0:0:1::1"):
        turns.add(machine, machine)
    assert taken(turns, 4) == ["fd00::1", "fd00:0:0:1::1", "fd00::2", None]
