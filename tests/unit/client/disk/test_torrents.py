from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from llmpt.core.blob import READ_BYTES, Etag
from llmpt.core.errors import ContentMismatch, InvalidName, MetainfoError
from llmpt.core.metainfo import Metainfo
from llmpt.disk.torrents import HashingStopped, create_torrent


def content(size: int) -> bytes:
    return hashlib.shake_256(b"llmpt golden").digest(size)


def blob(folder: Path, size: int) -> Path:
    data = content(size)
    path = folder / hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    return path


def expected(size: int, etag: str) -> Metainfo:
    data = content(size)
    leaves = b"".join(hashlib.sha256(data[i : i + 16384]).digest() for i in range(0, size, 16384))
    return Metainfo.from_leaves(Etag(etag), size, leaves)


@pytest.mark.parametrize("size", [1, 16384, 16385, 65537, 5 * (1 << 20) + 3, READ_BYTES, READ_BYTES + 1, 2 * READ_BYTES + 16383])
def test_a_file_becomes_the_torrent_of_its_content(tmp_path: Path, size: int) -> None:
    path = blob(tmp_path, size)
    assert create_torrent(path) == expected(size, path.name)


def test_a_blob_that_git_named_becomes_a_torrent_too(tmp_path: Path) -> None:
    data = content(100_000)
    path = tmp_path / hashlib.sha1(b"blob 100000\0" + data).hexdigest()
    path.write_bytes(data)
    assert create_torrent(path) == expected(100_000, path.name)


def test_name_and_time_of_the_file_leave_no_trace(tmp_path: Path) -> None:
    path = blob(tmp_path, 70_000)
    other = tmp_path / "model.safetensors"
    other.write_bytes(path.read_bytes())
    os.utime(other, (1, 1))
    assert create_torrent(other, etag=Etag(path.name)).encode() == create_torrent(path).encode()


def test_a_rotten_blob_is_a_mismatch_that_says_what_to_do(tmp_path: Path) -> None:
    path = blob(tmp_path, 70_000)
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(b"rot")
    with pytest.raises(ContentMismatch, match="delete it and download it again"):
        create_torrent(path)


def test_a_truncated_blob_is_a_mismatch(tmp_path: Path) -> None:
    path = blob(tmp_path, 70_000)
    os.truncate(path, 69_999)
    with pytest.raises(ContentMismatch):
        create_torrent(path)


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_underway_is_a_mismatch(tmp_path: Path, change: str) -> None:
    path = blob(tmp_path, 3 * READ_BYTES)
    seen = 0

    def meddle(count: int) -> None:
        nonlocal seen
        if seen == 0:
            if change == "grow":
                path.write_bytes(path.read_bytes() + b"more")
            elif change == "shrink":
                os.truncate(path, READ_BYTES + 5)
            else:  # what was read is written again, the same bytes: still nobody can say what is there now
                with path.open("r+b") as file:
                    file.write(content(10))
                os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        seen += count

    with pytest.raises(ContentMismatch, match="changed while it was read"):
        create_torrent(path, on_progress=meddle)


def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    steps: list[int] = []
    create_torrent(blob(tmp_path, READ_BYTES + 7), on_progress=steps.append)
    assert sum(steps) == READ_BYTES + 7
    assert len(steps) >= 2


def test_hashing_stops_when_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    steps: list[int] = []

    def then_stop(count: int) -> None:
        steps.append(count)
        stop.set()

    with pytest.raises(HashingStopped):
        create_torrent(blob(tmp_path, 5 * READ_BYTES), on_progress=then_stop, cancelled=stop)
    assert sum(steps) < 5 * READ_BYTES


def test_a_file_whose_name_is_no_etag_needs_to_be_told_one(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    with pytest.raises(InvalidName):
        create_torrent(path)


def test_an_empty_file_has_no_torrent(tmp_path: Path) -> None:
    path = blob(tmp_path, 0)
    with pytest.raises(MetainfoError):
        create_torrent(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_torrent(tmp_path / ("a" * 64))
