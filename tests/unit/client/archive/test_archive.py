"""Export and import: what crosses the air gap is whole and right, and a folder that somebody brought is believed in nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.archive import hub_cache
from llmpt.archive.disk import DiskRefused
from llmpt.archive.exporting import Export, Exported, chosen
from llmpt.archive.folder import ExportFolder, Signed
from llmpt.archive.importing import Import, Policy
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.disk.torrents import create_torrent
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.catalogue import File, Manifest
from tests.support.blob_server import BlobServer
from tests.support.cache_builder import CacheBuilder, git_sha1, lfs_sha256

BIG = random.Random(3).randbytes(1_500_000)
FILES = {"model.safetensors": BIG, "config.json": b'{"a": 1}', "sub/deep/empty.txt": b"", "copy.bin": BIG}
COMMIT = "c0ffee" + "0" * 34


def etag_of(path: str) -> str:
    return lfs_sha256(FILES[path]) if FILES[path] is BIG else git_sha1(FILES[path])


MANIFEST = Manifest(
    RepoRef("model", "org/model"),
    Commit(COMMIT),
    (RefName("main"), RefName("v1/x")),
    True,
    tuple(File(RepoPath(path), len(content), Etag(etag_of(path))) for path, content in sorted(FILES.items())),
)


class Site:
    """A tracker that knows torrents, a seeder's HTTP, and a cache of one's own."""

    def __init__(self, root: Path, seeder: BlobServer) -> None:
        self.root, self.seeder = root, seeder
        self.cache = root / "hub"
        self.moved = 0
        big = root / lfs_sha256(BIG)
        big.write_bytes(BIG)
        self.metainfo = create_torrent(big)

    def lookup(self, etag: Etag) -> Any:
        return SimpleNamespace(metainfo=self.metainfo if etag == self.metainfo.etag else None)

    def export(self, manifest: Signed = Signed(MANIFEST)) -> Exported:
        def moved(_name: str, count: int) -> None:
            self.moved += count

        client: Any = self
        blobs = BlobHttp(self.seeder.url, stall_timeout_s=1)
        return Export(ExportFolder.create(self.folder), client, blobs, self.cache, moved).revision(manifest)

    @property
    def folder(self) -> Path:
        return self.root / "disk"


@pytest.fixture
def seeder() -> Iterator[BlobServer]:
    with BlobServer({etag_of(path): content for path, content in FILES.items()}) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, seeder: BlobServer) -> Site:
    return Site(tmp_path, seeder)


@pytest.fixture
def exported(site: Site) -> Path:
    site.export()
    return site.folder


def bring(folder: Path, cache: Path) -> tuple[Import, list[Any]]:
    work = Import(ExportFolder.open(folder), cache, Policy(lambda _signature: False, unsigned=True))
    return work, [work.revision(offer, lambda _name, _count: None) for offer in work.offers()]


def problems(work: Import) -> dict[str, str]:
    return {problem.what: problem.reason for problem in work.problems}


def edit(folder: Path, **changes: Any) -> None:
    """Forge the one manifest."""
    (path,) = (folder / "manifests").iterdir()
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def line(path: str, **changes: Any) -> dict[str, Any]:
    return {"path": path, "size": len(BIG), "etag": lfs_sha256(BIG), "here": True, **changes}


# Export


def test_an_export_holds_every_blob_once_and_says_what_it_is(site: Site) -> None:
    result = site.export()
    assert result.missing == []
    assert {path.name: path.read_bytes() for path in (site.folder / "blobs").iterdir()} == {
        etag_of(path): content for path, content in FILES.items()
    }
    assert (site.folder / "torrents" / f"{lfs_sha256(BIG)}.torrent").read_bytes() == site.metainfo.encode()
    assert [path.name for path in (site.folder / "manifests").iterdir()] == [f"models--org--model@{COMMIT}.json"]
    (revision,) = json.loads((site.folder / "llmpt-export.json").read_bytes())["revisions"]
    assert (revision["files"], revision["files_here"], revision["bytes_here"]) == (4, 4, len(BIG) + 8)
    assert site.moved == len(BIG) + 8


def test_said_again_it_fetches_nothing(site: Site, seeder: BlobServer) -> None:
    site.export()
    asked = len(seeder.requests)
    assert site.export().kept == len(BIG) + 8
    assert len(seeder.requests) == asked


def test_it_goes_on_in_the_middle_of_a_file(site: Site, seeder: BlobServer) -> None:
    big = etag_of("model.safetensors")
    seeder.contents, held_back = {big: BIG}, seeder.contents
    seeder.cut_after = 700_000
    seeder.on_cut = lambda: seeder.contents.clear()
    first = site.export()
    assert len(first.missing) == 2
    assert not (site.folder / "blobs" / big).exists()
    seeder.contents, seeder.cut_after = held_back, None
    again = site.export()
    assert again.missing == []
    assert again.from_lan == len(BIG) - 700_000 + 8


def test_what_lies_in_the_own_cache_is_taken_from_there(site: Site, seeder: BlobServer) -> None:
    CacheBuilder(site.cache).repo("org/model").commit({"model.safetensors": BIG}, lfs={"model.safetensors"})
    result = site.export()
    assert result.from_cache == len(BIG)
    assert seeder.bytes_sent == 8


def test_a_rotten_file_of_the_cache_is_not(site: Site, seeder: BlobServer) -> None:
    cached = CacheBuilder(site.cache).repo("org/model")
    cached.commit({"model.safetensors": BIG}, lfs={"model.safetensors"})
    cached.blob_path(lfs_sha256(BIG)).write_bytes(b"x" * len(BIG))
    result = site.export()
    assert result.missing == []
    assert result.from_lan == len(BIG) + 8
    assert (site.folder / "blobs" / lfs_sha256(BIG)).read_bytes() == BIG


def test_what_nobody_gives_is_named_and_the_rest_is_there(site: Site, seeder: BlobServer) -> None:
    del seeder.contents[etag_of("config.json")]
    assert site.export().missing == [("config.json", "no seeder has it")]
    rows = json.loads((site.folder / "manifests" / f"models--org--model@{COMMIT}.json").read_bytes())["files"]
    assert [row["path"] for row in rows if not row["here"]] == ["config.json"]


def test_only_what_is_wanted_is_written_and_the_list_stays_whole(site: Site, seeder: BlobServer) -> None:
    site.export(chosen(Signed(MANIFEST), ["*.json", "sub/"], []))
    assert seeder.bytes_sent == 8
    work, (imported,) = bring(site.folder, site.root / "elsewhere")
    assert work.problems == []
    assert imported.files == 2
    assert set(listing(site.root / "elsewhere")) == set(FILES)


def test_patterns_are_those_of_the_hub() -> None:
    def here(include: list[str], exclude: list[str]) -> set[str]:
        return {file.path.value for file in chosen(Signed(MANIFEST), include, exclude).manifest.files if file.here}

    assert here([], []) == set(FILES)
    assert here(["*.json", "*.txt"], []) == {"config.json", "sub/deep/empty.txt"}
    assert here([], ["sub/", "copy.bin"]) == {"config.json", "model.safetensors"}


def test_a_full_disk_is_said_in_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("llmpt.tracker.blobs.os.pwrite", full)
    with pytest.raises(DiskRefused, match="the disk is full; make room"):
        site.export()


# Import


def listing(cache: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cache / "models--org--model" / "trees" / f"{COMMIT}.json").read_bytes())["files"]
    return found


def test_an_import_is_laid_out_as_a_download_is(exported: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    work, (imported,) = bring(exported, cache)
    assert work.problems == []
    assert (imported.files, imported.copied_bytes) == (4, len(BIG) + 8)
    reference = CacheBuilder(tmp_path / "reference").repo("org/model")
    reference.commit(FILES, lfs={"model.safetensors", "copy.bin"}, refs=["main", "v1/x"], commit=COMMIT, listing=True)
    assert tree(cache / "models--org--model") == tree(reference.folder)
    assert (cache / "models--org--model" / "trees" / f"{COMMIT}.json").stat().st_mode & 0o777 == 0o644


def tree(folder: Path) -> dict[str, Any]:
    """Every file below `folder`: where a link leads, or what it holds."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_said_again_it_copies_nothing_and_changes_nothing(exported: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    bring(exported, cache)
    before = {path: path.lstat().st_ino for path in cache.rglob("*")}
    work, (imported,) = bring(exported, cache)
    assert work.problems == []
    assert imported.copied_bytes == 0
    assert {path: path.lstat().st_ino for path in cache.rglob("*")} == before


def test_a_wrong_file_is_named_and_left_out_and_all_else_comes(exported: Path, tmp_path: Path) -> None:
    (exported / "blobs" / etag_of("config.json")).write_bytes(b'{"a": 2}')
    work, (imported,) = bring(exported, tmp_path / "elsewhere")
    assert "is not what its name says" in problems(work)["config.json"]
    assert imported.files == 3
    folder = tmp_path / "elsewhere" / "models--org--model"
    assert not (folder / "blobs" / etag_of("config.json")).exists()
    assert not (folder / "snapshots" / COMMIT / "config.json").exists()
    assert not list(folder.rglob("*incomplete"))


def test_a_missing_file_is_named(exported: Path, tmp_path: Path) -> None:
    (exported / "blobs" / etag_of("config.json")).unlink()
    work, _ = bring(exported, tmp_path / "elsewhere")
    assert list(problems(work)) == ["config.json"]


def test_a_rotten_blob_of_the_cache_is_replaced_and_a_good_one_never(exported: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    repo = hub_cache.CachedRepo(cache, MANIFEST.ref)
    rotten, good = repo.blob(Etag(lfs_sha256(BIG))), repo.blob(Etag(etag_of("config.json")))
    rotten.parent.mkdir(parents=True)
    rotten.write_bytes(b"x" * len(BIG))
    good.write_bytes(FILES["config.json"])
    inode = good.stat().st_ino
    work, _ = bring(exported, cache)
    assert work.problems == []
    assert rotten.read_bytes() == BIG
    assert good.stat().st_ino == inode


@pytest.mark.parametrize(
    "path", ["../../../../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a\0b", "", ".", "a//b", "x" * 300]
)
def test_a_path_that_leads_out_of_the_cache_is_refused(exported: Path, tmp_path: Path, path: str) -> None:
    edit(exported, files=[line(path)])
    before = set(tmp_path.rglob("*"))
    work, imported = bring(exported, tmp_path / "elsewhere")
    assert imported == []
    assert "not a path inside a repo" in problems(work)[f"models--org--model@{COMMIT}.json"]
    assert set(tmp_path.rglob("*")) == before


def test_a_path_that_no_disk_takes_is_left_out_and_the_rest_is_imported(exported: Path, tmp_path: Path) -> None:
    long = "/".join(["x" * 200] * 60)
    edit(exported, files=[line(long), line("model.safetensors")])
    work, (imported,) = bring(exported, tmp_path / "elsewhere")
    assert imported.files == 1
    assert [problem.reason for problem in work.problems] == ["no path here can be as long as that"]


@pytest.mark.parametrize(
    "change",
    [
        {"repo_id": "../../evil"},
        {"repo_type": "../model"},
        {"commit": "../" + COMMIT[3:]},
        {"refs": ["../../evil"]},
        {"refs": ["/evil"]},
        {"refs": 7},
        {"files": [line("a", etag="../../../evil")]},
        {"files": [line("a", size=-1)]},
        {"files": [line("a", size="7")]},
        {"files": [line("a"), line("a")]},
        {"files": {"a": 1}},
        {"repo_id": "org/another"},
        {"format": 2},
    ],
)
def test_a_manifest_that_cannot_be_is_refused_whole(exported: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    edit(exported, **change)
    work, imported = bring(exported, tmp_path / "elsewhere")
    assert imported == []
    assert len(work.problems) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_stands_where_a_folder_should_is_named(exported: Path, tmp_path: Path) -> None:
    edit(exported, files=[line("a"), line("a/b")])
    work, (imported,) = bring(exported, tmp_path / "elsewhere")
    assert imported.files == 1
    assert "there already" in problems(work)["a/b"]


@pytest.mark.parametrize("content", [None, b"of another cache"])
def test_a_link_that_only_ends_in_the_etag_is_not_the_blob(exported: Path, tmp_path: Path, content: bytes | None) -> None:
    cache = tmp_path / "elsewhere"
    bring(exported, cache)
    link = cache / "models--org--model" / "snapshots" / COMMIT / "model.safetensors"
    other = tmp_path / "moved" / link.readlink().name
    link.unlink()
    link.symlink_to(other)
    if content is not None:
        other.parent.mkdir()
        other.write_bytes(content)
    work, (imported,) = bring(exported, cache)
    assert "there already" in problems(work)["model.safetensors"]
    assert imported.files == 3


def test_a_forged_torrent_is_named(exported: Path, tmp_path: Path) -> None:
    torrent = exported / "torrents" / f"{lfs_sha256(BIG)}.torrent"
    torrent.write_bytes(torrent.read_bytes().replace(b"e", b"f", 1))
    work, (imported,) = bring(exported, tmp_path / "elsewhere")
    assert list(problems(work)) == [f"torrents/{torrent.name}"]
    assert imported.files == 4


def test_the_torrent_of_another_blob_is_named(exported: Path, tmp_path: Path) -> None:
    other = tmp_path / hashlib.sha256(b"x" * 70_000).hexdigest()
    other.write_bytes(b"x" * 70_000)
    (exported / "torrents" / f"{lfs_sha256(BIG)}.torrent").write_bytes(create_torrent(other).encode())
    work, _ = bring(exported, tmp_path / "elsewhere")
    assert "it is the torrent of" in "".join(problems(work).values())


def test_a_ref_that_moves_is_told_of(exported: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    CacheBuilder(cache).repo("org/model").point("main", "1" * 40)
    _, (imported,) = bring(exported, cache)
    assert imported.moved_refs == [(RefName("main"), "1" * 40)]
    assert (cache / "models--org--model" / "refs" / "main").read_text() == COMMIT


def test_what_is_known_in_part_is_imported_without_a_listing(site: Site, tmp_path: Path) -> None:
    site.export(Signed(replace(MANIFEST, complete=False)))
    work, (imported,) = bring(site.folder, tmp_path / "elsewhere")
    assert work.problems == []
    assert imported.files == 4
    assert not (tmp_path / "elsewhere" / "models--org--model" / "trees").exists()


def test_a_folder_that_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(LlmptError, match="is no export"):
        ExportFolder.open(tmp_path)
    (tmp_path / "llmpt-export.json").write_text('{"format": 99}')
    for way in (ExportFolder.open, ExportFolder.create):
        with pytest.raises(LlmptError, match="format 99"):
            way(tmp_path)


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system", "/somewhere")

    monkeypatch.setattr("llmpt.archive.hub_cache.copy_blob", refused)
    with pytest.raises(DiskRefused, match="it is read-only"):
        bring(exported, tmp_path / "elsewhere")


def test_a_pipe_in_the_folder_is_not_waited_for(exported: Path, tmp_path: Path) -> None:
    blob = exported / "blobs" / etag_of("config.json")
    blob.unlink()
    os.mkfifo(blob)
    work, _ = bring(exported, tmp_path / "elsewhere")
    assert list(problems(work)) == ["config.json"]
