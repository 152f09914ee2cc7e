"""What stands still or crawls holds nobody up for longer than docs/limits.md says: by real processes, stopped by real signals.

The bounds are those of the defaults, so that each of these takes its time: `make soak`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import FakeHub, Mode
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

MIB = 1 << 20
FILE = "0.safetensors"
MANY = 64


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("held-up") / "lan") as running:
        yield running


@pytest.fixture
def lan(shared_lan: Lan) -> Lan:
    shared_lan.hub.mode = Mode()
    shared_lan.hub.forget()
    return shared_lan


@pytest.fixture
def machines(lan: Lan) -> Iterator[list[Machine]]:
    """Three workstations that know nothing of each other, nor how fast the Hub is; their agents run."""
    with ExitStack() as stack:
        found = [stack.enter_context(lan.machine(name)) for name in ("ann", "bob", "cleo")]
        for machine in found:
            machine.llmpt("agent", "start")
        yield found


def rows(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = machine.status().get("downloads", [])
    return found


def fetching(machine: Machine) -> list[dict[str, Any]]:
    """What the machine fetches for all, once bytes have come."""
    return [one for one in machine.status().get("fetching", []) if one["bytes"] > 0]


def folder(process: subprocess.Popen[str], *, timeout_s: float) -> Path:
    """Wait for a download's end, and return the snapshot's folder."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, out + err
    return Path(out.strip().splitlines()[-1])


def leftovers(*machines: Machine) -> list[Path]:
    return [path for machine in machines for path in machine.root.rglob("*.incomplete")]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Ctrl-Z, and fg at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_machines_with_a_fast_line_do_not_wait_for_one_that_crawls(lan: Lan, machines: list[Machine]) -> None:
    """It would take eleven minutes. Nobody knows how fast the Hub is: one of the others measures it, and fetches it for both."""
    repo, content = "org/crawls", os.urandom(64 * MIB)
    lan.hub.add(repo, {FILE: content})
    ann, bob, cleo = machines
    code = f"from huggingface_hub import snapshot_download; snapshot_download({repo!r})"
    with FakeHub() as slow:
        slow.add(repo, {FILE: content})
        slow.mode.throttle_bytes_s = 100_000
        with ann.start("-c", code, HF_ENDPOINT=slow.url) as fetcher:
            try:
                eventually(lambda: fetching(ann), what="ann to fetch")
                began = time.monotonic()
                waiting = [bob.start_download(repo), cleo.start_download(repo)]
                found = [folder(process, timeout_s=60) for process in waiting]
                took_s = time.monotonic() - began
                assert fetcher.poll() is None, "ann's line goes on crawling"
            finally:
                fetcher.kill()
    print(f"\nbehind 100 kB/s: {took_s:.1f} s, {lan.hub.bytes_sent / MIB:.1f} MiB from the Hub for two machines")
    print([(machine.name, row["outcome"], row["reason"]) for machine in (bob, cleo) for row in rows(machine)])
    assert all((where / FILE).read_bytes() == content for where in found)
    assert took_s < 30
    assert lan.hub.bytes_sent <= (64 + 2 * 8) * MIB, "fetched once, and measured by 8 MiB each"
    eventually(lambda: not leftovers(bob, cleo), what=f"nothing to be left over: {leftovers(bob, cleo)}")


def test_a_program_that_is_suspended_while_it_fetches_for_all_holds_no_other_up(lan: Lan, machines: list[Machine]) -> None:
    repo, content = "org/suspended", os.urandom(8 * MIB)
    lan.hub.add(repo, {FILE: content})
    lan.hub.mode.throttle_bytes_s = MIB
    ann, bob, _ = machines
    with ann.start_download(repo) as first:
        eventually(lambda: fetching(ann), what="the first to fetch")
        with stopped(first.pid):
            code = f"from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}, cache_dir='other'))"
            began = time.monotonic()
            elsewhere, beside = bob.start_download(repo), ann.start("-c", code)
            found = [folder(elsewhere, timeout_s=60)]
            elsewhere_s = time.monotonic() - began
            found.append(ann.root / folder(beside, timeout_s=60))
            beside_s = time.monotonic() - began
        found.append(folder(first, timeout_s=60))
    print(f"\nbehind a suspended program: {elsewhere_s:.1f} s on another machine, {beside_s:.1f} s on the same one")
    assert all((where / FILE).read_bytes() == content for where in found)
    assert elsewhere_s < 5 + 8 + 7, "the stall time-out, the bytes, and some"
    assert beside_s < 30 + 8 + 5
    assert lan.hub.gets(FILE) == 2, "the suspended one's, and one for all"
    eventually(lambda: not ann.status()["fetching"], what="nothing to be fetched any more")
    eventually(lambda: not leftovers(ann, bob), what=f"nothing to be left over: {leftovers(ann, bob)}")
