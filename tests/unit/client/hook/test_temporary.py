"""The temporary file: whose it is, and when it goes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.hook.temporary import Hold, Temporary

SIZE = 1000
ETAG = Etag("a" * 64)


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Temporary]:
    made = Temporary.beside(tmp_path / "blob.incomplete", ETAG, SIZE)
    yield made
    made.close()


def test_its_name_is_the_same_for_the_next_try_and_another_for_another_blob(tmp_path: Path) -> None:
    incomplete = tmp_path / "blob.incomplete"
    first, again = (Temporary.beside(incomplete, ETAG, SIZE).path for _ in range(2))
    assert first == again
    assert first.parent == tmp_path
    assert first != Temporary.beside(incomplete, Etag("b" * 64), SIZE).path


def test_what_this_try_has_made_is_fresh_and_what_an_earlier_one_left_is_found(temporary: Temporary) -> None:
    assert temporary.open()
    assert temporary.hold is Hold.FRESH
    temporary.close()
    again = Temporary(temporary.path, SIZE)
    assert again.open()
    assert again.hold is Hold.FOUND
    again.close()


@pytest.mark.parametrize("found", [False, True])
def test_what_is_ours_can_be_removed_and_takes_no_room_any_more(temporary: Temporary, found: bool) -> None:
    if found:
        temporary.path.write_bytes(b"x" * SIZE)
    assert temporary.open()
    temporary.remove()
    assert not temporary.path.exists()
    assert temporary.descriptor is not None
    assert os.fstat(temporary.descriptor).st_size == 0


def test_what_an_agent_may_still_give_to_others_stays_as_it_is(temporary: Temporary) -> None:
    temporary.path.write_bytes(b"x" * SIZE)
    assert temporary.open()
    temporary.lend()
    temporary.remove()
    assert temporary.path.read_bytes() == b"x" * SIZE


def test_what_another_download_uses_is_not_ours_to_remove(temporary: Temporary) -> None:
    temporary.path.write_bytes(b"some")
    with temporary.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not temporary.open()
        assert temporary.hold is Hold.NOTHING
        temporary.remove()
    assert temporary.path.read_bytes() == b"some"


def test_what_took_its_name_meanwhile_is_left_alone(temporary: Temporary) -> None:
    assert temporary.open()
    temporary.path.unlink()
    temporary.path.write_bytes(b"another's")
    temporary.remove()
    assert temporary.path.read_bytes() == b"another's"
    assert not temporary.is_at(temporary.path)


def test_it_is_whole_only_where_it_lies_and_with_all_its_bytes(temporary: Temporary, tmp_path: Path) -> None:
    assert not temporary.is_whole_at(temporary.path)
    assert temporary.open()
    assert not temporary.is_whole_at(temporary.path)
    os.truncate(temporary.path, SIZE)
    assert temporary.is_whole_at(temporary.path)
    temporary.path.rename(tmp_path / "final")
    assert not temporary.is_whole_at(temporary.path)
    assert temporary.is_whole_at(tmp_path / "final")


def test_a_closed_one_can_be_had_by_the_next(temporary: Temporary) -> None:
    assert temporary.open()
    second = Temporary(temporary.path, SIZE)
    assert not second.open()
    second.close()
    temporary.close()
    temporary.close()
    assert second.open()
    second.close()


def test_where_nothing_can_be_written_there_is_none(tmp_path: Path) -> None:
    none = Temporary(tmp_path / "no such folder" / "x.incomplete", SIZE)
    assert not none.open()
    assert none.hold is Hold.NOTHING
    assert not none.leaves_no_room()
    none.remove()
    none.close()
