"""Signs of life: the health check says which loop is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.core.breaker import Pauses
from llmpt.core.errors import LlmptError
from llmpt.host.loops import Rhythm, Trouble
from llmpt_seeder.errors import NoLife
from llmpt_seeder.life import STALE_S, Life, what_is_wrong
from tests.support.waiting import eventually


def test_a_seeder_whose_loops_beat_is_alive(tmp_path: Path) -> None:
    life = Life(tmp_path / "seeder.alive", clock=lambda: 100.0)
    life.beat("work")
    life.beat("heartbeat")
    assert what_is_wrong(tmp_path / "seeder.alive", now=100 + STALE_S) is None


def test_one_silent_loop_is_enough(tmp_path: Path) -> None:
    now = 100.0
    life = Life(tmp_path / "seeder.alive", clock=lambda: now)
    life.beat("work")
    now += STALE_S + 1
    life.beat("heartbeat")
    with pytest.raises(NoLife, match="no sign of life from: work for 61 s"):
        what_is_wrong(tmp_path / "seeder.alive", now=now)


def test_a_sign_of_life_from_the_future_is_none(tmp_path: Path) -> None:
    Life(tmp_path / "seeder.alive", clock=lambda: 5000.0).beat("work")
    with pytest.raises(NoLife, match=r"no sign of life from: work \(its last is from the future\)"):
        what_is_wrong(tmp_path / "seeder.alive", now=100)


def test_no_seeder_is_not_a_healthy_one(tmp_path: Path) -> None:
    life = Life(tmp_path / "seeder.alive", clock=lambda: 100.0)
    life.beat("work")
    life.remove()
    with pytest.raises(NoLife, match="no seeder runs"):
        what_is_wrong(tmp_path / "seeder.alive", now=100)


def test_a_file_that_makes_no_sense_is_no_sign_of_life(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"beats": {"work": null}, "troubles": []}', '{"beats": {"work": 100.0}}'):
        (tmp_path / "seeder.alive").write_text(text)
        with pytest.raises(NoLife):
            what_is_wrong(tmp_path / "seeder.alive", now=100)


def test_a_full_disk_does_not_stop_a_loop(tmp_path: Path) -> None:
    Life(tmp_path / "no folder" / "seeder.alive", clock=lambda: 100.0).beat("work")


def test_a_loop_goes_on_whatever_its_step_raises_and_the_seeder_is_unhealthy_meanwhile(tmp_path: Path) -> None:
    life = Life(tmp_path / "seeder.alive", clock=lambda: 100.0)
    errors: list[Exception] = [LlmptError("the disk is full")] * 3

    def step() -> None:
        if errors:
            raise errors.pop()

    thread = life.start("work", step, Rhythm(interval_s=0.01, pauses=Pauses(first_s=0), bad_failures=3))
    eventually(lambda: not errors, what="three failures")
    life.stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_what_goes_on_failing_is_named_by_the_health_check(tmp_path: Path) -> None:
    life = Life(tmp_path / "seeder.alive", clock=lambda: 100.0)
    life.health.is_bad(Trouble("listings", "the disk is full", 90.0))
    life.beat("work")
    assert what_is_wrong(tmp_path / "seeder.alive", now=100) == "listings does not work: the disk is full"
    life.health.is_good("listings")
    life.beat("heartbeat")
    assert what_is_wrong(tmp_path / "seeder.alive", now=100) is None
