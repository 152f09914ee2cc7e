"""Figures that both ends of a wire go by, and orders that lists on pages have."""

from __future__ import annotations

import pytest

from llmpt.core import blob, metainfo, mirrors
from llmpt.core.errors import InvalidName
from llmpt.core.repo import RefName, RepoPath, RepoRef

MIB = 1 << 20


def test_these_limits_change_only_with_intent() -> None:
    assert (metainfo.MAX_PUBLISH_BYTES, metainfo.MAX_METAINFO_BYTES) == (10 * MIB, 10 * MIB)
    assert (blob.READ_BYTES, mirrors.MAX_CODE) == (4 * MIB, 40)


def test_a_ref_has_255_characters_at_most() -> None:
    assert len(RefName("x" * 255).value) == 255
    with pytest.raises(InvalidName):
        RefName("x" * 256)


def test_repos_and_paths_have_an_order() -> None:
    repos = [RepoRef("model", "b/b"), RepoRef("dataset", "z/z"), RepoRef("model", "a/a")]
    assert [repo.id for repo in sorted(repos)] == ["z/z", "a/a", "b/b"]
    assert [path.value for path in sorted([RepoPath("b"), RepoPath("a/c")])] == ["a/c", "b"]
