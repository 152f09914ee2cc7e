"""300 downloads on four machines while processes die, freeze and starve, disks fill, the Hub fails and a peer lies: `make soak`.

The seed is printed; LLMPT_CHAOS_SEED replays its downloads and its faults.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.disk.verification import verify_file
from tests.soak.chaos import Chaos, Done, all_holdings, plan, show
from tests.soak.faults import FOREIGN, MAY_FAIL, Universe, healthy
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.timeout(3600),  # on a machine that has other things to do
    pytest.mark.skipif(not sys.platform.startswith("linux") or os.getuid() != 0, reason="mounts small disks, reads /proc"),
]

SEED = int(os.environ.get("LLMPT_CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
FILES, DOWNLOADS, CALM = 120, 320, 40
REPO = "org/chaos"
BOUND_S = 20
"""No download takes longer because of the LAN, whatever happens to it: one stall (5 s) each of the swarm, of HTTP from the LAN
and of the wait for another machine, and a busy host."""


@dataclass(frozen=True)
class Ended:
    """What was done, the sizes of all files by name, and what each process held before the last twenty downloads and after."""

    chaos: Chaos
    sizes: dict[str, int]
    before: dict[str, tuple[float, int, int]]
    after: dict[str, tuple[float, int, int]]


def mount_small_disk(stack: ExitStack, folder: Path, mib: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)
    stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """All that was planned, and then some downloads without faults."""
    contents, steps = plan(SEED, files=FILES, machines=4, count=DOWNLOADS + CALM)
    print(f"\nLLMPT_CHAOS_SEED={SEED}")
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(tmp_path_factory.mktemp("chaos") / "lan", LLMPT_UPLOAD_LIMIT="12M"))
        lan.hub.add(REPO, contents)
        lan.mirror(REPO)
        lan.seeded(REPO, timeout_s=120)
        with_agent = [stack.enter_context(lan.machine(name)) for name in ("ann", "bob")]
        cid = stack.enter_context(lan.machine("cid"))
        dan = stack.enter_context(lan.machine("dan", HF_HOME=str(cid.hf_home)))  # they share one cache
        dan.hf_home = cid.hf_home
        for machine in with_agent:
            mount_small_disk(stack, machine.root / ".local" / "state", 32)
        mount_small_disk(stack, cid.hf_home, 2048)
        chaos = Chaos(Universe(lan, with_agent, [cid, dan], REPO), SEED)
        chaos.run(steps[:DOWNLOADS])
        eventually(lambda: healthy(chaos.universe), timeout_s=30, what="the server to be well again")
        chaos.calmly(steps[DOWNLOADS : DOWNLOADS + CALM // 2])
        before = all_holdings(chaos.universe)
        chaos.calmly(steps[DOWNLOADS + CALM // 2 :])
        after = all_holdings(chaos.universe)
        show(chaos, before, after)
        yield Ended(chaos, {name: len(content) for name, content in contents.items()}, before, after)


def words(done: Done, chaos: Chaos) -> str:
    who, kinds = chaos.machines[done.step.machine].name, sorted(chaos.during(done))
    return f"{who} {done.step.name[:12]} {done.seconds:.1f} s, exit {done.returncode}, {kinds}\n{done.errors[-1500:]}"


def test_every_download_ended_well(ended: Ended) -> None:
    chaos = ended.chaos
    good = [done for done in chaos.done if done.returncode == 0]
    assert len(good) == DOWNLOADS + CALM


def test_none_failed_for_any_other_reason_than_the_hub_or_the_disk(ended: Ended) -> None:
    chaos = ended.chaos
    assert [words(done, chaos) for done in chaos.unexplained_failures()] == []


def test_what_a_download_returned_was_whole_and_right_at_that_moment(ended: Ended) -> None:
    chaos = ended.chaos
    wrong = [done for done in chaos.done if done.returncode == 0 and done.etag != done.step.name.partition(".")[0]]
    assert [words(done, chaos) for done in wrong] == []


def test_nothing_was_waited_for_longer_than_is_said(ended: Ended) -> None:
    chaos = ended.chaos
    good = [done for done in chaos.done if done.returncode == 0 and not done.disturbed and not MAY_FAIL & chaos.during(done)]
    slow = [done for done in good if done.seconds > BOUND_S and "hub_slow" not in chaos.during(done)]
    assert [words(done, chaos) for done in slow] == []


def test_nobody_saw_a_traceback_of_a_download_that_went_well(ended: Ended) -> None:
    chaos = ended.chaos
    assert [words(done, chaos) for done in chaos.done if done.returncode == 0 and "Traceback" in done.errors] == []


def test_no_file_in_any_cache_is_wrong(ended: Ended) -> None:
    chaos, sizes = ended.chaos, ended.sizes
    seen = 0
    for machine in chaos.machines[:3]:
        for path in machine.cache.glob("models--*/snapshots/*/*"):
            verify_file(path, Etag(path.name.partition(".")[0]), sizes[path.name])
            seen += 1
        for blob in machine.cache.glob("models--*/blobs/*"):
            if "." not in blob.name:
                verify_file(blob, Etag(blob.name), sizes[f"{blob.name}.bin"])
    assert seen >= DOWNLOADS / 2


def test_nothing_unfinished_is_left_of_what_came_from_the_lan(ended: Ended) -> None:
    """What the library itself leaves when it is killed in its own download stays, and so does what somebody else put there."""
    chaos = ended.chaos
    hub = chaos.universe.lan.hub

    def left() -> list[str]:
        found = [path for machine in chaos.machines[:3] for path in machine.root.rglob("*incomplete*")]
        ours = [path for path in found if not hub.gets(f"{path.name.partition('.')[0]}.bin") and content(path) != FOREIGN]
        return [f"{path}, {len(content(path))} bytes" for path in ours]

    try:
        eventually(lambda: not left(), timeout_s=30, what="leftovers to go")
    except AssertionError:
        raise AssertionError("\n".join(left())) from None


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def untroubled(machine: Machine) -> bool:
    status = machine.status()
    return bool(status.get("pid") and not status["troubles"] and status["tracker_answers"])


def test_every_loop_runs_again(ended: Ended) -> None:
    chaos = ended.chaos
    for machine in chaos.universe.with_agent:
        eventually(partial(untroubled, machine), timeout_s=60, what="no troubles")
    eventually(lambda: healthy(chaos.universe), timeout_s=30, what="the server to be well")


def test_everything_is_seeded_again(ended: Ended) -> None:
    chaos, sizes = ended.chaos, ended.sizes
    lan = chaos.universe.lan
    big = {name.partition(".")[0] for name, size in sizes.items() if size >= BIG}

    def seeded() -> bool:
        return {torrent.etag for torrent in lan.torrents(REPO) if torrent.seeders > 0} >= big

    eventually(seeded, timeout_s=60, what="every file to have a seeder")


def test_what_the_processes_hold_does_not_grow(ended: Ended) -> None:
    assert ended.before.keys() == ended.after.keys()
    for name, (resident, descriptors, threads) in ended.after.items():
        was_resident, was_descriptors, was_threads = ended.before[name]
        assert resident - was_resident <= 24, f"{name}: memory"
        assert descriptors - was_descriptors <= 24, f"{name}: descriptors"
        assert threads - was_threads <= 8, f"{name}: threads"
