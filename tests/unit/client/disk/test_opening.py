"""What is opened as a file, what of ours is taken up again, and which names are ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmpt.disk.opening import is_private, open_file, open_own


def test_a_pipe_is_no_file_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        open_file(tmp_path / "pipe")


def test_a_link_is_followed_where_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.close(open_file(tmp_path / "link"))
    with pytest.raises(OSError, match="link"):
        open_file(tmp_path / "link", follow=False)


def test_a_file_of_ours_is_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"half")
    descriptor = open_own(tmp_path / "part")
    assert os.pread(descriptor, 10, 0) == b"half"
    os.close(descriptor)


def planted(way: str, part: Path) -> None:
    other = part.with_name("other")
    other.write_bytes(b"theirs")
    if way == "link":
        part.symlink_to(other)
    elif way == "hard link":
        os.link(other, part)
    elif way == "pipe":
        os.mkfifo(part)
    else:
        other.rename(part)
        part.chmod(0o666)


@pytest.mark.parametrize("way", ["link", "hard link", "pipe", "open to all"])
def test_a_planted_file_is_not(tmp_path: Path, way: str) -> None:
    planted(way, tmp_path / "part")
    with pytest.raises(OSError, match=r"another user|link"):
        open_own(tmp_path / "part")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_nor_is_another_users(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"theirs")
    os.chown(tmp_path / "part", 12345, 12345)
    with pytest.raises(FileExistsError):
        open_own(tmp_path / "part")


def test_a_name_is_private_unless_others_may_write_into_a_folder_above_it(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file"
    file.parent.mkdir(parents=True)
    file.touch()
    assert is_private(file)
    (tmp_path / "a").chmod(0o775)
    assert not is_private(file)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not is_private(tmp_path / "link" / "b" / "file")
    assert not is_private(file.parent)
    assert not is_private(tmp_path / "nowhere")
