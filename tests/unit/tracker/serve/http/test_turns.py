"""Whose request is answered next."""

from __future__ import annotations

from llmpt_tracker.serve.http.turns import OWN, Turns


def test_a_machine_that_sends_many_delays_its_own() -> None:
    turns: Turns[str] = Turns(at_once=4, of_each=3)
    for number in range(10):
        turns.add("loud", f"loud {number}")
    assert [turns.take() for _ in range(4)] == ["loud 0", "loud 1", "loud 2", None]
    turns.add("quiet", "quiet 0")
    assert [turns.take() for _ in range(2)] == ["quiet 0", None]
    turns.end("loud")
    assert turns.take() == "loud 3"


def test_machines_take_turns() -> None:
    turns: Turns[str] = Turns(at_once=10)
    for machine in "aab", "b":
        for one in machine:
            turns.add(one, one)
    assert [turns.take() for _ in range(5)] == ["a", "b", "a", "b", None]


def test_the_appliances_own_has_its_turn_when_all_are_taken() -> None:
    turns: Turns[str] = Turns(at_once=2)
    for machine in ("a", "b", "c", OWN):
        turns.add(machine, machine)
    assert [turns.take() for _ in range(4)] == ["a", "b", OWN, None]


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
    assert turns.take() is None


def test_a_machine_that_has_its_turns_keeps_none_of_its_neighbours_waiting() -> None:
    turns: Turns[str] = Turns(at_once=10, of_each=1, of_neighbourhood=3)
    for number in range(3):
        turns.add("fd00::1", f"one's {number}")
    turns.add("fd00::2", "another's")
    assert [turns.take() for _ in range(3)] == ["one's 0", "another's", None]
