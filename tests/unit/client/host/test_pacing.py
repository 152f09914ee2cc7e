"""What strangers can cause is one line in the log for many."""

from __future__ import annotations

from llmpt.host.pacing import Paced


def test_a_thousand_refusals_are_a_line_at_once_and_one_that_counts_the_rest() -> None:
    now, said = [0.0], []
    paced = Paced(lambda words, *filled_in: said.append(words % filled_in), every_s=10, clock=lambda: now[0])
    for number in range(1000):
        paced("refused %s", f"10.0.0.{number}")
    assert said == ["refused 10.0.0.0"]
    now[0] += 10
    paced("refused %s", "10.1.0.1")
    assert said[1:] == ["refused 10.1.0.1 (and 999 more like it)"]
    now[0] += 10
    paced("refused %s", "10.1.0.2")
    assert said[2:] == ["refused 10.1.0.2"]


def test_another_sentence_has_a_pace_of_its_own() -> None:
    said: list[str] = []
    paced = Paced(lambda words, *filled_in: said.append(words % filled_in), clock=lambda: 0.0)
    assert [paced("refused %s", "a"), paced("turned away %s", "b"), paced("refused %s", "c")] == [True, True, False]
    assert said == ["refused a", "turned away b"]
