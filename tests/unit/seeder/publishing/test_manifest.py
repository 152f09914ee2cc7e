"""What is told of a commit: the whole listing where it is known, and never a wrong one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.publishing.manifest import Line, Manifest, PublishLimits
from tests.support.cache_builder import CacheBuilder, commit_id, git_sha1, lfs_sha256
from tests.unit.seeder.fakes import Bench

BIG = bytes(range(256)) * 8
OTHER = bytes(reversed(range(256))) * 9
REPO = RepoRef("model", "org/model")
MODEL = ListedFile(Etag(lfs_sha256(BIG)), len(BIG))
CONFIG = ListedFile(Etag(git_sha1(b"{}")), 2)


def told(bench: Bench, commit: str) -> dict[str, Any]:
    return bench.tracker.manifests["model", "org/model", commit]


def here(bench: Bench, commit: str) -> dict[str, bool]:
    return {file["path"]: file.get("here", True) for file in told(bench, commit)["files"]}


def ask(bench: Bench) -> None:
    """Let the Hub be asked for what is wanted, and what came be told."""
    bench.listings.ask()
    bench.work()


def test_the_whole_list_is_told_and_what_of_it_is_here(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"}, listing=True, unlisted={"model.bin": BIG, "sub/x": b"x"}, lfs={"model.bin"})
    bench.work()
    assert told(bench, commit)["complete"] is True
    assert here(bench, commit) == {"config.json": True, "model.bin": False, "sub/x": False}
    assert {"path": "model.bin", "size": len(BIG), "etag": lfs_sha256(BIG), "lfs": True, "here": False} in told(bench, commit)[
        "files"
    ]
    assert bench.hub.asked == []  # the cache knew it


def test_without_a_list_a_revision_is_known_in_part(cache: CacheBuilder, bench: Bench) -> None:
    commit = cache.repo("org/model").commit({"config.json": b"{}"})
    ask(bench)
    assert told(bench, commit)["complete"] is False
    assert here(bench, commit) == {"config.json": True}


def test_the_hub_is_asked_for_the_list_that_the_cache_lacks(cache: CacheBuilder, bench: Bench) -> None:
    commit = cache.repo("org/model").commit({"config.json": b"{}"})
    bench.hub.answers[commit] = {"config.json": CONFIG, "model.bin": MODEL}
    bench.work()
    assert told(bench, commit)["complete"] is False  # nobody waits for the Hub
    ask(bench)
    assert told(bench, commit)["complete"] is True
    assert here(bench, commit) == {"config.json": True, "model.bin": False}
    bench.restart()
    bench.tracker.start_over()
    bench.work()
    assert told(bench, commit)["complete"] is True
    assert bench.hub.asked == [commit]


def test_the_hub_is_asked_again_and_again_only_about_what_it_shows_to_anybody(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"config.json": b"{}"})
    bench.hub.up = False
    for patterns, expected in (((), 3), (("*",), 1)):
        bench.patterns = patterns
        bench.restart()
        bench.hub.asked.clear()
        bench.state.keep_hub_answer(REPO, HubAnswer(True, "public on the Hub", bench.now))
        bench.work()
        for _ in range(3):
            ask(bench)
            bench.now += 601
        assert len(bench.hub.asked) == expected


def test_the_hub_is_asked_again_after_the_clock_was_set_back(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/model").commit({"config.json": b"{}"})
    bench.state.keep_hub_answer(REPO, HubAnswer(True, "public on the Hub", bench.now))
    bench.work()
    ask(bench)
    ask(bench)
    asked = len(bench.hub.asked)
    bench.now -= 3600
    ask(bench)
    assert len(bench.hub.asked) == asked + 1


def test_a_file_that_lies_elsewhere_in_the_cache_is_here(cache: CacheBuilder, bench: Bench) -> None:
    cache.repo("org/other").commit({"weights": BIG}, lfs={"weights"})
    commit = cache.repo("org/model").commit({"f": b"1"}, listing=True, unlisted={"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    assert here(bench, commit) == {"f": True, "model.bin": True}


def test_a_file_that_arrives_is_here_from_then_on(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1"}, listing=True, unlisted={"model.bin": BIG}, lfs={"model.bin"})
    bench.work()
    repo.link(commit, "model.bin", repo.blob(BIG, lfs=True))
    bench.work()
    assert here(bench, commit) == {"f": True, "model.bin": True}
    bodies = len(bench.tracker.bodies)
    bench.work()
    assert len(bench.tracker.bodies) == bodies


def test_what_is_read_as_rotten_at_last_does_not_hold_up_the_rest(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"f": b"1", "model.bin": BIG}, lfs={"model.bin"})
    repo.blob_path(lfs_sha256(BIG)).write_bytes(b"x" + BIG[1:])
    bench.hasher.held = True
    bench.work()
    assert bench.tracker.manifests == {}
    bench.hasher.held = False
    bench.work()
    assert here(bench, commit) == {"f": True}


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        ({"model.bin": MODEL}, "it does not name config.json"),
        ({"config.json": replace(CONFIG, etag=Etag(git_sha1(b"[]"))), "model.bin": MODEL}, "config.json is"),
        ({"config.json": replace(CONFIG, size=3), "model.bin": MODEL}, "config.json has 3 bytes, and it has 2"),
    ],
)
def test_a_list_that_the_snapshot_contradicts_is_not_used_and_said(
    cache: CacheBuilder, bench: Bench, foreign: dict[str, ListedFile], said: str
) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    entries = {path: {"size": listed.size, "blob_id": listed.etag.value} for path, listed in foreign.items()}
    (repo.folder / "trees").mkdir()
    (repo.folder / "trees" / f"{commit}.json").write_text(json.dumps({"format_version": 1, "files": entries}))
    bench.work()
    assert told(bench, commit)["complete"] is False
    assert here(bench, commit) == {"config.json": True}
    assert f"trees/{commit}.json is not of this commit" in bench.problems()
    assert said in bench.problems()
    bench.hub.answers[commit] = {"config.json": CONFIG, "b": CONFIG}  # the Hub's own word is asked for instead
    ask(bench)
    assert told(bench, commit)["complete"] is True


def test_a_wrong_word_of_the_hub_is_not_used_either(cache: CacheBuilder, bench: Bench) -> None:
    commit = cache.repo("org/model").commit({"config.json": b"{}"})
    bench.hub.answers[commit] = {"model.bin": MODEL}
    ask(bench)
    ask(bench)
    assert told(bench, commit)["complete"] is False
    assert "what HF_ENDPOINT lists is not of this commit" in bench.problems()


def test_what_the_hub_does_not_have_is_told_unless_a_file_says_otherwise(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    commit = repo.commit({"config.json": b"{}"})
    for path in ("adapter_config.json", "config.json"):
        entry = repo.folder / ".no_exist" / commit / path
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.touch()
    bench.work()
    assert told(bench, commit)["absent"] == ["adapter_config.json"]


def test_the_card_of_a_verified_readme_is_told(cache: CacheBuilder, bench: Bench) -> None:
    repo = cache.repo("org/model")
    good = repo.commit({"README.md": b"---\nlicense: mit\n---\n# A model\n"})
    rotten = repo.commit({"README.md": b"---\nlicense: apache-2.0\n---\n", "f": b"1"})
    repo.blob_path(git_sha1(b"---\nlicense: apache-2.0\n---\n")).write_bytes(b"---\nlicense: forged_\n---\n")
    none = repo.commit({"README.md": b"# No card\n"})
    bench.work()
    assert told(bench, good)["card"] == {"license": "mit"}
    assert "card" not in told(bench, rotten)
    assert "card" not in told(bench, none)


# Parts


def a_manifest(files: int) -> Manifest:
    lines = (Line(f"data/{n:04}.txt", Etag(git_sha1(b"%d" % n)), n, n % 2 == 0) for n in range(files))
    return Manifest(REPO, commit_id(1), ("main",), tuple(lines), True, ("absent.txt",), {"license": "mit"})


@pytest.mark.parametrize("limits", [PublishLimits(lines=100), PublishLimits(size=14_000)])
def test_a_long_list_goes_in_parts_and_only_the_last_says_that_it_is_whole(limits: PublishLimits) -> None:
    bodies: list[dict[str, Any]] = list(a_manifest(250).bodies(limits))
    assert len(bodies) == 3
    assert [body["complete"] for body in bodies] == [False, False, True]
    assert [body["refs"] for body in bodies] == [[], [], ["main"]]
    assert [("card" in body, "absent" in body) for body in bodies] == [(False, False), (False, False), (True, True)]
    assert [file["path"] for body in bodies for file in body["files"]] == [f"data/{n:04}.txt" for n in range(250)]
    assert all(len(json.dumps(body)) < limits.size + 500 for body in bodies)


def test_a_short_one_goes_at_once_and_says_only_what_there_is_to_say() -> None:
    (body,) = replace(a_manifest(1), absent=(), card=None).bodies()
    assert body == {
        "repo_type": "model",
        "repo_id": "org/model",
        "commit": commit_id(1),
        "refs": ["main"],
        "complete": True,
        "files": [{"path": "data/0000.txt", "size": 0, "etag": git_sha1(b"0"), "lfs": False}],
    }


def test_a_list_in_parts_is_told_once(cache: CacheBuilder, bench: Bench) -> None:
    bench.limits = PublishLimits(lines=3)
    bench.restart()
    names = {f"f{n}": str(n).encode() for n in range(7)}
    commit = cache.repo("org/model").commit(names, listing=True, unlisted={"z": b"z"})
    bench.work()
    assert [len(body["files"]) for body in bench.tracker.bodies] == [3, 3, 2]
    assert told(bench, commit)["complete"] is True
    assert len(here(bench, commit)) == 8
    bench.work()
    assert len(bench.tracker.bodies) == 3


def test_a_part_that_is_refused_leaves_the_list_unwhole(cache: CacheBuilder, bench: Bench) -> None:
    bench.limits = PublishLimits(lines=3)
    bench.restart()
    commit = cache.repo("org/model").commit({f"f{n}": b"%d" % n for n in range(7)}, listing=True)
    bench.tracker.refuse = lambda body: "no" if any(file["path"] == "f3" for file in body.get("files", ())) else None
    bench.work()
    assert told(bench, commit)["complete"] is False
    assert "the tracker refused it" in bench.problems()
    bench.tracker.refuse = lambda body: None
    bench.now += 601
    bench.work()
    assert told(bench, commit)["complete"] is True
