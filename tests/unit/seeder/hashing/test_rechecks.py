"""Files with another inode number: they stay good, and are read again at a low rate."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import BlobFile, CachedRepo, Snapshot
from llmpt_seeder.cache.view import View
from llmpt_seeder.hashing.knowledge import stamp_of
from llmpt_seeder.hashing.rechecks import RecheckPace
from llmpt_seeder.hashing.verification import Verification
from llmpt_seeder.sharing import Verdict
from llmpt_seeder.state import SeederState
from tests.support.cache_builder import commit_id, lfs_sha256
from tests.unit.seeder.fakes import InlineHasher

REPO = RepoRef("model", "org/model")
SIZE = 1000


class Place:
    """Files on a file system that counts their inodes up; `look` returns what a look finds that gives them other numbers."""

    def __init__(self, folder: Path, state: SeederState) -> None:
        self.now, self.files, self.view, self.state = 0.0, list[BlobFile](), View(), state
        for number in range(10):
            data = b"%d" % number * SIZE
            path = folder / lfs_sha256(data)
            path.write_bytes(data)
            stamp = stamp_of(path)
            assert stamp is not None
            self.files.append(BlobFile(Etag(path.name), path, stamp))
        self.start()

    def start(self) -> None:
        pace = RecheckPace(rate_bytes_s=2 * SIZE, interval_s=1.0, again_s=100.0, clock=lambda: self.now)
        self.hasher = InlineHasher()
        self.verification = Verification(self.hasher, self.state, clock=lambda: self.now, pace=pace)

    def look(self, *, renumber: bool = True) -> list[Etag]:
        """Look, and let be done what follows; return the etags of which the answer is another."""
        if renumber:
            self.files = [replace(f, stamp=replace(f.stamp, inode=f.stamp.inode + 1_000_000)) for f in self.files]
        snapshot = Snapshot(commit_id(1), (), tuple((f.path.name, f) for f in self.files))
        self.view.see([[(CachedRepo(REPO, (snapshot,), (), False, {}, tuple(self.files)), Verdict(True, "named"))]])
        changed = []
        for _ in range(2):
            changed += self.verification.judge(self.view, self.view.take_changes().etags)
        return changed


@pytest.fixture
def place(tmp_path: Path, state: SeederState) -> Place:
    (tmp_path / "blobs").mkdir()
    return Place(tmp_path / "blobs", state)


def test_what_has_another_number_at_each_look_is_read_as_seldom_as_said(place: Place) -> None:
    place.look()
    assert len(place.verification.good) == 10
    place.hasher.read.clear()
    for _ in range(50):
        place.now += 1.0
        assert place.look() == []  # nothing is another for those who publish and seed
    assert sorted(place.hasher.read) == sorted(file.path for file in place.files)  # once in a hundred seconds
    for _ in range(2):
        place.look()
    assert place.verification.renumbered() is not None


def test_at_most_so_many_bytes_are_read_again_at_once(place: Place) -> None:
    place.look()
    place.hasher.read.clear()
    place.look()
    assert len(place.hasher.read) == 2
    place.look()
    assert len(place.hasher.read) == 2  # it is not time
    place.now += 1.0
    place.look()
    assert len(place.hasher.read) == 4


def test_what_was_mounted_anew_is_known_by_its_new_numbers_after_a_while(place: Place) -> None:
    place.look()
    place.start()
    for _ in range(10):
        place.look(renumber=place.now == 0.0)
        assert len(place.verification.good) == 10
        place.now += 1.0
    assert place.verification.renumbered() is None
    place.start()
    place.look(renumber=False)
    assert place.verification.renumbered() is None
    assert place.hasher.read == []


def test_another_time_or_size_or_place_is_another_file(place: Place) -> None:
    place.look()
    file = place.files[0]
    stamp = replace(file.stamp, inode=1)
    others = [
        replace(file, stamp=replace(stamp, mtime_ns=1)),
        replace(file, stamp=replace(stamp, ctime_ns=1)),
        replace(file, path=file.path.with_name("elsewhere"), stamp=stamp),
    ]
    for other in others:
        place.files[0] = other
        place.hasher.held = True
        assert place.look() == [file.etag] * (other is others[0])
        assert place.verification.is_in_doubt(file.etag)


def test_a_file_that_is_found_rotten_when_read_again_is_good_no_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.look()
    file = place.files[0]
    file.path.write_bytes(b"x" * SIZE)
    os.utime(file.path, ns=(0, file.stamp.mtime_ns))
    now = stamp_of(file.path)
    assert now is not None
    assert not now.is_same(file.stamp)  # where there are ctimes
    monkeypatch.setattr(FileStamp, "of", lambda facts: replace(file.stamp, size=facts.st_size, inode=facts.st_ino))
    for _ in range(12):
        place.now += 1.0
        place.look()
    assert file.etag not in place.verification.good
    assert [file.etag.value in str(wrong.path) for wrong, _ in place.verification.wrong()] == [True]
