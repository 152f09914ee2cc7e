"""Processes that live and die together, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmpt.host.supervisor import Supervisor
from tests.support.waiting import eventually

STAYS = [sys.executable, "-c", "import signal; signal.pause()"]
STUBBORN = "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path({!r}).touch(); signal.pause()"


def exits(status: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({status})"]


def children() -> set[int]:
    """Return the processes that this one has started and that run still."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture
def before() -> set[int]:
    return children()


@pytest.mark.parametrize(("command", "status"), [(exits(3), 3), (exits(0), 1)])
def test_when_one_ends_all_do_and_its_status_is_told(before: set[int], command: list[str], status: int) -> None:
    with Supervisor() as family:
        family.start("stays", STAYS)
        family.start("ends", command)
        assert family.wait() == status
        assert children() == before


def test_the_status_of_a_killed_child_is_what_shells_make_of_it() -> None:
    with Supervisor() as family:
        family.start("killed", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
        assert family.wait() == 137
        assert family.ended == ("killed", 137)


def test_a_signal_ends_all_with_status_zero_and_the_old_handlers_come_back(before: set[int]) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)]
    with Supervisor() as family:
        family.start("stays", STAYS)
        assert not family.stopping
        os.kill(os.getpid(), signal.SIGTERM)
        assert family.wait() == 0
        assert family.stopping
        assert children() == before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)] == handlers


def test_what_is_to_be_done_meanwhile_is_done_again_and_again_and_while_the_children_still_run(before: set[int]) -> None:
    running: list[bool] = []

    def look() -> None:
        running.append(children() > before)
        if len(running) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with Supervisor() as family:
        family.start("stays", STAYS)
        assert family.wait(meanwhile=look, every_s=0.01) == 0
    assert running == [True] * 4


def test_who_does_not_leave_when_asked_is_killed(before: set[int], tmp_path: Path) -> None:
    with Supervisor(stop_timeout_s=0.2) as family:
        family.start("stubborn", [sys.executable, "-c", STUBBORN.format(str(tmp_path / "ready"))])
        eventually((tmp_path / "ready").exists, what="the child to ignore SIGTERM")
    assert family.ended == ("stubborn", 137)
    assert children() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_children_do_not_outlive_a_parent_that_is_killed() -> None:
    script = (
        "import sys; from llmpt.host.supervisor import Supervisor\n"
        f"with Supervisor() as family:\n family.start('stays', {STAYS!r})\n"
        " print(*[child.pid for child in family._children.values()], flush=True); family.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: gone(child), what="the end of the child")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
