from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core.errors import InvalidName
from llmpt.core.repo import REPO_TYPES, RepoRef, check_commit, check_path, check_ref


@pytest.mark.parametrize(
    ("repo", "folder", "shown"),
    [
        (RepoRef("model", "gpt2"), "models--gpt2", "gpt2"),
        (RepoRef("model", "org/name.v1_x"), "models--org--name.v1_x", "org/name.v1_x"),
        (RepoRef("dataset", "org/data"), "datasets--org--data", "datasets/org/data"),
        (RepoRef("space", "org/app"), "spaces--org--app", "spaces/org/app"),
        (RepoRef("kernel", "org/k"), "kernels--org--k", "kernels/org/k"),
    ],
)
def test_a_repo_and_its_cache_folder_name_each_other(repo: RepoRef, folder: str, shown: str) -> None:
    assert repo.folder == folder
    assert RepoRef.from_folder(folder) == repo
    assert str(repo) == shown


def test_the_route_of_a_file_is_quoted() -> None:
    assert RepoRef("model", "org/name").file_route("main", "a/b.bin") == "/org/name/resolve/main/a/b.bin"
    assert (
        RepoRef("dataset", "data").file_route("refs/pr/1", "a b/\u00e9.bin")
        == "/datasets/data/resolve/refs%2Fpr%2F1/a%20b/%C3%A9.bin"
    )


@given(st.sampled_from(REPO_TYPES), st.text(alphabet="aB1._-/", min_size=1, max_size=12))
def test_every_repo_comes_back_from_its_folder(kind: str, text: str) -> None:
    try:
        repo = RepoRef(kind, text)
    except InvalidName:
        return
    assert RepoRef.from_folder(repo.folder) == repo


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "a b",
        "a--b",
        "a..b",
        "-a",
        "a-",
        ".a",
        "a.",
        "org/x.git",
        "a/../b",
        "a\\b",
        "é",
        "a" * 97,
        "a\n",
    ],
)
def test_what_the_hub_would_not_have_is_no_repo_id(text: str) -> None:
    with pytest.raises(InvalidName, match="not a repo id"):
        RepoRef("model", text)


def test_other_repo_types_are_refused() -> None:
    with pytest.raises(InvalidName, match="model, dataset, space, kernel"):
        RepoRef("models", "gpt2")


@pytest.mark.parametrize(
    "folder", ["", ".locks", "models", "models--", "model--gpt2", "models--a--b--c", "version.txt", "things--a"]
)
def test_other_folders_of_a_cache_are_no_repos(folder: str) -> None:
    with pytest.raises(InvalidName):
        RepoRef.from_folder(folder)


@pytest.mark.parametrize(
    "text", ["config.json", "a/b/c.bin", ".gitattributes", "weights (1).bin", "ümlaut/模型.bin", "ab:c", "a" * 255]
)
def test_ordinary_paths_pass(text: str) -> None:
    assert check_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        "a\\..\\b",
        "C:/x",
        "c:x",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u202egpj.exe",
        "a\u2028b",
        "\ud800",
        "a" * 256,
        "é" * 128,
        "/".join("a" * 65),
    ],
)
def test_a_path_that_leaves_the_repo_or_deceives_the_eye_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="not a path inside a repo"):
        check_path(text)


@pytest.mark.parametrize("text", ["main", "v1.0", "refs/pr/3", "feature/x-y"])
def test_branches_tags_and_pull_requests_are_refs(text: str) -> None:
    assert check_ref(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "/", "a//b", "../x", "a/..", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "x.lock", "a\n", "a" * 256],
)
def test_what_git_would_not_have_is_no_ref(text: str) -> None:
    with pytest.raises(InvalidName, match="not the name of a branch"):
        check_ref(text)


def test_a_commit_is_forty_lower_case_hex_digits() -> None:
    assert check_commit("0123456789abcdef" * 2 + "01234567") == "0123456789abcdef0123456789abcdef01234567"
    for text in ("main", "a" * 39, "A" * 40, "a" * 64, "a" * 40 + "\n"):
        with pytest.raises(InvalidName, match="not a commit id"):
            check_commit(text)
