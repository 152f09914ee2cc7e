"""The seeder's service: what happens to the cache or to the tracker, and what follows from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from tests.support.cache_builder import CacheBuilder, commit_id, git_sha1, lfs_sha256
from tests.unit.seeder.fakes import Bench

BIG = bytes(range(256)) * 8
OTHER = bytes(reversed(range(256))) * 9


def rewrite(path: Path, data: bytes) -> None:
    """Change a file's content; its mtime changes too, as it does for anyone who writes."""
    path.write_bytes(data)
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))


def test_a_cache_is_published_and_seeded_in_place(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"model.bin": BIG, "config.json": b"{}", "empty": b""}, lfs={"model.bin"}, refs=["main", "v1.0"])
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.engine.seeded_at == [repo.blob_path(lfs_sha256(BIG))]
    assert bench.engine.announce_url == "http://tracker:6969/announce/" + "k" * 32
    body = bench.tracker.manifests["model", "org/model", commit]
    assert body["refs"] == ["main", "v1.0"]
    assert body["complete"] is False
    assert body["files"] == [
        {"path": "config.json", "size": 2, "etag": git_sha1(b"{}"), "lfs": False},
        {"path": "empty", "size": 0, "etag": git_sha1(b""), "lfs": False},
        {"path": "model.bin", "size": len(BIG), "etag": lfs_sha256(BIG), "lfs": True},
    ]


def test_what_is_published_is_not_published_again(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bodies = len(bench.tracker.bodies)
    bench.work()
    assert len(bench.tracker.bodies) == bodies == 2


def test_after_a_restart_nothing_is_read_or_published_and_all_is_seeded(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG, "config.json": b"{}"}, lfs={"model.bin"})
    bench.work()
    bodies = len(bench.tracker.bodies)
    bench.restart()
    bench.work()
    assert bench.hasher.read == []
    assert len(bench.tracker.bodies) == bodies
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_after_a_restart_without_a_tracker_it_seeds_under_the_last_announce_url(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    url = bench.engine.announce_url
    bench.tracker.up = False
    bench.restart()
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.engine.announce_url == url


def test_a_rotten_blob_is_reported_and_never_published(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"model.bin": BIG, "config.json": b"{}"}, lfs={"model.bin"}, listing=True)
    rewrite(repo.blob_path(lfs_sha256(BIG)), b"x" + BIG[1:])
    bench.work()
    assert bench.tracker.torrents == {}
    assert bench.engine.blobs == {}
    assert bench.tracker.paths(repo.ref, commit) == ["config.json"]
    rotten = {"path": "model.bin", "size": len(BIG), "etag": lfs_sha256(BIG), "lfs": True, "here": False}
    assert rotten in bench.tracker.manifests["model", "org/model", commit]["files"]
    assert lfs_sha256(BIG) in bench.problems()


def test_a_rotten_blob_is_not_read_again_until_it_changes(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    blob = repo.blob_path(lfs_sha256(BIG))
    rewrite(blob, b"x" + BIG[1:])
    bench.work()
    bench.restart()
    bench.work()
    assert bench.hasher.read == []
    blob.write_bytes(BIG)
    bench.work()
    assert bench.hasher.read == [blob]
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.problems() == "[]"


def test_a_blob_that_rots_after_publishing_is_withdrawn(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    rewrite(repo.blob_path(lfs_sha256(BIG)), b"x" + BIG[1:])
    bench.work()
    assert bench.engine.blobs == {}
    assert "not what its etag" in bench.problems()


def test_a_blob_that_is_changed_in_place_with_its_mtime_put_back_is_withdrawn(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    path = repo.blob_path(lfs_sha256(BIG))
    before = path.stat()
    path.write_bytes(b"x" + BIG[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    bench.work()
    assert bench.engine.blobs == {}
    assert "not what its etag" in bench.problems()


def test_what_an_earlier_version_has_read_is_not_read_again(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    with bench.state.transaction() as sql:
        sql.execute("DELETE FROM known_ctimes")  # that version notes none
    bench.restart()
    bench.work()
    assert bench.hasher.read == []
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_a_deleted_blob_is_withdrawn(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    repo.blob_path(lfs_sha256(BIG)).unlink()
    bench.work()
    assert bench.engine.blobs == {}


def test_a_file_error_is_looked_into_at_once_and_alone_withdraws_nothing(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    etag = Etag(lfs_sha256(BIG))
    bench.engine.failing = {etag}
    bench.service.reconcile()
    assert etag in bench.engine.blobs
    repo.blob_path(etag.value).unlink()
    bench.engine.failing = {etag}
    bench.service.reconcile()
    assert bench.engine.blobs == {}


def test_the_other_copy_is_seeded_when_one_is_deleted(cache: CacheBuilder, bench: Bench) -> None:
    first, second = cache.repo("org/a"), cache.repo("org/b")
    first.commit({"model.bin": BIG}, lfs={"model.bin"})
    second.commit({"copy.bin": BIG}, lfs={"copy.bin"})
    bench.work()
    assert bench.engine.seeded_at == [first.blob_path(lfs_sha256(BIG))]
    shutil.rmtree(first.folder)
    bench.work()
    assert bench.engine.seeded_at[-1] == second.blob_path(lfs_sha256(BIG))
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_a_good_copy_elsewhere_stands_in_for_a_rotten_one(cache: CacheBuilder, bench: Bench) -> None:
    first, second = cache.repo("org/a"), cache.repo("org/b")
    commit = first.commit({"model.bin": BIG}, lfs={"model.bin"})
    second.commit({"copy.bin": BIG}, lfs={"copy.bin"})
    rewrite(first.blob_path(lfs_sha256(BIG)), b"short")
    bench.work()
    assert bench.engine.seeded_at == [second.blob_path(lfs_sha256(BIG))]
    assert bench.tracker.paths(first.ref, commit) == ["model.bin"]


def test_a_new_revision_that_shares_its_blobs_is_published_without_reading(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.hasher.read.clear()
    new = repo.commit({"model.bin": BIG, "README.md": b"new"}, lfs={"model.bin"})
    bench.work()
    assert bench.tracker.paths(repo.ref, new) == ["README.md", "model.bin"]
    assert bench.hasher.read == [repo.blob_path(git_sha1(b"new"))]


def test_a_snapshot_that_gained_files_is_published_again(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    bench.work()
    repo.commit({"model.bin": BIG}, lfs={"model.bin"}, commit=commit)
    bench.work()
    assert bench.tracker.paths(repo.ref, commit) == ["config.json", "model.bin"]


def test_a_manifest_waits_for_its_last_blob_and_torrents_do_not(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"a.bin": BIG}, lfs={"a.bin"})
    bench.work()
    repo.commit({"b.bin": OTHER}, lfs={"b.bin"}, commit=commit)
    bench.hasher.held = True
    bench.work()
    assert bench.tracker.paths(repo.ref, commit) == ["a.bin"]
    report = bench.service.report()["hashing"]
    assert isinstance(report, dict)
    assert report["current"] == lfs_sha256(OTHER)
    bench.hasher.held = False
    bench.work()
    assert bench.tracker.paths(repo.ref, commit) == ["a.bin", "b.bin"]


def test_with_the_tracker_down_it_keeps_seeding_and_publishes_when_it_is_back(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.tracker.up = False
    commit = repo.commit({"other.bin": OTHER}, lfs={"other.bin"}, commit=commit_id(2))
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    bench.tracker.up = True
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG), lfs_sha256(OTHER)}
    assert bench.tracker.paths(repo.ref, commit) == ["other.bin"]


def test_a_restarted_announcer_is_told_everything_again(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    before, bodies = bench.engine.reannounced, len(bench.tracker.bodies)
    bench.tracker.boot_id = "boot-2"
    bench.work()
    assert bench.engine.reannounced == before + 1
    assert len(bench.tracker.bodies) == bodies
    bench.work()
    assert bench.engine.reannounced == before + 1


def test_at_a_new_tracker_instance_everything_is_published_anew(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.hasher.read.clear()
    before = bench.engine.reannounced
    bench.tracker.start_over()
    bench.work()
    assert lfs_sha256(BIG) in bench.tracker.torrents
    assert bench.tracker.paths(repo.ref, commit) == ["model.bin"]
    assert bench.hasher.read == []
    assert bench.engine.reannounced > before
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_a_tracker_with_an_older_database_gets_the_torrents_again(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.tracker.torrents.clear()  # the same instance, from a backup
    new = repo.commit({"model.bin": BIG, "README.md": b"new"}, lfs={"model.bin"})
    bench.work()
    assert bench.tracker.paths(repo.ref, new) == ["README.md", "model.bin"]


def test_an_unknown_token_is_said_with_where_it_is_expected(
    cache: CacheBuilder, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.tracker.token = "another"
    bench.work()
    assert bench.tracker.torrents == {}
    assert "LLMPT_DATA/publish.token or LLMPT_TOKEN" in caplog.text
    bench.token = "another"
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_what_cannot_be_seeded_safely_is_given_over_http_and_said(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    etag = Etag(lfs_sha256(BIG))
    bench.engine.unsafe.add(etag)
    bench.work()
    assert bench.engine.etags() == set()
    assert bench.service.blob(etag) is not None
    assert "over HTTP only" in bench.problems()


def test_a_file_that_was_replaced_by_the_same_content_is_given_from_the_new_one(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    blob = repo.blob_path(lfs_sha256(BIG))
    blob.with_suffix(".new").write_bytes(BIG)
    blob.with_suffix(".new").replace(blob)
    bench.work()
    assert bench.engine.seeded_at == [blob, blob], "what is open is the file that was replaced"


def test_a_token_that_appears_later_is_waited_for(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.token = None
    bench.work()
    assert bench.tracker.reports == []
    bench.token = "good"
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}


def test_a_refused_torrent_blocks_no_other(cache: CacheBuilder, bench: Bench) -> None:
    first, second = cache.repo("org/a"), cache.repo("org/b")
    a, b = first.commit({"a.bin": BIG, "c.json": b"{}"}, lfs={"a.bin"}), second.commit({"b.bin": OTHER}, lfs={"b.bin"})
    bench.work()
    bad = bench.tracker.bodies[0]["torrents"][0]
    bench.tracker.start_over()
    bench.tracker.refuse = lambda body: "not this one" if bad in body.get("torrents", ()) else None
    bench.work()
    assert set(bench.tracker.torrents) == {lfs_sha256(OTHER)}
    assert bench.tracker.paths(first.ref, a) == ["c.json"]
    assert bench.tracker.paths(second.ref, b) == ["b.bin"]
    assert "not this one" in bench.problems()


def test_a_refused_item_is_offered_again_after_a_while_only(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/a").commit({"a.bin": BIG}, lfs={"a.bin"})
    bench.tracker.refuse = lambda body: "no"
    bench.work()
    offers = len(bench.tracker.bodies)
    bench.work()
    assert len(bench.tracker.bodies) == offers
    bench.tracker.refuse = lambda body: None
    bench.now += 601
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.problems() == "[]"


def test_a_repo_that_may_not_be_shared_is_neither_read_nor_named_to_anyone(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/secret").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.patterns = ("*", "!org/secret")
    bench.restart()
    bench.work()
    assert bench.hasher.read == []
    assert bench.tracker.bodies == []
    assert "secret" not in repr([*bench.tracker.reports, bench.service.report()])


def test_a_repo_that_is_excluded_at_a_restart_is_no_longer_seeded(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/secret").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.patterns = ("!org/secret", "*")
    bench.restart()
    bench.work()
    assert bench.engine.blobs == {}


def test_a_cache_that_vanishes_as_a_whole_is_reported_and_read_no_second_time(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    away = cache.root.with_name("away")
    cache.root.rename(away)
    bench.work()
    assert "no Hub cache" in bench.problems()
    away.rename(cache.root)
    bench.work()
    assert bench.problems() == "[]"
    assert bench.engine.etags() == {lfs_sha256(BIG)}
    assert bench.hasher.read == [repo.blob_path(lfs_sha256(BIG))]


def test_an_empty_file_has_no_torrent_even_when_every_size_has_one(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"empty": b"", "one": b"1"})
    bench.min_blob_bytes = 0
    bench.restart()
    bench.work()
    assert bench.tracker.paths(repo.ref, commit) == ["empty", "one"]
    assert set(bench.tracker.torrents) == {git_sha1(b"1")}


def test_the_heartbeat_says_what_is_seeded(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    bench.link.heartbeat()
    report = bench.tracker.reports[-1]
    assert (report["port"], report["blobs"], report["bytes"]) == (6881, 1, len(BIG))
    assert (report["uploaded_bytes"], report["upload_rate_bytes_s"], report["hashing"]) == (5, 2, None)


# What the blob server may give away


def test_a_blob_is_given_once_it_is_verified_and_its_torrent_is_published(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG, "config.json": b"{}", "empty": b""}, lfs={"model.bin"})
    bench.tracker.up = False
    bench.work()
    assert bench.service.blob(Etag(lfs_sha256(BIG))) is None
    bench.tracker.up = True
    bench.work()
    given = [bench.service.blob(Etag(name)) for name in (lfs_sha256(BIG), git_sha1(b"{}"), git_sha1(b""))]
    assert [blob.size for blob in given if blob] == [len(BIG), 2, 0]


def test_a_blob_that_is_not_shared_is_not_given(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"config.json": b"{}"})
    cache.repo("org/secret").commit({"config.json": b"{'a': 1}"})
    bench.patterns = ("*", "!org/secret")
    bench.restart()
    bench.work()
    assert bench.service.blob(Etag(git_sha1(b"{}"))) is not None
    assert bench.service.blob(Etag(git_sha1(b"{'a': 1}"))) is None


def test_a_blob_whose_content_is_not_what_its_name_says_is_not_given(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"config.json": b"{}"})
    rewrite(repo.blob_path(git_sha1(b"{}")), b"[]")
    bench.work()
    assert bench.service.blob(Etag(git_sha1(b"{}"))) is None


def test_a_blob_that_was_deleted_is_given_no_more(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    repo.commit({"config.json": b"{}"})
    bench.work()
    shutil.rmtree(repo.folder)
    bench.work()
    assert bench.service.blob(Etag(git_sha1(b"{}"))) is None


def test_from_which_size_on_a_file_has_a_torrent_is_the_trackers_word(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"model.bin": BIG, "other.bin": OTHER}, lfs={"model.bin", "other.bin"})
    bench.tracker.min_blob_bytes = len(OTHER)
    assert len(BIG) < len(OTHER)
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(OTHER)}
    assert bench.service.blob(Etag(lfs_sha256(BIG))) is not None
    bench.tracker.min_blob_bytes = len(BIG)
    bench.work()
    assert bench.engine.etags() == {lfs_sha256(OTHER), lfs_sha256(BIG)}
