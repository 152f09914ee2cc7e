"""Machines that share one HF_HOME on a file system whose locks say nothing, and cleaners: each machine gets its file whole."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmpt.core.repo import RepoRef
from tests.support.lan import Lan
from tests.support.lockless import GRANTED, lockless
from tests.support.machine import Machine
from tests.support.waiting import eventually

SIZE = 24 << 20
NO_AGENT = "import sys; sys.modules['libtorrent'] = None\n"  # a seeder of the LAN sends the file over HTTP
DOWNLOAD = "from huggingface_hub import hf_hub_download\nprint(hf_hub_download('org/big', 'big.bin'{more}))"
READY = """
import pathlib, time
import huggingface_hub.file_download
while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
"""
WAYS = pytest.mark.parametrize("way", [NO_AGENT, ""], ids=["over HTTP", "by agents"])


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """A LAN whose seeder gives 12 MiB/s: time enough to come between."""
    with Lan(tmp_path_factory.mktemp("lan") / "lan", LLMPT_UPLOAD_LIMIT="12M") as running:
        yield running


@pytest.fixture(scope="module")
def content(lan: Lan) -> bytes:
    content = os.urandom(SIZE)
    lan.hub.add("org/big", {"big.bin": content})
    lan.mirror("org/big")
    lan.seeded("org/big")
    return content


class Home:
    """An HF_HOME that two machines share; `error` is what a lock in it fails with, or `GRANTED`."""

    def __init__(self, lan: Lan, folder: Path, error: int, shim: Path) -> None:
        self.blobs = folder / "hub" / RepoRef("model", "org/big").folder / "blobs"
        self._stack = ExitStack()
        below = self.blobs if error else folder  # the library itself gives up where its own locks are refused
        environ = {"HF_HOME": str(folder), "LLMPT_STALL_TIMEOUT": "3", **lockless(below, error, library=shim)}
        self.ann, self.bob = (self._stack.enter_context(lan.machine(name, python=None, **environ)) for name in ("ann", "bob"))

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start(self, machine: Machine, way: str, more: str = "") -> subprocess.Popen[str]:
        process = machine.start("-c", way + DOWNLOAD.format(more=more))
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        return process

    def start_at(self, go: Path, machine: Machine, way: str) -> subprocess.Popen[str]:
        """Start a process that begins to download when `go` is there: to start a Python takes longer than some downloads."""
        return self.start(machine, way + READY.format(go=str(go)))

    def unfinished(self) -> list[Path]:
        return list(self.blobs.glob("*.incomplete"))

    def await_half(self) -> None:
        def has_half() -> bool:
            return any(path.stat().st_blocks * 512 > SIZE // 2 for path in self.unfinished())

        eventually(has_half, timeout_s=20, what="half of the file")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shim") / "lockless.so"


def await_begin(process: subprocess.Popen[str]) -> None:
    """Wait until a process has opened an unfinished file."""
    folder = Path(f"/proc/{process.pid}/fd")

    def has_opened() -> bool:
        return any(path.endswith(".incomplete") for path in map(_target, folder.iterdir()))

    eventually(has_opened, what="the other machine to begin")


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed by now
        return ""


def result_of(process: subprocess.Popen[str]) -> bytes:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    assert "broke off" not in err
    return Path(out.strip().splitlines()[-1]).read_bytes()


@WAYS
def test_one_that_is_killed_in_the_middle_leaves_the_other_its_file(
    lan: Lan, content: bytes, tmp_path: Path, shim: Path, way: str
) -> None:
    lan.hub.forget()
    with Home(lan, tmp_path, GRANTED, shim) as home:
        second = home.start_at(tmp_path / "go", home.bob, way)
        first = home.start(home.ann, way)
        home.await_half()
        (tmp_path / "go").touch()
        await_begin(second)
        second.kill()
        second.communicate()
        assert result_of(first) == content
        (blob,) = (path for path in home.blobs.iterdir() if path.suffix != ".incomplete")
        assert blob.read_bytes() == content
        assert lan.hub.gets("big.bin") == 0


@WAYS
def test_both_get_it_and_nothing_is_left(lan: Lan, content: bytes, tmp_path: Path, shim: Path, way: str) -> None:
    lan.hub.forget()
    with Home(lan, tmp_path, GRANTED, shim) as home:
        second = home.start_at(tmp_path / "go", home.bob, way)
        first = home.start(home.ann, way)
        home.await_half()
        (tmp_path / "go").touch()
        assert result_of(first) == content
        assert result_of(second) == content
        assert not home.unfinished()
        assert lan.hub.gets("big.bin") == 0


def test_where_locks_are_refused_the_lan_is_used_all_the_same(lan: Lan, content: bytes, tmp_path: Path, shim: Path) -> None:
    lan.hub.forget()
    with Home(lan, tmp_path, errno.ENOLCK, shim) as home:
        assert result_of(home.start(home.ann, NO_AGENT, ", force_download=True")) == content
        assert not home.unfinished()
        assert lan.hub.gets("big.bin") == 0


def test_a_killed_download_goes_on_where_it_stopped_on_the_same_machine(
    lan: Lan, content: bytes, tmp_path: Path, shim: Path
) -> None:
    with Home(lan, tmp_path, GRANTED, shim) as home:
        first = home.start(home.ann, NO_AGENT)
        home.await_half()
        first.kill()
        first.communicate()
        (left,) = home.unfinished()
        file = left.stat().st_ino
        assert result_of(home.start(home.ann, NO_AGENT)) == content
        assert [path.stat().st_ino for path in home.blobs.iterdir()] == [file]


@WAYS
@pytest.mark.parametrize("act", ["removes", "replaces"])
def test_a_cleaner_in_the_middle_costs_no_byte_of_the_hub_and_no_sharer_its_torrent(
    lan: Lan, content: bytes, tmp_path: Path, shim: Path, way: str, act: str
) -> None:
    lan.hub.forget()
    with Home(lan, tmp_path, GRANTED, shim) as home:
        process = home.start(home.ann, way)
        home.await_half()
        (unfinished,) = home.unfinished()
        unfinished.unlink()
        if act == "replaces":
            unfinished.write_bytes(b"theirs")
        assert result_of(process) == content
        assert [path.read_bytes() for path in home.unfinished()] == ([b"theirs"] if act == "replaces" else [])
        assert lan.hub.gets("big.bin") == 0
        assert lan.seeded("org/big"), "it is still in the catalogue"
