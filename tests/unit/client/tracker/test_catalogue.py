"""What people ask a tracker, read from its answers; `Answers` stands in for the HTTP client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.tracker.catalogue import Catalogue, File, Manifest, Repo, Revision, WhoAmI
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.wire import Reply, Wire

COMMIT = Commit("c" * 40)
MAIN = RefName("main")


class Answering(Wire):
    """Answers a path with an object, an exception, or what a function makes of the query; notes what was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__("http://tracker:8000")
        self._answers = answers
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []

    def call(self, method: str, path: str, query: Mapping[str, str], *_: Any, **__: Any) -> Reply:
        self.asked.append(dict(query))
        self.paths.append(path)
        answer = self._answers[path.removeprefix("/api/v1").strip("/").partition("/")[0]]
        answer = answer(query) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, "10.0.0.1", 100)


class Answers(TrackerClient):
    """A client of one."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("http://tracker:8000")
        self._wire = self.answering = Answering(answers)

    @property
    def asked(self) -> list[dict[str, str]]:
        return self.answering.asked


def catalogue(answers: Answers) -> Catalogue:
    return Catalogue(answers)


def row(repo_id: str) -> dict[str, Any]:
    revision = {
        "commit": COMMIT.value,
        "refs": ["main"],
        "complete": True,
        "files": 2,
        "size": 30,
        "files_here": 2,
        "size_here": 30,
    }
    return {"repo_type": "model", "repo_id": repo_id, "revisions": [revision]}


def test_all_pages_of_repos_are_read() -> None:
    def page(query: Mapping[str, str]) -> dict[str, Any]:
        return {"repos": [row("org/b")], "next": None} if "cursor" in query else {"repos": [row("org/a")], "next": "7"}

    expected = [Repo(RepoRef("model", name), (Revision(COMMIT, (MAIN,), True, 2, 30, 2, 30),)) for name in ("org/a", "org/b")]
    assert catalogue(Answers(repos=page)).repos() == expected


def test_a_revision_says_how_much_of_it_is_here() -> None:
    told = row("org/a")
    told["revisions"][0] |= {"files": 11, "size": 90, "files_here": 7, "size_here": 20}
    (repo,) = catalogue(Answers(repos={"repos": [told], "next": None})).repos()
    assert repo.revisions == (Revision(COMMIT, (MAIN,), True, 11, 90, 7, 20),)


def test_words_are_looked_for_by_the_tracker() -> None:
    answers = Answers(repos={"repos": [row("org/BERT-base")], "next": None})
    assert [str(one.ref) for one in catalogue(answers).repos("bert org")] == ["org/BERT-base"]
    assert answers.asked == [{"limit": "100", "q": "bert org"}]


def test_a_manifest_names_its_files() -> None:
    files = [{"path": "a/b.bin", "size": 5, "etag": "e" * 64, "lfs": True, "here": True}]
    files += [{"path": "c", "size": 1, "etag": "f" * 40, "lfs": False, "here": False}]
    answers = Answers(repos={"commit": COMMIT.value, "refs": ["main"], "complete": False, "files": files})
    ref = RepoRef("dataset", "org/name")
    told = (File(RepoPath("a/b.bin"), 5, Etag("e" * 64)), File(RepoPath("c"), 1, Etag("f" * 40), False))
    assert catalogue(answers).manifest(ref, "main") == Manifest(ref, COMMIT, (MAIN,), False, told)


def test_a_manifest_says_whether_the_lan_may_answer_and_how_new_its_ref_is() -> None:
    told = {"commit": COMMIT.value, "refs": ["main"], "complete": True, "files": []}
    answers = Answers(repos={**told, "open": True, "fresh": True, "ref_age_s": 12})
    manifest = catalogue(answers).refreshed_manifest(RepoRef("model", "org/name"), "main")
    assert (manifest.open, manifest.fresh, manifest.ref_age_s) == (True, True, 12)
    assert answers.asked == [{"refresh": "1"}]
    unknown = catalogue(Answers(repos={**told, "open": False, "fresh": False, "ref_age_s": None}))
    for made in (unknown, catalogue(Answers(repos=told))):
        manifest = made.manifest(RepoRef("model", "org/name"), "main")
        assert (manifest.open, manifest.fresh, manifest.ref_age_s) == (False, False, None)


def test_a_server_that_is_too_old_to_refresh_says_what_it_has() -> None:
    def page(query: Mapping[str, str]) -> dict[str, Any]:
        if "refresh" in query:
            raise TrackerRefused("no parameter of this route", status=400, code="bad_request")
        return {"commit": COMMIT.value, "refs": ["main"], "complete": True, "files": []}

    assert catalogue(Answers(repos=page)).refreshed_manifest(RepoRef("model", "org/name"), "main").commit == COMMIT


def test_what_the_tracker_sees_of_us_is_read() -> None:
    told = {"address": "10.0.0.7", "reachable": False, "version": "0.2.0", "protocol": 1, "oldest_client": "0.1.0"}
    answers = Answers(whoami=told)
    assert catalogue(answers).whoami(6882) == WhoAmI("10.0.0.7", False, "0.2.0", 1, "0.1.0")
    assert answers.asked == [{"port": "6882"}]


def test_an_answer_that_makes_no_sense_is_no_answer() -> None:
    for made in (Answers(repos={"repos": [{"repo_id": 3}]}), Answers(repos={"repos": [row("../../etc")]})):
        with pytest.raises(TrackerUnavailable, match="makes no sense"):
            catalogue(made).repos()
    with pytest.raises(TrackerUnavailable, match="as an llmpt tracker does"):
        catalogue(Answers(healthz={"status": "fine"})).health()


def test_a_manifest_of_many_pages_is_that_of_the_commit_of_the_first() -> None:
    def page(query: Mapping[str, str]) -> dict[str, Any]:
        at = int(query.get("cursor", "0"))
        line = {"path": f"file-{at}", "size": 1, "etag": "e" * 64, "lfs": True, "here": True}
        return {
            "commit": COMMIT.value,
            "refs": ["main"],
            "complete": True,
            "files": [line],
            "next": str(at + 1) if at < 3 else None,
        }

    answers = Answers(repos=page)
    found = catalogue(answers).manifest(RepoRef("model", "org/name"), "main")
    assert [file.path.value for file in found.files] == ["file-0", "file-1", "file-2", "file-3"]
    assert answers.asked == [{}, {"cursor": "1"}, {"cursor": "2"}, {"cursor": "3"}]
    assert [path.rpartition("/")[2] for path in answers.answering.paths] == ["main", *[COMMIT.value] * 3]
