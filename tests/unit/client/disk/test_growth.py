"""Which of the files beside a download is the library's own, and how fast it grows; and how the bar shows a wait."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmpt.disk.growth import Growth

MIB = 1 << 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_librarys_file_is_found_by_whatever_name_it_has(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "etag.deadbeef.incomplete").write_bytes(b"left by a program that was killed" * 9)
    (tmp_path / "other.incomplete").write_bytes(b"of another file" * 99)
    growth = Growth(tmp_path / "etag", 10 * MIB, not_these=frozenset({"etag.00000001.incomplete"}), clock=clock)
    (tmp_path / "etag.00000001.incomplete").write_bytes(b"the hook's own" * 99)
    assert growth.done_bytes == 0
    for second in (1, 2, 3):
        clock.now = second
        with (tmp_path / "etag.0123abcd.incomplete").open("ab") as file:
            file.write(bytes(MIB))
        growth.look()
        assert growth.done_bytes == second * MIB
    assert growth.rate_bytes_s == MIB
    for second in (4, 5, 6, 7):
        clock.now = second
        growth.look()
    assert growth.rate_bytes_s == 0
    (tmp_path / "etag.0123abcd.incomplete").unlink()
    growth.look()
    assert growth.done_bytes == 3 * MIB, "it never goes down"


def test_one_that_an_older_library_goes_on_with_counts_from_where_it_is(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "etag.incomplete").write_bytes(bytes(MIB))
    assert Growth(tmp_path / "etag", 10 * MIB, clock=clock).done_bytes == MIB


def test_one_that_has_its_size_from_the_start_counts_by_what_is_on_disk(tmp_path: Path, clock: Clock) -> None:
    growth = Growth(tmp_path / "etag", 64 * MIB, clock=clock)
    file = tmp_path / "etag.0123abcd.incomplete"
    with file.open("wb") as sparse:
        os.truncate(sparse.fileno(), 64 * MIB)
    growth.look()
    assert growth.done_bytes < MIB
    file.write_bytes(bytes(64 * MIB))
    growth.look()
    assert growth.done_bytes >= 32 * MIB


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert Growth(tmp_path / "gone" / "etag", 5).done_bytes == 0


def test_a_folder_with_many_files_is_not_read_again_while_the_file_grows(tmp_path: Path) -> None:
    growth, file, read = Growth(tmp_path / "etag", 10 * MIB), tmp_path / "etag.0123abcd.incomplete", []
    file.write_bytes(bytes(MIB))
    while not growth.done_bytes:  # after a slow look the folder is left alone for a while
        growth.look()
    sys.addaudithook(lambda event, args: read.append(event) if event == "os.scandir" and str(args[0]) == str(tmp_path) else None)
    for number in range(2, 8):
        with file.open("ab") as more:
            more.write(bytes(MIB))
        growth.look()
        assert growth.done_bytes == number * MIB
    assert read == []


def test_a_folder_that_is_long_to_read_is_left_alone_for_a_while(tmp_path: Path) -> None:
    read, now = [], [0.0]

    def clock() -> float:
        now[0] += 0.1
        return now[0]

    growth = Growth(tmp_path / "etag", 10 * MIB, clock=clock)
    sys.addaudithook(lambda event, args: read.append(event) if event == "os.scandir" and str(args[0]) == str(tmp_path) else None)
    for _ in range(40):
        growth.look()
    assert len(read) <= 3
    (tmp_path / "etag.0123abcd.incomplete").write_bytes(bytes(MIB))
    for _ in range(40):
        growth.look()
    assert growth.done_bytes == MIB, "it is found all the same"
