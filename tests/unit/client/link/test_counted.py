"""What programs note of their questions, added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.link import counted
from llmpt.link.counted import FOLDER, MAX_BYTES, Counted

NOON, DAY = 1_800_000_000.0, 86400.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def notes(environ: dict[str, str]) -> list[Path]:
    return list(Path(environ["HOME"]).glob(f".local/state/llmpt/*/{FOLDER}/*"))


def test_what_programs_note_on_one_day_is_added_up(environ: dict[str, str]) -> None:
    assert counted.of_today(environ) == Counted()
    counted.note(environ, Counted(600, 1, 0), clock=lambda: NOON)
    counted.note(environ, Counted(3, 2, 5000), clock=lambda: NOON)
    assert counted.of_today(environ, clock=lambda: NOON) == Counted(603, 3, 5000)
    counted.note(environ, Counted(7, 0, 0), clock=lambda: NOON + DAY)
    assert counted.of_today(environ, clock=lambda: NOON + DAY) == Counted(7)
    assert len(notes(environ)) == 1, "the figures of other days have gone"


def test_nothing_is_noted_of_nothing_and_no_more_than_there_is_room_for(environ: dict[str, str]) -> None:
    counted.note(environ, Counted())
    assert notes(environ) == []
    counted.note(environ, Counted(1))
    (made,) = notes(environ)
    made.write_bytes(b"1 0 0\n" * (MAX_BYTES // 6 + 1))
    size = made.stat().st_size
    counted.note(environ, Counted(1))
    assert made.stat().st_size == size


def test_a_note_that_cannot_be_read_or_made_costs_its_own_figures_alone(environ: dict[str, str]) -> None:
    counted.note(environ, Counted(1))
    (made,) = notes(environ)
    made.write_bytes(b"1 2\nx y z\n1 1 1 1\n5 0 0\n9")
    assert counted.of_today(environ) == Counted(5 + 1 + 9, 2)
    made.unlink()
    made.mkdir()
    counted.note(environ, Counted(1))
    assert counted.of_today(environ) == Counted()
