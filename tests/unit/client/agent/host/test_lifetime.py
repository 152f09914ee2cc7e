"""When an agent ends of itself: its job, and its package."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmpt.agent.host import lifetime
from llmpt.agent.host.lifetime import Package, UserProcesses
from tests.support.waiting import eventually


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def test_a_job_is_over_when_all_who_belong_to_it_have_ended() -> None:
    with process() as starter, process() as rank:
        job = UserProcesses(starter.pid)
        job.join(rank.pid)
        assert not job.over()
        starter.communicate(b"\n")
        assert not job.over()
        rank.communicate(b"\n")
        assert job.over()


def test_a_process_that_nobody_has_waited_for_has_ended_all_the_same() -> None:
    with process() as starter:
        job = UserProcesses(starter.pid)
        starter.send_signal(signal.SIGKILL)
        eventually(job.over, what="the end of a zombie's job")


def test_a_number_that_was_given_out_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    job = UserProcesses(os.getpid())
    monkeypatch.setattr(lifetime, "_born", lambda pid: "later")
    assert job.over()


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_process_that_cannot_be_seen_is_not_waited_for(pid: int) -> None:
    assert UserProcesses(pid).over()


def test_an_installed_package_is_there() -> None:
    assert not Package().gone()


@pytest.mark.parametrize("what", ["the module", "the metadata"])
def test_a_package_without_one_of_its_files_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    module, metadata = tmp_path / "llmpt" / "agent" / "lifetime.py", tmp_path / "llmpt-1.dist-info" / "METADATA"
    for path in (module, metadata):
        path.parent.mkdir(parents=True)
        path.write_text("Metadata-Version: 2.1\nName: llmpt\nVersion: 1\n")
    (metadata.parent / "RECORD").write_text("llmpt-1.dist-info/METADATA,,\n")
    monkeypatch.setattr(lifetime, "__file__", str(module))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: importlib.metadata.Distribution.at(metadata.parent))
    package = Package()
    assert not package.gone()
    (module if what == "the module" else metadata).unlink()
    assert package.gone()
