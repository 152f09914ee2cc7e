"""A mirror on the wire: what is told is read back as it was, and what cannot be is refused."""

from __future__ import annotations

from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

import pytest

from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorProblem, MirrorReport, MirrorState, exactly, mirrors_in
from llmpt.core.repo import RepoRef

ORG = RepoRef("model", "org/name")
NOW = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=timezone.utc)
REPORT = MirrorReport(MirrorState.FAILED, "c" * 40, 3, 1, 30, 10, MirrorProblem("gone", 404, "EntryNotFound", 60))
MIRROR = Mirror(7, MirrorAsk(ORG, "refs/pr/1", ("*.bin",)), REPORT, NOW, NOW, NOW)


@pytest.mark.parametrize(
    "mirror", [MIRROR, Mirror(0, MirrorAsk(RepoRef("dataset", "squad"), "main"), MirrorReport(MirrorState.QUEUED), NOW, NOW)]
)
def test_what_is_told_is_read_as_it_was(mirror: Mirror) -> None:
    assert Mirror.parse(mirror.as_json()) == mirror
    assert MirrorAsk.parse(mirror.ask.as_json(), strict=True) == mirror.ask
    assert MirrorReport.parse(mirror.report.as_json(), strict=True) == mirror.report


def test_a_newer_tracker_may_say_more() -> None:
    assert Mirror.parse({**MIRROR.as_json(), "new": 1}) == MIRROR


@pytest.mark.parametrize(
    "change",
    [
        {"id": -1},
        {"id": 1 << 64},
        {"id": True},
        {"id": "7"},
        {"repo_id": "../x"},
        {"repo_type": "x"},
        {"revision": "a..b"},
        {"revision": None},
        {"include": "a"},
        {"include": [1]},
        {"include": ["\ud800"]},
        {"state": "lost"},
        {"commit": "main"},
        {"files_total": -1},
        {"bytes_done": 1.5},
        {"error": "no"},
        {"error": {"message": None}},
        {"error": {"message": "x", "status": 1000}},
        {"requested_at": "yesterday"},
        {"ended_at": 5},
    ],
)
def test_what_makes_no_sense_is_refused_and_the_other_mirrors_go_on(change: dict[str, Any]) -> None:
    odd = {**MIRROR.as_json(), **change}
    with pytest.raises(InvalidInput):
        Mirror.parse(odd)
    found, problems = mirrors_in([odd, MIRROR.as_json()])
    assert (found, len(problems)) == ([MIRROR], 1)


@pytest.mark.parametrize("said", [None, [], "x", {"mirrors": None}.get("mirrors")])
def test_what_is_no_object_is_refused(said: object) -> None:
    for kind in (Mirror, MirrorAsk, MirrorReport):
        with pytest.raises(InvalidInput):
            kind.parse(said)


def test_a_report_or_a_question_with_a_field_too_many_is_refused_where_it_enters() -> None:
    with pytest.raises(InvalidInput, match="odd"):
        MirrorReport.parse({"state": "done", "odd": 1}, strict=True)
    with pytest.raises(InvalidInput, match="odd"):
        MirrorAsk.parse({"repo_id": "org/name", "odd": 1}, strict=True)


@pytest.mark.parametrize("pattern", ["", "x" * 1001, "a\nb", "a\x1b[0m"])
def test_a_pattern_has_printable_characters(pattern: str) -> None:
    with pytest.raises(InvalidName):
        MirrorAsk(ORG, "main", (pattern,)).check_patterns()


def test_whatever_upstream_says_is_cut_to_what_a_tracker_takes() -> None:
    problem = MirrorProblem.within("x" * 9999, 7, "y" * 99, 10**9)
    assert MirrorProblem.parse(problem.as_json(), strict=True) == problem
    assert MirrorProblem.within("", 404).message


def test_the_same_files_in_another_order_are_the_same_mirror() -> None:
    assert MirrorAsk(ORG, "main", ("a", "b", "a")).key == MirrorAsk(ORG, "main", ("b", "a")).key
    assert MirrorAsk(ORG, "main", ("a",)).key != MirrorAsk(ORG, "main").key


@pytest.mark.parametrize("path", ["a[1].bin", "what?.txt", "*", "plain.bin"])
def test_a_pattern_for_one_file_fits_that_file_only(path: str) -> None:
    assert fnmatchcase(path, exactly(path))
    assert MirrorAsk(ORG, "main", (exactly(path),)).names(path)
    assert not MirrorAsk(ORG, "main", (exactly(path),)).names(path + "x")
