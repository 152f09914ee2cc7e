"""A user plants an unfinished file where another's will be looked for: its content could be changed after it was checked."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.disk.stamp import FileStamp
from llmpt.hook.temporary import Hold, Temporary
from llmpt_seeder.blobs.sources import FileState
from llmpt_seeder.cache.contents import CachedRepo
from llmpt_seeder.cache.scanner import scan
from llmpt_seeder.publishing.card import read_card
from llmpt_seeder.upstream.growing import GrowingBlob, GrowingBlobs
from tests.support.cache_builder import CacheBuilder

CONTENT = os.urandom(300_000)
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())
OTHERS = 12345
PLANTS = ["link", "hard link", "pipe", "of another user", "open to all"]


def plant(way: str, place: Path) -> Path:
    """Return the file that the planter goes on writing to."""
    theirs = place.with_name("theirs")
    theirs.write_bytes(b"their secret" * 20_000)
    if way == "link":
        place.symlink_to(theirs)
    elif way == "hard link":
        place.hardlink_to(theirs)
    elif way == "pipe":
        os.mkfifo(place)
    else:
        theirs.rename(place)
        theirs = place
        if way == "open to all":
            place.chmod(0o666)
        elif os.geteuid() == 0:
            os.chown(place, OTHERS, OTHERS)
        else:
            pytest.skip("only root gives files away")
    return theirs


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.mark.parametrize("way", PLANTS)
def test_a_planted_temporary_file_is_not_taken_for_an_earlier_try(tmp_path: Path, environ: dict[str, str], way: str) -> None:
    incomplete = tmp_path / f"{ETAG}.incomplete"
    first = Temporary(incomplete, ETAG, len(CONTENT), environ=environ)
    assert first.open()
    predictable = first.path
    first.remove()
    first.close()
    theirs = plant(way, predictable)
    before = theirs.read_bytes() if theirs.is_file() else b""
    temporary = Temporary(incomplete, ETAG, len(CONTENT), environ=environ)
    assert temporary.open()
    assert temporary.hold is Hold.FRESH
    assert temporary.descriptor is not None
    assert os.fstat(temporary.descriptor).st_nlink == 1
    os.pwrite(temporary.descriptor, CONTENT, 0)
    temporary.close()
    assert (theirs.read_bytes() if theirs.is_file() else b"") == before


def test_what_an_earlier_try_of_ours_left_is_gone_on_with(tmp_path: Path, environ: dict[str, str]) -> None:
    for hold in (Hold.FRESH, Hold.FOUND):
        temporary = Temporary(tmp_path / f"{ETAG}.incomplete", ETAG, len(CONTENT), environ=environ)
        assert temporary.open()
        assert temporary.hold is hold
        temporary.close()


@pytest.mark.parametrize("way", [way for way in PLANTS if way != "open to all"])
def test_a_server_sends_nothing_of_a_file_that_was_planted_where_a_fetch_grows(tmp_path: Path, way: str) -> None:
    plant(way, tmp_path / f"{ETAG}.0a1b2c3d.incomplete")
    growing, blobs = GrowingBlob(ETAG, len(CONTENT), tmp_path), GrowingBlobs()
    blobs.begin(growing)
    assert growing.look() == 0
    sent = blobs.open(ETAG)
    assert sent is not None
    assert sent.available() == 0
    growing.fail()
    assert sent.state is FileState.FAILED


@pytest.mark.parametrize("way", ["link", "hard link", "pipe"])
def test_a_server_sends_nothing_of_what_took_the_place_of_a_file_that_was_fetched(tmp_path: Path, way: str) -> None:
    part, blob = tmp_path / f"{ETAG}.0a1b2c3d.incomplete", tmp_path / ETAG.value
    part.write_bytes(CONTENT)
    growing, blobs = GrowingBlob(ETAG, len(CONTENT), tmp_path), GrowingBlobs()
    blobs.begin(growing)
    assert growing.look() == len(CONTENT)
    part.rename(blob)
    growing.finish(blob)
    blob.unlink()
    plant(way, blob)
    assert blobs.open(ETAG) is None


def test_no_look_at_a_shared_cache_waits_for_a_pipe(tmp_path: Path) -> None:
    repo = CacheBuilder(tmp_path).repo("org/model")
    commit = repo.commit({"model.bin": CONTENT}, lfs={"model.bin"})
    listing = repo.list_files(commit, {"model.bin": CONTENT}, lfs={"model.bin"})
    listing.unlink()
    for place in (
        listing,
        repo.folder / "refs" / "pipe",
        repo.folder / "blobs" / ("0" * 64),
        repo.folder / "snapshots" / commit / "p",
    ):
        os.mkfifo(place)
    repo.link(commit, "linked.bin", "0" * 64)
    found: list[CachedRepo] = []
    looking = threading.Thread(target=lambda: found.extend(scan(tmp_path)), daemon=True)
    looking.start()
    looking.join(5)
    assert [[path for path, _ in snapshot.files] for one in found for snapshot in one.snapshots] == [["model.bin"]]


def test_a_listing_of_another_repo_is_not_read_through_a_link(tmp_path: Path) -> None:
    cache = CacheBuilder(tmp_path)
    private = cache.repo("me/private").list_files("0" * 40, {"secret name": b"x"})
    mine = cache.repo("org/model")
    commit = mine.commit({"model.bin": CONTENT}, lfs={"model.bin"})
    (mine.folder / "trees").mkdir()
    (mine.folder / "trees" / f"{commit}.json").symlink_to(private)
    listings = [snapshot.listing for one in scan(tmp_path) for snapshot in one.snapshots if one.ref == mine.ref]
    assert listings == [None]


@pytest.mark.parametrize("way", ["link", "hard link", "pipe"])
def test_a_card_that_was_swapped_for_a_link_is_not_published(tmp_path: Path, way: str) -> None:
    readme = tmp_path / "readme"
    readme.write_text("---\nlicense: mit\n---\n")
    stamp = FileStamp.of(readme.stat())
    assert read_card(readme, stamp) == {"license": "mit"}
    readme.unlink()
    secret = plant(way, readme)
    secret.write_text("---\npassword: hunter2\n---\n")
    assert read_card(readme, stamp) is None
