"""What lies on a disk: a Hub cache that anything may have written to, an export, our own state after a crash."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from llmpt.agent.sharing import share_token
from llmpt.archive.folder import INDEX, ExportFolder
from llmpt.archive.importing import Import, Policy
from llmpt.core.errors import LlmptError
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.database import opened
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.listing import read_listing
from llmpt_seeder.cache.scanner import scan
from llmpt_seeder.errors import CacheMissing, NoLife
from llmpt_seeder.hub.listings import HubListing
from llmpt_seeder.life import what_is_wrong
from llmpt_seeder.publishing.card import read_card
from llmpt_seeder.publishing.said import Said
from llmpt_seeder.state import SeederState
from tests.fuzz.mutation import Fuzz
from tests.support.cache_builder import CacheBuilder, commit_id, lfs_sha256
from tests.support.rogue_tracker import BLOB, COMMIT, FILE, REPO

MANIFEST = {"format": 1, **REPO, "commit": COMMIT, "refs": ["main"], "complete": True, "files": [FILE]}


def test_an_export(fuzz: Fuzz, tmp_path: Path) -> None:
    for _ in fuzz:
        shutil.rmtree(tmp_path / "export", ignore_errors=True)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        for name in ("blobs", "manifests", "torrents"):
            (tmp_path / "export" / name).mkdir(parents=True)
        index = json.dumps({"format": 1, "revisions": []}).encode()
        (tmp_path / "export" / INDEX).write_bytes(fuzz.bytes([index]) if fuzz.random.random() < 0.1 else index)
        document = json.dumps(fuzz.document([MANIFEST])).encode()
        path = tmp_path / "export" / "manifests" / f"models--org--name@{COMMIT}.json"
        path.write_bytes(document if fuzz.random.random() < 0.7 else fuzz.bytes([document]))
        (tmp_path / "export" / "torrents" / f"{BLOB.etag}.torrent").write_bytes(fuzz.bytes([BLOB.encode()]))
        (tmp_path / "export" / "blobs" / BLOB.etag.value).write_bytes(bytes(70_000))

        def bring() -> None:
            policy = Policy(lambda _signature: False, unsigned=True)
            work = Import(ExportFolder.open(tmp_path / "export"), tmp_path / "cache", policy)
            offers = work.offers()
            work.check_room(offers)
            work.changes(offers)
            for offer in offers:
                work.revision(offer, lambda _name, _count: None)

        fuzz.refuses(bring, LlmptError)
        assert sorted(one.name for one in tmp_path.iterdir()) in (["cache", "export"], ["export"])


def test_a_hub_cache(fuzz: Fuzz, tmp_path: Path) -> None:
    cache = CacheBuilder(tmp_path / "hub")
    repo = cache.repo("org/model")
    repo.commit({"model.bin": b"weights" * 100, "sub/config.json": b"{}"}, lfs={"model.bin"}, listing=True)
    kept = tmp_path / "kept"
    shutil.copytree(cache.root, kept, symlinks=True)
    for _ in fuzz:
        chance = fuzz.random
        entries = sorted(cache.root.rglob("*"))
        where = chance.choice(entries or [cache.root])
        deed = chance.randrange(6)
        try:
            if deed == 0 and where.is_file() and not where.is_symlink():
                where.write_bytes(fuzz.bytes([where.read_bytes() or b"x"]))
            elif deed == 1:
                shutil.rmtree(where) if where.is_dir() and not where.is_symlink() else where.unlink()
            elif deed == 2:
                name = (
                    fuzz.bytes([os.fsencode(where.name), b"models--a--b", COMMIT.encode(), b"e" * 64])
                    .replace(b"/", b"")
                    .replace(b"\0", b"")
                )
                where.rename(os.fsdecode(os.path.join(os.fsencode(where.parent), name[:200] or b"x")))  # noqa: PTH118
            elif deed == 3:
                (where if where.is_dir() else where.parent).joinpath(f"link{chance.randrange(9)}").symlink_to(
                    chance.choice(["/etc/passwd", "..", ".", "nowhere", "/dev/zero", str(cache.root), "link1"])
                )
            elif deed == 4:
                os.mkfifo((where if where.is_dir() else where.parent) / f"pipe{chance.randrange(9)}")
            else:
                (where if where.is_dir() else where.parent).joinpath(
                    chance.choice(["main", COMMIT, "e" * 40, "e" * 64, ".locks"])
                ).mkdir()
        except (OSError, ValueError):
            pass
        fuzz.last = sorted(str(one.relative_to(cache.root)) for one in cache.root.rglob("*"))
        fuzz.refuses(lambda: list(scan(cache.root)), CacheMissing)
        if chance.random() < 0.1:
            shutil.rmtree(cache.root, ignore_errors=True)
            shutil.copytree(kept, cache.root, symlinks=True)


def test_listings_cards_and_what_was_said(fuzz: Fuzz, tmp_path: Path) -> None:
    tree: dict[str, Any] = {"format_version": 1, "files": {
        "a": {"size": 2, "blob_id": "a" * 40}, "b": {"size": 130, "blob_id": "b" * 40, "lfs_sha256": "e" * 64, "lfs_size": 9}}}  # fmt: skip
    card = b"---\nlicense: mit\ntags:\n- a\n- b\nmodel-index:\n- name: x\n  results: [{v: 1.5}]\nlanguage: no\n---\n# hello\n"
    alive = {"beats": {"work": 5.0}, "troubles": [{"name": "work", "error": "no"}]}
    for _ in fuzz:
        (tmp_path / "tree.json").write_bytes(json.dumps(fuzz.document([tree])).encode())
        fuzz.refuses(lambda: read_listing(tmp_path / "tree.json"))
        (tmp_path / "tree.json").write_bytes(fuzz.bytes([json.dumps(tree).encode()]))
        fuzz.refuses(lambda: read_listing(tmp_path / "tree.json"))
        (tmp_path / "README.md").write_bytes(fuzz.bytes([card]))
        fuzz.refuses(lambda: read_card(tmp_path / "README.md", FileStamp.of((tmp_path / "README.md").stat())))
        (tmp_path / "alive").write_bytes(json.dumps(fuzz.document([alive])).encode())
        fuzz.refuses(lambda: what_is_wrong(tmp_path / "alive", now=6.0), NoLife)
        text = fuzz.text(["d" * 64 + ' [1, 2, 3, "main", "v1"]', "d" * 64])
        fuzz.refuses(lambda text=text: str(Said.parse(text)))  # type: ignore[misc]
        (tmp_path / "share.token").write_bytes(fuzz.bytes([b"llmpt_share_abc\n"]))
        fuzz.refuses(lambda: share_token.read(tmp_path / "share.token"))


def test_the_agents_database(fuzz: Fuzz, tmp_path: Path) -> None:
    right = tmp_path / "right.db"
    with Inventory(right) as inventory:
        inventory.keep_hub_answer(RepoRef("model", "org/name"), HubAnswer(True, "public", 5.0))
    for _ in fuzz:
        file = tmp_path / f"{fuzz.rounds}" / "agent.db"
        file.parent.mkdir()
        file.write_bytes(fuzz.bytes([right.read_bytes()]))

        def use(file: Path = file) -> None:
            made, _ = opened(lambda way: Inventory(file, way), file)
            with made:
                list(made.blobs())
                made.metainfo(BLOB.etag)
                made.hub_answer(RepoRef("model", "org/name"))

        fuzz.refuses(use, LlmptError)
        shutil.rmtree(file.parent)


def test_the_seeders_database(fuzz: Fuzz, tmp_path: Path) -> None:
    repo, commit = RepoRef("model", "org/name"), commit_id("x")
    right = tmp_path / "right.db"
    with SeederState(right) as state:
        state.keep_manifest(repo, commit, "d" * 64 + " [1, 1, 1]")
        state.keep_published([BLOB.etag])
        state.keep_hub_listing(repo, commit, HubListing({}, 5.0))
    assert lfs_sha256(b"")
    for _ in fuzz:
        file = tmp_path / f"{fuzz.rounds}" / "seeder.db"
        file.parent.mkdir()
        file.write_bytes(fuzz.bytes([right.read_bytes()]))

        def use(file: Path = file) -> None:
            made, _ = opened(lambda way: SeederState(file, way), file)
            with made:
                for text in made.published_manifests().values():
                    Said.parse(text)
                made.published_torrents()
                made.hub_listing(repo, commit)
                made.wanted()
                list(made.blobs())

        fuzz.refuses(use, LlmptError)
        shutil.rmtree(file.parent)
