"""Which file a path names."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.core.files import FileId, expand_home, real_path, strictly_real_path


def test_a_file_keeps_its_identity_under_another_name_and_another_file_has_another(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    one, two = (FileId.of((tmp_path / name).stat()) for name in ("one", "two"))
    (tmp_path / "one").rename(tmp_path / "three")
    assert FileId.of((tmp_path / "three").stat()) == one != two
    stat = tmp_path.stat()
    assert FileId.of(stat) == FileId(stat.st_dev, stat.st_ino)


def test_identities_are_values() -> None:
    assert len({FileId(1, 2), FileId(1, 2), FileId(1, 3), FileId(2, 2)}) == 3
    assert FileId(1, 3) < FileId(2, 2)
    with pytest.raises(AttributeError):
        FileId(1, 2).dev = 2  # type: ignore[misc]


def test_links_in_a_circle_lead_nowhere_and_are_no_bug(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    assert real_path(circle / "bin") == circle / "bin"
    with pytest.raises(OSError, match="symbolic links"):
        strictly_real_path(circle)


def test_the_home_of_nobody_stays_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/cache") == tmp_path / "cache"
    assert expand_home("~nobody-of-that-name/cache") == Path("~nobody-of-that-name/cache")
