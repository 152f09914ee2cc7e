"""Which blobs of this machine `llmpt seed` would offer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from llmpt.cli.blobs import etags_of, of_repo, under
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.core.repo import RepoRef
from llmpt.tracker.torrents import Appearance, Torrent

REF = RepoRef("model", "org/name")
COMMIT = "c" * 40
CONTENT = b"the content of a blob"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / REF.folder
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "sub").mkdir(parents=True)
    return folder / "snapshots" / COMMIT


def torrent(etag: str, path: str) -> Torrent:
    return Torrent("0" * 64, etag, len(CONTENT), 65536, "", 1, 0, 0, (Appearance("model", "org/name", COMMIT, path),))


def test_a_file_of_a_cache_is_named_by_the_blob_it_is_a_link_to(tmp_path: Path, snapshot: Path) -> None:
    blob = tmp_path / REF.folder / "blobs" / SHA256
    blob.write_bytes(CONTENT)
    (snapshot / "sub" / "model.bin").symlink_to(Path("..", "..", "..", "blobs", SHA256))
    (snapshot / "again.bin").symlink_to(Path("..", "..", "blobs", SHA256))
    (snapshot / "gone.bin").symlink_to(Path("..", "..", "blobs", "0" * 64))
    found = list(of_repo(tmp_path, REF, [], min_bytes=1))
    assert [(one.name, one.path, one.etags) for one in found] == [("org/name/again.bin", blob, (Etag(SHA256),))]


def test_a_blob_in_the_shared_store_keeps_the_name_it_has_in_the_repo(tmp_path: Path, snapshot: Path) -> None:
    """huggingface_hub 1.32 and later with Xet: blobs/<etag> is itself a link, to a file named by another hash."""
    shared = tmp_path / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    shared.write_bytes(CONTENT)
    (tmp_path / REF.folder / "blobs" / SHA256).symlink_to(Path("..", "..", "blobs", "ab", "ab" * 32))
    (snapshot / "model.bin").symlink_to(Path("..", "..", "blobs", SHA256))
    (found,) = of_repo(tmp_path, REF, [], min_bytes=1)
    assert (found.path, found.etags) == (shared, (Etag(SHA256),))


def test_a_cache_without_links_is_read_with_the_catalogue(tmp_path: Path, snapshot: Path) -> None:
    (snapshot / "model.bin").write_bytes(CONTENT)
    (snapshot / "other.bin").write_bytes(CONTENT * 2)
    (snapshot / "tiny.txt").write_bytes(b"x")
    found = {one.name: one.etags for one in of_repo(tmp_path, REF, [torrent(SHA256, "model.bin")], min_bytes=5)}
    assert found == {"org/name/model.bin": (Etag(SHA256),), "org/name/other.bin": ()}


def test_a_repo_that_is_not_there_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LlmptError, match=r"org/name is not in the Hub cache at .*; `llmpt download org/name` fetches it"):
        list(of_repo(tmp_path, REF, [], min_bytes=1))


def test_a_file_has_the_etags_of_its_content_and_a_small_one_counts_when_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(CONTENT)
    (tmp_path / "link.bin").symlink_to(file)
    assert etags_of(file) == (Etag(SHA256), Etag(GIT_SHA1))
    assert [one.etags for one in under(tmp_path, min_bytes=1)] == [(Etag(SHA256), Etag(GIT_SHA1))]
    assert list(under(tmp_path, min_bytes=1000)) == []
    assert len(list(under(file, min_bytes=1000))) == 1
