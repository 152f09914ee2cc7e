"""A user takes the names under which another's agent or server would keep its things, or looks into them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llmpt.agent.host import places
from llmpt.core.errors import AgentUnavailable, SettingError
from llmpt.host.data_folder import make_private
from llmpt.link import paths, state
from tests.support.tracker import TrackerProcess

NAME = f"llmpt-{os.getuid()}"


def squat(folder: Path, way: str, tmp_path: Path) -> None:
    """Take a name, as another user can; only root can do so in another's name."""
    if way == "link":
        (tmp_path / "theirs").mkdir(exist_ok=True)
        folder.symlink_to(tmp_path / "theirs")
    elif way == "file":
        folder.touch()
    else:
        folder.mkdir(mode=0o777)
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(folder, 12345, 12345)


@pytest.mark.parametrize("way", ["link", "file", "folder"])
def test_a_taken_socket_folder_gives_way_to_one_in_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(paths, "TEMPORARY", tmp_path)
    squat(tmp_path / NAME, way, tmp_path)
    environ = {"XDG_RUNTIME_DIR": "/proc/nothing", "XDG_STATE_HOME": str(tmp_path / "state")}
    folder = paths.runtime_dir(environ)
    assert folder.is_relative_to(tmp_path / "state")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert paths.runtime_dir(environ) == folder
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket_path(environ)))
    assert list(tmp_path.glob("theirs/*")) == []


@pytest.mark.parametrize("way", ["link", "file", "folder"])
def test_a_taken_state_folder_gives_way_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    monkeypatch.setattr(state, "FALLBACK", tmp_path)
    squat(tmp_path / NAME, way, tmp_path)
    assert places.state_dir() == tmp_path / f"{NAME}.1"
    for number in range(1, state.TRIES):
        (tmp_path / f"{NAME}.{number}").rmdir() if number == 1 else None
        (tmp_path / f"{NAME}.{number}").touch()
    with pytest.raises(AgentUnavailable):
        places.state_dir()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_servers_data_folder_is_closed_to_others(tmp_path: Path, mode: int) -> None:
    for name, content in (("empty", None), ("ours", "tracker.db"), ("volume", "lost+found")):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(mode)
        if content:
            (folder / content).touch()
        make_private(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_many_is_no_data_folder_where_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "of another program").touch()
    tmp_path.chmod(0o1777)
    with pytest.raises(SettingError, match="name a folder of its own"):
        make_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777, "it is not ours to close"


def test_a_server_closes_its_data_folder_when_it_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    with TrackerProcess(data):
        assert data.stat().st_mode & 0o777 == 0o700


def test_an_agents_state_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = places.state_dir()
    before.chmod(0o755)
    assert places.state_dir() == before
    assert before.stat().st_mode & 0o777 == 0o700
