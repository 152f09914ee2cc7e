"""The note of where an agent serves from: who believes it, and when it says nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmpt.link import lock, paths, state


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A user whose session has no runtime folder, on a host of its own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(paths, "TEMPORARY", tmp_path / "tmp")
    monkeypatch.setattr(state, "FALLBACK", tmp_path / "var-tmp")
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/proc/none"}


@contextmanager
def agent(environ: dict[str, str]) -> Iterator[Path]:
    """One that lives in another session's folder, and has noted so at home."""
    with lock.held(environ):
        folder = paths.runtime_dir(environ)
        _note(environ, folder)
        yield folder


def _note(environ: dict[str, str], folder: Path) -> None:
    home = state.at_home(environ)
    assert home is not None
    home.mkdir(parents=True, exist_ok=True)
    state.note(home, folder)


@pytest.fixture
def other(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Another session of that user."""
    return environ | {"XDG_RUNTIME_DIR": str(tmp_path / "other")}


def test_an_agent_of_another_session_is_found_as_long_as_it_lives(environ: dict[str, str], other: dict[str, str]) -> None:
    usual = paths.runtime_dir(environ)
    with agent(other) as folder:
        assert paths.runtime_dir(environ) == folder
        assert lock.is_held(environ)
    assert paths.runtime_dir(environ) == usual


def test_where_the_home_cannot_hold_it_the_note_lies_elsewhere(environ: dict[str, str], other: dict[str, str]) -> None:
    environ["HOME"] = other["HOME"] = "/proc/nowhere"
    with lock.held(other):
        fallback = state.elsewhere()[3]  # others have taken the first names
        fallback.mkdir(parents=True)
        state.note(fallback, paths.runtime_dir(other))
        assert paths.runtime_dir(environ) == paths.runtime_dir(other)


def test_an_agent_of_another_tracker_is_another_agent(environ: dict[str, str], other: dict[str, str]) -> None:
    other["LLMPT_TRACKER"] = "http://one:8000/"
    with agent(other) as folder:
        assert paths.runtime_dir(environ | {"LLMPT_TRACKER": "http://two:8000"}) != folder
        assert paths.runtime_dir(environ | {"LLMPT_TRACKER": "http://one:8000"}) == folder


@pytest.mark.parametrize("what", ["gone", "a file", "a folder that others may enter", "another user's", "relative", "a link"])
def test_a_note_that_leads_to_no_folder_of_this_users_agent_says_nothing(
    environ: dict[str, str], other: dict[str, str], tmp_path: Path, what: str
) -> None:
    usual = paths.runtime_dir(environ)
    with agent(other) as folder:
        if what == "gone":
            _note(environ, tmp_path / "gone")
        elif what == "a file":
            _note(environ, folder / "agent.lock")
        elif what == "a folder that others may enter":
            folder.chmod(0o711)
        elif what == "another user's":
            if os.geteuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(folder, 12345, 12345)
        elif what == "relative":
            _note(environ, Path(os.path.relpath(folder)))
        else:
            (tmp_path / "link").symlink_to(folder)
            _note(environ, tmp_path / "link")
        assert paths.runtime_dir(environ) == usual
        if what == "a folder that others may enter":
            assert folder.stat().st_mode & 0o777 == 0o711, "it is not ours to close"


def test_a_note_of_another_user_says_nothing(environ: dict[str, str], other: dict[str, str]) -> None:
    """As in the home that `sudo` leaves as it was."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    usual = paths.runtime_dir(environ)
    with agent(other):
        home = state.at_home(environ)
        assert home is not None
        os.lchown(home / state.NOTE, 12345, 12345)
        assert paths.runtime_dir(environ) == usual


def test_a_new_note_takes_the_place_of_the_old_one_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        state.note(tmp_path, tmp_path / name)
    assert [(path.name, path.readlink()) for path in tmp_path.iterdir()] == [(state.NOTE, tmp_path / "two")]
    state.note(tmp_path / "no such folder", tmp_path)


def test_hosts_of_long_names_that_begin_alike_are_told_apart(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for number in range(2):
        monkeypatch.setattr(socket, "gethostname", lambda number=number: f"a-node-of-the-western-datacenter-{number}")
        found.add(state.at_home(environ))
    assert len(found) == 2
    assert {len(place.name) for place in found if place} == {32}
