"""The notes of what the LAN has answered, and of what it answered wrongly."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from llmpt.core.repo import RepoRef
from llmpt.link import answered
from llmpt.link.answered import AGAIN_S, Answered

HUB = "https://hub.example"
ORG, OTHER = RepoRef("model", "org/name"), RepoRef("dataset", "org/name")
COMMIT = "c" * 40


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.fixture
def folder(environ: dict[str, str]) -> Path:
    found = answered.folder(environ)
    assert found is not None
    return found


def one(repo: RepoRef = ORG, commit: str = COMMIT) -> Answered:
    return Answered(HUB, repo, commit)


def test_what_was_answered_is_due_once_a_day(environ: dict[str, str], folder: Path) -> None:
    for used in (one(), one(commit="d" * 40), one(OTHER)):
        answered.note(environ, used)
    due = answered.due(folder, now=time.time())
    assert sorted(due, key=lambda used: used.repo.type) == [one(OTHER), one(commit="d" * 40)], "a commit for each repo"
    answered.held(folder, one(OTHER), wrong=None)
    answered.note(environ, one(OTHER))
    assert answered.due(folder, now=time.time()) == [one(commit="d" * 40)]
    assert len(answered.due(folder, now=time.time() + AGAIN_S + 1)) == 2
    assert len(answered.due(folder, now=time.time() - 3600)) == 2, "the clock was set back"


def test_a_repo_is_trusted_until_something_else_is_noted(environ: dict[str, str], folder: Path) -> None:
    assert not answered.distrusted(environ, HUB, ORG)
    answered.note(environ, one())
    answered.held(folder, one(), wrong="config.json is another one")
    assert answered.distrusted(environ, HUB + "/", ORG)
    assert not answered.distrusted(environ, HUB, OTHER)
    assert not answered.distrusted(environ, "https://another.example", ORG)
    (said,) = answered.wrongs(folder)
    assert "org/name: config.json is another one (remove " in said
    answered.held(folder, one(), wrong=None)
    assert answered.distrusted(environ, HUB, ORG), "one file that is right makes the other no better"


def test_notes_are_for_their_user_alone(environ: dict[str, str], folder: Path) -> None:
    answered.note(environ, one())
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"endpoint": 1}', b"x" * 9000], ids=["none", "half", "list", "odd", "long"]
)
def test_a_damaged_note_is_none(environ: dict[str, str], folder: Path, content: bytes) -> None:
    answered.note(environ, one())
    for path in folder.iterdir():
        path.write_bytes(content)
        path.with_suffix(".wrong").write_bytes(content)
    assert answered.due(folder, now=time.time()) == []
    assert answered.wrongs(folder) == []


def test_a_note_under_another_name_is_none(environ: dict[str, str], folder: Path) -> None:
    answered.note(environ, one())
    (path,) = folder.iterdir()
    path.rename(path.with_stem("0" * 32))
    assert answered.due(folder, now=time.time()) == []


def test_without_a_place_for_notes_all_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ".local").write_bytes(b"a file")
    environ = {"HOME": str(tmp_path)}
    answered.note(environ, one())
    assert not answered.distrusted(environ, HUB, ORG)
    assert answered.due(tmp_path / "lost", now=0) == []
    answered.held(tmp_path / "lost", one(), wrong="something")


def test_notes_are_bounded(environ: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "MAX_NOTES", 3)
    for number in range(9):
        answered.note(environ, one(RepoRef("model", f"org/{number}")))
    assert len(list(folder.iterdir())) == 3


def test_what_a_program_doubts_is_not_trusted_and_the_agent_looks_at_that_file_at_once(
    environ: dict[str, str], folder: Path
) -> None:
    answered.note(environ, one())
    answered.held(folder, one(), wrong=None)
    answered.doubt(environ, one(), "its etag is another one")
    assert answered.distrusted(environ, HUB, ORG)
    assert answered.wrongs(folder)[0].startswith("org/name: its etag is another one")
    assert answered.due(folder, now=time.time()) == [one()]
    answered.doubt(environ, Answered(HUB, ORG, COMMIT, "config.json"), "its etag is another one")
    assert [used.path for used in answered.due(folder, now=time.time())] == ["config.json"]


def test_what_the_library_keeps_of_the_lans_word_goes_when_it_was_wrong(
    environ: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    files = {f"trees/{COMMIT}.json", f"trees/{'e' * 40}.json", f".no_exist/{COMMIT}/no.such", "refs/main"}
    for repo in (ORG, OTHER):
        for path in files:
            (tmp_path / repo.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / repo.folder / path).touch()
        answered.note_place(environ, one(repo), tmp_path / repo.folder)
    answered.doubt(environ, one(), "the Hub has another one")

    def left(repo: RepoRef) -> set[str]:
        root = tmp_path / repo.folder
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    assert left(ORG) == {f"trees/{'e' * 40}.json", "refs/main"}
    assert left(OTHER) == files
    assert len(list((folder / answered.PLACES).iterdir())) == 1


def test_the_oldest_of_too_many_places_make_room(
    environ: dict[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answered, "MAX_NOTES", 3)
    for number in range(6):
        answered.note_place(environ, one(), tmp_path / str(number))
    told = [json.loads(path.read_text())["folder"] for path in (folder / answered.PLACES).iterdir()]
    assert len(told) == 3
    assert str(tmp_path / "5") in told
