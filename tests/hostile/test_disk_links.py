"""A disk that is brought along, prepared so that an export onto it, or an import of it, touches what lies elsewhere."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.archive.disk import DiskRefused
from llmpt.archive.exporting import Export, Exported
from llmpt.archive.folder import INDEX, ExportFolder, Signed
from llmpt.archive.importing import Import, Policy
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.disk.torrents import create_torrent
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.catalogue import File, Manifest
from tests.support.blob_server import BlobServer
from tests.support.cache_builder import lfs_sha256

CONTENT = random.Random(5).randbytes(1_500_000)
ETAG = lfs_sha256(CONTENT)
NAME = f"models--org--model@{'c0ffee' + '0' * 34}.json"
MANIFEST = Manifest(
    RepoRef("model", "org/model"),
    Commit("c0ffee" + "0" * 34),
    (RefName("main"),),
    True,
    (File(RepoPath("model.bin"), len(CONTENT), Etag(ETAG)),),
)
KEYS = b"ssh-ed25519 AAAA mine\n"


class Desk:
    """A user with keys, a disk that somebody brought, and a LAN from which is exported."""

    def __init__(self, root: Path, seeder: BlobServer) -> None:
        self.root, self.seeder, self.disk = root, seeder, root / "disk"
        self.keys = root / "authorized_keys"
        self.keys.write_bytes(KEYS)
        (root / ETAG).write_bytes(CONTENT)
        self._metainfo = create_torrent(root / ETAG)
        for name in ("blobs", "manifests", "torrents"):
            (self.disk / name).mkdir(parents=True)

    def lookup(self, _etag: Etag) -> Any:
        return SimpleNamespace(metainfo=self._metainfo)

    def export(self) -> Exported:
        client: Any = self
        blobs = BlobHttp(self.seeder.url, stall_timeout_s=1)
        folder = ExportFolder.create(self.disk)
        return Export(folder, client, blobs, self.root / "hub", lambda _name, _count: None).revision(Signed(MANIFEST))

    def import_(self) -> tuple[Import, Path]:
        cache = self.root / "cache"
        work = Import(ExportFolder.open(self.disk), cache, Policy(lambda _signature: False, unsigned=True))
        for offer in work.offers():
            work.revision(offer, lambda _name, _count: None)
        return work, cache


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with BlobServer({ETAG: CONTENT}) as seeder:
        yield Desk(tmp_path, seeder)


@pytest.mark.parametrize(
    "name",
    [
        f"blobs/{ETAG}.part",
        f"blobs/{ETAG}",
        f"torrents/{ETAG}.torrent",
        f"torrents/.{ETAG}.torrent.PID.part",
        f"manifests/{NAME}",
        f"manifests/.{NAME}.PID.part",
        f".{INDEX}.PID.part",
    ],
)
@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_an_export_writes_through_no_link(desk: Desk, name: str, plant: Callable[[Path, Path], None]) -> None:
    plant(desk.disk / name.replace("PID", str(os.getpid())), desk.keys)
    assert desk.export().missing == []
    assert desk.keys.read_bytes() == KEYS
    assert not (desk.disk / "blobs" / ETAG).is_symlink()
    assert (desk.disk / "blobs" / ETAG).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["blobs", "manifests", "torrents"])
def test_an_export_goes_into_no_folder_elsewhere(desk: Desk, name: str) -> None:
    elsewhere = desk.root / "elsewhere"
    elsewhere.mkdir()
    (desk.disk / name).rmdir()
    (desk.disk / name).symlink_to(elsewhere)
    with pytest.raises(DiskRefused, match="symbolic link"):
        desk.export()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_planted_beginning_of_another_user_is_not_gone_on_with(desk: Desk) -> None:
    part = desk.disk / "blobs" / f"{ETAG}.part"
    part.write_bytes(CONTENT[:1000])
    os.chown(part, 12345, 12345)
    with part.open("r+b") as theirs:
        assert desk.export().missing == []
        theirs.write(b"changed after the check")
        theirs.flush()
        assert (desk.disk / "blobs" / ETAG).read_bytes() == CONTENT


def test_an_export_goes_on_where_an_earlier_one_of_ours_stopped(desk: Desk) -> None:
    part = desk.disk / "blobs" / f"{ETAG}.part"
    part.write_bytes(CONTENT[:1_000_000])
    assert desk.export().from_lan == len(CONTENT) - 1_000_000
    assert (desk.disk / "blobs" / ETAG).read_bytes() == CONTENT


def by_pipe(place: Path, _secret: Path) -> None:
    os.mkfifo(place)


def by_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


@pytest.mark.parametrize("name", [f"blobs/{ETAG}", f"torrents/{ETAG}.torrent", f"manifests/{NAME}"])
@pytest.mark.parametrize("plant", [by_pipe, by_link])
def test_an_import_reads_no_link_and_waits_for_no_pipe(desk: Desk, name: str, plant: Callable[[Path, Path], None]) -> None:
    desk.export()
    place, aside = desk.disk / name, desk.root / "aside"
    shutil.move(place, aside)
    plant(place, aside)  # what it should be lies there, and elsewhere
    work, cache = desk.import_()
    assert work.problems
    snapshot = cache / "models--org--model" / "snapshots" / MANIFEST.commit.value / "model.bin"
    assert snapshot.exists() == name.startswith("torrents")


@pytest.mark.parametrize("plant", [by_pipe, by_link])
def test_an_index_that_is_no_file_ends_in_a_sentence(desk: Desk, plant: Callable[[Path, Path], None]) -> None:
    desk.export()
    (desk.root / "aside").write_text(json.dumps({"format": 1, "revisions": []}))
    (desk.disk / INDEX).unlink()
    plant(desk.disk / INDEX, desk.root / "aside")
    with pytest.raises(LlmptError):
        desk.import_()


@pytest.mark.parametrize("name", ["blobs", "manifests", "torrents"])
def test_an_import_reads_no_folder_elsewhere(desk: Desk, name: str) -> None:
    desk.export()
    (desk.disk / name).rename(desk.root / "elsewhere")
    (desk.disk / name).symlink_to(desk.root / "elsewhere")
    with pytest.raises(LlmptError, match="symbolic link"):
        desk.import_()
