"""Which requests of huggingface_hub are questions, and which of them a commit's files answer."""

from __future__ import annotations

import pytest

from llmpt.core.repo import RepoRef
from llmpt.hook.questions.question import Question

COMMIT = "c" * 40


def question(raw: str, method: str = "GET", body: bytes = b"", **headers: str) -> Question | None:
    found = {name.replace("_", "-").lower(): text for name, text in headers.items()}
    return Question.of(method, raw, lambda name: found.get(name.lower()), lambda: body)


def asked(raw: str, method: str = "GET", body: bytes = b"", **headers: str) -> Question:
    found = question(raw, method, body, **headers)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("POST", "/api/models/org/name/commit/main"),
        ("PUT", "/org/name/resolve/main/a"),
        ("DELETE", "/api/models/org/name"),
        ("GET", f"/api/models/org/name/xet-read-token/{COMMIT}"),
        ("GET", "/api/models/org/name/discussions?p=0"),
        ("POST", "/org/name.git/info/lfs/objects/batch"),
        ("GET", "/api/v1/repos"),
    ],
)
def test_what_is_no_question_of_a_download_goes_to_the_hub(method: str, raw: str) -> None:
    assert question(raw, method) is None


def test_a_file_of_a_branch_with_a_slash() -> None:
    found = asked("/datasets/org/name/resolve/feature%2Fx/a/b%20c.json", "HEAD")
    assert (found.repo, found.revision, found.commit) == (RepoRef("dataset", "org/name"), "feature/x", None)
    assert found.target.path == "a/b c.json"


def test_a_repo_that_cannot_be_is_none_of_ours() -> None:
    assert asked("/org/na--me/resolve/main/a").repo is None


@pytest.mark.parametrize(
    ("raw", "exact"),
    [
        (f"/org/name/resolve/{COMMIT}/a", True),
        ("/api/models/org/name/revision/main", True),
        ("/api/models/org/name/revision/main?blobs=true", True),
        ("/api/models/org/name", False),  # the card, with its fame
        ("/api/models/org/name/revision/main?expand=downloads", False),
        ("/api/models/org/name/revision/main?securityStatus=true", False),
        (f"/api/models/org/name/tree/{COMMIT}?recursive=true&expand=false", True),
        (f"/api/models/org/name/tree/{COMMIT}?recursive=True&expand=True", False),
        (f"/api/models/org/name/tree/{COMMIT}?recursive=true&cursor=abc", False),
        ("/api/models/org/name/refs", False),
        ("/api/models/org/name/commits/main", False),
        ("/api/agent-harnesses", False),
    ],
)
def test_what_follows_from_the_files_of_a_commit(raw: str, exact: bool) -> None:
    assert asked(raw).follows_from_commit is exact


@pytest.mark.parametrize(
    ("body", "kind", "exact"),
    [
        (b"paths=a&paths=b&expand=False", "application/x-www-form-urlencoded", True),
        (b"paths=a&expand=True", "application/x-www-form-urlencoded", False),
        (b'{"paths":["a"]}', "application/json", True),
        (b'{"paths":["a"],"expand":true}', "application/json", False),
        (b"{", "application/json", False),
    ],
)
def test_paths_with_their_last_commits_are_for_the_hub(body: bytes, kind: str, exact: bool) -> None:
    found = asked("/api/models/org/name/paths-info/main", "POST", body, content_type=kind)
    assert found.follows_from_commit is exact


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/api/models/org/name/revision/main?blobs=true", f"/api/models/org/name/revision/{COMMIT}?blobs=true"),
        ("/api/models/org/name", f"/api/models/org/name/revision/{COMMIT}"),
        (
            "/api/datasets/org/name/tree/main/a%2Fb%20c?recursive=true",
            f"/api/datasets/org/name/tree/{COMMIT}/a%2Fb%20c?recursive=true",
        ),
        ("/api/spaces/name/paths-info/v1", f"/api/spaces/name/paths-info/{COMMIT}"),
        ("/api/models/org/name/commits/main?p=0", f"/api/models/org/name/commits/{COMMIT}?p=0"),
        ("/api/models/org/name/refs?include_prs=1", "/api/models/org/name/refs?include_prs=1"),
    ],
)
def test_a_listing_is_asked_of_the_tracker_by_commit(raw: str, target: str) -> None:
    assert asked(raw, "POST" if "paths-info" in raw else "GET").at(COMMIT) == target
