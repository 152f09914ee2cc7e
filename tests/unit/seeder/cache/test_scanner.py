"""The scanner: what a real Hub cache holds, one claim each (links, leftovers, junk, what cannot be read)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt_seeder.cache.contents import CachedRepo, Snapshot
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.cache.scanner import scan
from llmpt_seeder.errors import CacheMissing
from tests.support.cache_builder import CacheBuilder, commit_id, git_sha1, lfs_sha256

DATA = b"weights" * 100


def only(cache: CacheBuilder) -> CachedRepo:
    (repo,) = scan(cache.root)
    return repo


def only_snapshot(cache: CacheBuilder) -> Snapshot:
    (snapshot,) = only(cache).snapshots
    return snapshot


def paths(snapshot: Snapshot) -> list[str]:
    return [path for path, _ in snapshot.files]


def tree(root: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in root.rglob("*"))


def test_a_snapshot_is_its_files_with_etag_and_real_path(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"model.bin": DATA, "sub/dir/config.json": b"{}"}, lfs={"model.bin"})
    found = only(cache)
    assert found.ref == RepoRef("model", "org/model")
    (snapshot,) = found.snapshots
    assert (snapshot.commit, snapshot.refs) == (commit, ("main",))
    assert {path: (blob.etag.value, blob.size, blob.path) for path, blob in snapshot.files} == {
        "model.bin": (lfs_sha256(DATA), len(DATA), repo.blob_path(lfs_sha256(DATA))),
        "sub/dir/config.json": (git_sha1(b"{}"), 2, repo.blob_path(git_sha1(b"{}"))),
    }
    assert found.problems == ()


def test_scanning_writes_nothing(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": DATA}, lfs={"model.bin"}, shared_store=True, listing=True)
    repo.litter()
    before = tree(cache.root)
    list(scan(cache.root))
    assert tree(cache.root) == before


def test_a_blob_in_the_shared_store_is_found_two_links_away(cache: CacheBuilder) -> None:
    cache.repo("org/model").commit({"model.bin": DATA}, lfs={"model.bin"}, shared_store=True)
    ((_, blob),) = only_snapshot(cache).files
    xet = lfs_sha256(b"xet" + DATA)
    assert blob.etag.value == lfs_sha256(DATA)
    assert blob.path == cache.root / "blobs" / xet[:2] / xet


def test_a_link_that_leaves_the_cache_is_refused_and_reported(cache: CacheBuilder, tmp_path: Path) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    repo.blob_path(lfs_sha256(DATA)).symlink_to(secret)
    repo.link(commit, "model.bin", lfs_sha256(DATA))
    found = only(cache)
    assert paths(found.snapshots[0]) == ["config.json"]
    assert "leads out of the cache" in found.problems[0].reason


def test_an_absolute_link_is_followed_inside_the_cache_and_not_out_of_it(cache: CacheBuilder, tmp_path: Path) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    snapshot = repo.folder / "snapshots" / commit
    (snapshot / "inside.json").symlink_to(repo.blob_path(git_sha1(b"{}")))
    outside = tmp_path / "blobs" / git_sha1(b"1")
    outside.parent.mkdir()
    outside.write_bytes(b"1")
    (snapshot / "outside.json").symlink_to(outside)
    found = only(cache)
    assert paths(found.snapshots[0]) == ["config.json", "inside.json"]
    assert "leads out of the cache" in found.problems[0].reason


def test_a_cache_that_is_itself_reached_by_a_link_works(cache: CacheBuilder, tmp_path: Path) -> None:
    cache.repo("org/model").commit({"config.json": b"{}"})
    (tmp_path / "link").symlink_to(cache.root)
    (repo,) = scan(tmp_path / "link")
    assert repo.snapshots
    assert repo.problems == ()


def test_a_link_to_a_missing_blob_skips_that_file_only(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    repo.link(commit, "model.bin", lfs_sha256(DATA))
    found = only(cache)
    assert paths(found.snapshots[0]) == ["config.json"]
    assert found.problems == ()


def test_a_loop_of_links_is_no_harm(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    repo.blob_path("ab" * 32).symlink_to("ab" * 32)
    repo.link(commit, "model.bin", "ab" * 32)
    assert paths(only_snapshot(cache)) == ["config.json"]


def test_leftovers_of_downloads_and_of_other_tools_are_passed_over(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    repo.litter()
    for name in ("ab" * 32 + ".incomplete", "ab" * 32 + ".part", "README"):
        repo.link(commit, f"linked {name}", name)
    found = only(cache)
    assert paths(found.snapshots[0]) == ["config.json"]
    assert found.problems == ()


def test_folders_that_are_no_repos_are_passed_over(cache: CacheBuilder) -> None:
    for name in ("tmp--x", "models--", "models--a--b--c", "models---a", "hubs--a--b", ".locks", "models--org--name.git"):
        (cache.root / name / "snapshots").mkdir(parents=True)
    (cache.root / "models--file--x").write_text("a file")
    assert list(scan(cache.root)) == []


def test_repo_types_and_names_without_an_owner_are_read_from_the_folder(cache: CacheBuilder) -> None:
    for repo_id, repo_type in (("gpt2", "model"), ("org/data", "dataset"), ("org/app", "space"), ("org/k", "kernel")):
        cache.repo(repo_id, repo_type).commit({"f": b"1"})
    assert [str(repo.ref) for repo in scan(cache.root)] == ["datasets/org/data", "kernels/org/k", "gpt2", "spaces/org/app"]


def test_nested_refs_are_refs(cache: CacheBuilder) -> None:
    cache.repo("org/model").commit({"f": b"1"}, refs=["feature/x", "refs/pr/1", "refs/convert/parquet", "main"])
    assert only_snapshot(cache).refs == ("feature/x", "main", "refs/convert/parquet", "refs/pr/1")


def test_a_ref_with_a_newline_is_read_and_a_dangling_or_broken_one_is_normal(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"}, refs=[])
    repo.point("main", commit + "\n")
    repo.point("gone", commit_id("elsewhere"))
    repo.point("broken", "not a commit")
    repo.point("binary", "\xff\x00")
    found = only(cache)
    assert found.snapshots[0].refs == ("main",)
    assert found.problems == ()


def test_a_folder_with_refs_only_is_a_repo_without_snapshots(cache: CacheBuilder) -> None:
    cache.repo("org/model").point("main", commit_id(1))
    assert only(cache).snapshots == ()


def test_two_commits_share_their_blobs(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    repo.commit({"model.bin": DATA, "README": b"1"}, lfs={"model.bin"}, refs=["old"])
    repo.commit({"model.bin": DATA, "README": b"2"}, lfs={"model.bin"})
    first, second = only(cache).snapshots
    assert dict(first.files)["model.bin"] == dict(second.files)["model.bin"]


def test_names_with_blanks_unicode_and_marks_are_taken_as_they_are(cache: CacheBuilder) -> None:
    names = ["a b.txt", "ünïcode/日本.txt", "x+y#z?100%.txt", "e\u0301.txt", "é.txt"]
    cache.repo("org/model").commit({name: name.encode() for name in names})
    assert paths(only_snapshot(cache)) == sorted(names)


def test_names_that_cannot_be_paths_of_a_repo_are_reported(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"})
    repo.link(commit, "back\\slash", git_sha1(b"1"))
    repo.link(commit, os.fsdecode(b"\xff\xfe"), git_sha1(b"1"))
    found = only(cache)
    assert paths(found.snapshots[0]) == ["f"]
    assert len(found.problems) == 2


def test_links_to_folders_are_not_entered(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"})
    (repo.folder / "snapshots" / commit / "loop").symlink_to(".")
    assert paths(only_snapshot(cache)) == ["f"]


def test_a_dropping_among_links_is_not_the_hubs_file(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"})
    repo.unlinked(commit, "np/cache.npy", b"made by a tool")
    found = only(cache)
    assert paths(found.snapshots[0]) == ["f"]
    assert found.problems == ()


def test_a_cache_without_links_is_shared_as_far_as_the_hubs_list_names_it(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = commit_id("windows")
    file = repo.unlinked(commit, "model.bin", DATA)
    repo.unlinked(commit, "stray.txt", b"not in the list")
    repo.list_files(commit, {"model.bin": DATA}, lfs={"model.bin"})
    ((path, blob),) = only_snapshot(cache).files
    assert (path, blob.etag.value, blob.path) == ("model.bin", lfs_sha256(DATA), file)


def test_a_cache_without_links_and_without_a_list_is_reported(cache: CacheBuilder) -> None:
    cache.repo("org/model").unlinked(commit_id("windows"), "model.bin", DATA)
    found = only(cache)
    assert found.snapshots == ()
    assert "without symbolic links" in found.problems[0].reason


@pytest.mark.parametrize(
    "listing",
    ["{", "[]", '{"format_version": 2, "files": {}}', '{"format_version": 1, "files": {"a": {}}}', '{"format_version": 1}'],
)
def test_a_list_that_makes_no_sense_is_none(cache: CacheBuilder, listing: str) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"}, listing=True)
    (repo.folder / "trees" / f"{commit}.json").write_text(listing)
    assert only_snapshot(cache).listing is None


def test_the_hubs_own_list_comes_with_its_snapshot(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    listed = repo.commit({"f": b"2"}, listing=True, unlisted={"g": b"3"})
    unlisted = repo.commit({"f": b"4"})
    found = {snapshot.commit: snapshot.listing for snapshot in only(cache).snapshots}
    assert found == {
        listed: {"f": ListedFile(Etag(git_sha1(b"2")), 1), "g": ListedFile(Etag(git_sha1(b"3")), 1)},
        unlisted: None,
    }


def test_a_list_that_another_user_may_not_be_shown_is_none(cache: CacheBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.repo("org/model").commit({"f": b"5"}, listing=True)
    real = os.open

    def open_(path: Path | str, *more: Any, **named: Any) -> int:  # root reads what has mode 0600 of another
        if Path(path).parent.name == "trees":
            raise PermissionError(13, "Permission denied")
        return real(path, *more, **named)

    monkeypatch.setattr(os, "open", open_)
    found = only(cache)
    assert found.snapshots[0].listing is None
    assert (found.problems, found.unknown) == ((), False)


def test_what_the_hub_was_seen_not_to_have_comes_with_its_snapshot(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"})
    for path in ("adapter_config.json", "sub/chat_template.jinja", "back\\slash"):
        entry = repo.folder / ".no_exist" / commit / path
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.touch()
    assert only_snapshot(cache).absent == ("adapter_config.json", "sub/chat_template.jinja")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_unknown_and_reported(cache: CacheBuilder) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"sub/f": b"1", "g": b"2"})
    folder = repo.folder / "snapshots" / commit / "sub"
    folder.chmod(0)
    try:
        found = only(cache)
    finally:
        folder.chmod(0o755)
    assert found.unknown
    assert paths(found.snapshots[0]) == ["g"]
    assert "cannot be read" in found.problems[0].reason


def test_a_folder_that_cannot_be_listed_is_unknown_and_the_rest_is_found(
    cache: CacheBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = cache.repo("org/model")
    repo.commit({"sub/f": b"1", "g": b"2"})
    real = os.scandir

    def scandir(path: Path) -> object:
        if str(path).endswith("/sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("llmpt_seeder.cache.scanner.os.scandir", scandir)
    found = only(cache)
    assert found.unknown
    assert paths(found.snapshots[0]) == ["g"]
    assert found.problems[0].reason == "cannot be read (Permission denied)"


def test_a_missing_cache_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for missing in ("nothing", "circle"):
        with pytest.raises(CacheMissing, match="HF_HUB_CACHE"):
            list(scan(tmp_path / missing))
