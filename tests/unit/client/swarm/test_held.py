"""Which file is given, and by which path: an open one, one that no other user can replace, or none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmpt.disk.stamp import FileStamp
from llmpt.swarm.held import Held, Holder

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"content")
    return path


def stamp(path: Path) -> FileStamp:
    return FileStamp.of(path.stat())


def held_by(holder: Holder, path: Path, expected: FileStamp, *, held: int = 0) -> Held:
    found = holder.hold(path, expected, held=held)
    assert found is not None
    return found


@linux
def test_a_held_file_is_given_whatever_its_path_names(blob: Path) -> None:
    held = held_by(Holder(most=1), blob, stamp(blob))
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    assert held.path.read_bytes() == b"content"
    held.release()
    assert not held.path.exists()


@linux
def test_nothing_can_be_written_by_the_descriptor(blob: Path) -> None:
    held = held_by(Holder(most=1), blob, stamp(blob))
    assert held.descriptor is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(held.descriptor, b"x")
    held.release()


SWAPS: list[Callable[[Path, Path], object]] = [
    lambda blob, other: blob.symlink_to(other),
    lambda blob, other: os.link(other, blob),
    lambda blob, _other: os.mkfifo(blob),
    lambda blob, _other: blob.mkdir(),
    lambda _blob, _other: None,
]


@pytest.mark.parametrize("most", [1, 0])
@pytest.mark.parametrize("swap", SWAPS)
def test_another_file_than_the_verified_one_is_not_held(
    blob: Path, tmp_path: Path, most: int, swap: Callable[[Path, Path], object]
) -> None:
    verified, other = stamp(blob), tmp_path / "other"
    other.write_bytes(b"secrets")
    os.utime(other, ns=(0, verified.mtime_ns))
    blob.unlink()
    swap(blob, other)
    assert Holder(most=most).hold(blob, verified, held=0) is None


def test_beyond_the_limit_a_file_is_given_by_its_path_if_no_other_user_can_replace_it(blob: Path) -> None:
    assert held_by(Holder(most=2), blob, stamp(blob), held=2) == Held(blob)
    blob.parent.chmod(0o770)
    with pytest.raises(PermissionError, match="others may write"):
        Holder(most=2).hold(blob, stamp(blob), held=2)


def test_without_proc_it_is_the_same(blob: Path, tmp_path: Path) -> None:
    holder = Holder(descriptors=tmp_path / "no-proc")
    assert held_by(holder, blob, stamp(blob)) == Held(blob)
    blob.parent.chmod(0o1777)
    assert held_by(holder, blob, stamp(blob)) == Held(blob), "sticky: only its owner replaces it"
    blob.parent.chmod(0o777)
    with pytest.raises(PermissionError):
        holder.hold(blob, stamp(blob), held=0)


@linux
def test_a_link_goes_on_leading_to_the_file_that_was_moved(blob: Path, tmp_path: Path) -> None:
    descriptor, link = os.open(blob, os.O_RDWR), tmp_path / "link"
    link.symlink_to(f"/proc/self/fd/{descriptor}")
    held = Holder(most=1).hold_open(descriptor, link, blob, held=0)
    os.close(descriptor)
    blob.unlink()
    assert link.read_bytes() == b"content"
    held.release()
    assert not link.is_symlink()


def test_beyond_the_limit_a_link_leads_to_the_place_if_that_is_private(blob: Path, tmp_path: Path) -> None:
    descriptor, link = os.open(blob, os.O_RDWR), tmp_path / "link"
    link.symlink_to(f"/proc/self/fd/{descriptor}")
    Holder(most=0).hold_open(descriptor, link, blob, held=0)
    assert link.readlink() == blob
    blob.parent.chmod(0o777)
    with pytest.raises(PermissionError):
        Holder(most=0).hold_open(descriptor, link, blob, held=0)
    os.close(descriptor)
