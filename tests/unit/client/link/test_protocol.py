"""The language of hook and agent, and the folder where they meet."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import AgentUnavailable, InvalidInput
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.link import paths, protocol, versions
from llmpt.link.protocol import LineReader
from llmpt.link.requests import FetchRequest

REQUEST = FetchRequest(
    tracker="http://server:8000",
    etag=Etag("a" * 64),
    size=5,
    repo=RepoRef("model", "org/model"),
    revision="main",
    filename=RepoPath("wéights.bin"),
    path=Path("/cache/tmp\udcff"),
    file=FileId(1, 2),
    destination=Path("/cache/blob"),
    replace=False,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_request_survives_the_wire_with_paths_that_are_no_text() -> None:
    assert FetchRequest.parse(protocol.decode(protocol.encode(REQUEST.as_json()))) == REQUEST


@pytest.mark.parametrize(
    "change",
    [{"etag": "a" * 63}, {"size": 0}, {"size": -1}, {"size": True}, {"path": "tmp"}, {"destination": "./x"}, {"replace": 1}],
)
def test_a_request_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        FetchRequest.parse({**REQUEST.as_json(), **change})


@pytest.mark.parametrize("name", ["tracker", "ino", "replace"])
def test_a_request_without_a_field_is_refused_by_name(name: str) -> None:
    message = REQUEST.as_json()
    del message[name]
    with pytest.raises(InvalidInput, match=name):
        FetchRequest.parse(message)


@pytest.mark.parametrize("line", [b"", b"[1]", b"null", b"{", b"\xff\xfe", b'{"v":1' * 3, b"[" * 100_000])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidInput):
        protocol.decode(line)


@pytest.mark.parametrize("v", [None, 0, 2, "1", True, 1.5])
def test_another_version_of_the_protocol_is_refused_as_such(v: object) -> None:
    with pytest.raises(InvalidInput, match="version"):
        protocol.check_version({"v": v, "version": "0.0.1"})


@pytest.mark.parametrize(("v", "theirs", "old"), [(0, "0.0.1", "llmpt 0.0.1"), (2, "9.0", f"llmpt {versions.own_version()}")])
def test_the_older_side_is_told_to_be_updated(v: int, theirs: str, old: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{re.escape(old)} is too old .*: update {re.escape(old)}$"):
        protocol.check_version({"v": v, "version": theirs})


def test_every_message_says_which_versions_speak() -> None:
    message = protocol.decode(protocol.encode({"op": "status"}))
    assert message == {"v": protocol.PROTOCOL_VERSION, "version": versions.own_version(), "op": "status"}
    protocol.check_version(message)


@pytest.mark.parametrize(
    ("version", "other", "newer"),
    [
        ("0.2.0", "0.1.0", True), ("0.10.0", "0.9.9", True), ("1.0", "1", False), ("1", "1.0.0", False),
        ("0.1.0", "0.1.0", False), ("0.1.0", "0.1.0.dev3", False), ("0.1.1.dev3+local", "0.1.0", True), ("0.1.0", "", True),
        ("", "0.1.0", False), ("of no number", "0.0.1", False), ("9" * 5000, "1", True),
    ],
)  # fmt: skip
def test_the_later_release_is_the_newer(version: str, other: str, newer: bool) -> None:
    assert versions.is_newer(version, other) is newer


def test_messages_come_whole_however_the_bytes_arrive(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = LineReader(ours)
    data = protocol.encode({"event": "a"}) + protocol.encode({"event": "b"})
    theirs.sendall(data[:5])
    with pytest.raises(TimeoutError):
        reader.read(timeout_s=0.01)
    theirs.sendall(data[5:])
    assert [message["event"] for message in (reader.read(timeout_s=1), reader.read(timeout_s=1)) if message] == ["a", "b"]
    theirs.close()
    assert reader.read(timeout_s=1) is None


def test_a_line_without_end_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 200)
    with pytest.raises(InvalidInput, match="100 bytes"):
        LineReader(ours, max_line_bytes=100).read(timeout_s=1)


def test_the_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    base = tmp_path / "run"
    folder = paths.runtime_dir({"XDG_RUNTIME_DIR": str(base)})
    assert folder == base / "llmpt"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "llmpt").mkdir(mode=0o755)
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}).stat().st_mode & 0o777 == 0o700


def test_a_symbolic_link_in_its_place_gives_way_and_the_first_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "llmpt").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(paths, "TEMPORARY", Path("/proc/nowhere"))
    assert paths.runtime_dir(environ).is_relative_to(tmp_path / ".local" / "state")
    with pytest.raises(AgentUnavailable, match=f"{tmp_path}/llmpt is not a folder of this user"):
        paths.runtime_dir(environ | {"HOME": "/proc/nowhere"})


@pytest.mark.parametrize("base", ["", "relative/run", "/proc/nothing"])
def test_without_a_runtime_dir_of_ones_own_it_is_in_tmp(base: str) -> None:
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": base}) == Path(f"/tmp/llmpt-{os.getuid()}")


def test_a_path_that_is_too_long_for_a_socket_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(AgentUnavailable, match="XDG_RUNTIME_DIR"):
        paths.socket_path({"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 100))})


def test_all_of_it_lies_in_one_folder(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    found = [
        paths.socket_path(environ),
        paths.log_path(environ),
        paths.start_lock_path(environ),
        paths.lock_path(environ),
    ]
    assert {path.parent for path in found} == {tmp_path / "llmpt"}
    assert len(set(found)) == 4


def test_changing_a_request_makes_another_message() -> None:
    assert replace(REQUEST, size=6).as_json()["size"] == 6
