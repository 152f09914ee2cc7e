"""Signs of life: the health check says which loop is silent."""

from __future__ import annotations

from pathlib import Path

from llmpt_seeder.alive import STALE_S, SignsOfLife, what_is_wrong


def test_a_seeder_whose_loops_beat_is_alive(tmp_path: Path) -> None:
    life = SignsOfLife(tmp_path / "seeder.alive", clock=lambda: 100.0)
    life.beat("work")
    life.beat("heartbeat")
    assert what_is_wrong(tmp_path / "seeder.alive", now=100 + STALE_S) is None


def test_one_silent_loop_is_enough(tmp_path: Path) -> None:
    now = 100.0
    life = SignsOfLife(tmp_path / "seeder.alive", clock=lambda: now)
    life.beat("work")
    now += STALE_S + 1
    life.beat("heartbeat")
    assert what_is_wrong(tmp_path / "seeder.alive", now=now) == "no sign of life from: work for 61 s"


def test_no_seeder_is_not_a_healthy_one(tmp_path: Path) -> None:
    life = SignsOfLife(tmp_path / "seeder.alive", clock=lambda: 100.0)
    life.beat("work")
    life.remove()
    assert "no seeder runs" in (what_is_wrong(tmp_path / "seeder.alive", now=100) or "")


def test_a_file_that_makes_no_sense_is_no_sign_of_life(tmp_path: Path) -> None:
    for text in ("", "[]", '{"work": null}', "{}"):
        (tmp_path / "seeder.alive").write_text(text)
        assert what_is_wrong(tmp_path / "seeder.alive", now=100) is not None


def test_a_full_disk_does_not_stop_a_loop(tmp_path: Path) -> None:
    SignsOfLife(tmp_path / "no folder" / "seeder.alive", clock=lambda: 100.0).beat("work")
