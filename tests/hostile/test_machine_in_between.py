"""A machine between a workstation and its server, on plain HTTP: what it may change of what is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.environments import wheel
from tests.support.in_between import InBetween
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.wheels import stub


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    """A server that hands out the client, and one thing that it needs."""
    root = tmp_path_factory.mktemp("server")
    dist = root / "dist"
    dist.mkdir()
    shutil.copy(wheel(), dist)
    made = stub(dist, "click", "99.0")
    (dist / "requirements.txt").write_text(f"click==99.0 --hash=sha256:{sha256(made.read_bytes()).hexdigest()}\n")
    with TrackerProcess(root / "data", settings={"LLMPT_DIST": str(dist)}) as running:
        yield running


@pytest.fixture
def between(tracker: TrackerProcess) -> Iterator[InBetween]:
    with InBetween(tracker.url) as running:
        yield running


def lines(tracker: TrackerProcess, between: InBetween) -> list[str]:
    """What the server's own console says for that address."""
    command = [sys.executable, "-m", "llmpt_tracker", "dist", between.url]
    shown = subprocess.run(command, env=tracker.environ, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line for line in shown.splitlines() if line and not line.startswith("#")]


def paste(line: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Paste a line into a shell: what it would install it downloads, so that nothing here changes."""
    pip = f"{sys.executable} -m pip --isolated --disable-pip-version-check download {' '.join(more)} --dest {folder / 'got'}"
    line = line.replace("pip install", pip)
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_another_wheel_of_the_client_is_not_installed(tracker: TrackerProcess, between: InBetween, tmp_path: Path) -> None:
    online = lines(tracker, between)[0]
    assert paste(online, tmp_path, "--no-deps", "--no-index").returncode == 0
    name = f"/dist/{wheel().name}"
    between.changed[name] = wheel().read_bytes() + b"evil"
    shutil.rmtree(tmp_path / "got")
    done = paste(online, tmp_path, "--no-deps", "--no-index")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not list((tmp_path / "got").glob("*"))


def test_another_list_or_another_dependency_is_not_installed(tracker: TrackerProcess, between: InBetween, tmp_path: Path) -> None:
    _, fetch, install = lines(tracker, between)
    assert paste(fetch, tmp_path).returncode == 0
    done = paste(install, tmp_path)
    assert done.returncode == 0, done.stderr
    evil = stub(tmp_path, "click", "99.0").read_bytes() + b"evil"
    between.changed["/dist/click-99.0-py3-none-any.whl"] = evil
    shutil.rmtree(tmp_path / "got")
    done = paste(install, tmp_path)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    between.changed["/dist/requirements.txt"] = f"click==99.0 --hash=sha256:{sha256(evil).hexdigest()}\n".encode()
    assert paste(fetch, tmp_path).returncode == 0
    done = paste(install, tmp_path)
    assert done.returncode != 0
    assert "requirements.txt: FAILED" in done.stdout


def test_the_console_of_the_server_shows_the_hash_and_the_fingerprint(tracker: TrackerProcess) -> None:
    command = [sys.executable, "-m", "llmpt_tracker", "fingerprint"]
    shown = subprocess.run(command, env=tracker.environ, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    log = tracker.log.read_text()
    assert f"the fingerprint of this server is {shown}" in log
    assert f"#sha256={sha256(wheel().read_bytes()).hexdigest()}" in log
    assert (tracker.data / "server.key").stat().st_mode & 0o777 == 0o600
