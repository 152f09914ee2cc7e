"""What no machine of the LAN has crosses the Internet once: leases over the real tracker, and all that may go wrong with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.tracker.client import TrackerClient
from tests.support.hub import FakeHub
from tests.support.lan import Lan
from tests.support.machine import Machine
from tests.support.relay import Relay
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone  # whose turn it is depends on who asks when

MIB = 1 << 20
AWAY_S = 7.0  # longer than a tracker is waited for that says nothing of a file


@pytest.fixture(scope="module")
def machines(shared_lan: Lan) -> Iterator[list[Machine]]:
    """Three workstations whose agents run."""
    with ExitStack() as stack:
        found = [stack.enter_context(shared_lan.machine(name, LLMPT_STALL_TIMEOUT="3")) for name in ("ann", "bob", "cleo")]
        for machine in found:
            machine.llmpt("agent", "start")
        yield found


def rows(machine: Machine, repo: str) -> list[dict[str, Any]]:
    return [row for row in machine.status()["downloads"] if row["repo_id"] == repo]


def files(count: int, size: int = 2 * MIB) -> dict[str, bytes]:
    return {f"{number}.safetensors": os.urandom(size) for number in range(count)} | {"config.json": b"{}"}


def result(process: subprocess.Popen[str], wanted: dict[str, bytes]) -> None:
    with process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, out + err
    folder = Path(out.strip().splitlines()[-1])
    assert all((folder / name).read_bytes() == content for name, content in wanted.items())


def fetching(machine: Machine, lan: Lan, repo: str) -> list[dict[str, Any]]:
    """Whether the machine fetches the repo's first file for all, and bytes have come."""
    etag = lan.hub.file(repo, "0.safetensors").etag
    return [one for one in machine.status()["fetching"] if one["etag"] == etag and one["bytes"] > 0]


def waits(machine: Machine, repo: str) -> bool:
    return any(row["waits"] for row in rows(machine, repo))


def test_three_machines_that_want_one_repo_fetch_each_file_once_and_share_the_work(
    lan: Lan, machines: list[Machine], repo: str
) -> None:
    wanted = files(6)
    lan.hub.add(repo, wanted)
    lan.hub.mode.throttle_bytes_s = MIB
    for process in [machine.start_download(repo) for machine in machines]:
        result(process, wanted)
    assert {name: lan.hub.gets(name) for name in wanted} == dict.fromkeys(wanted, 1) | {"config.json": 3}
    fetched = [sum(row["outcome"] == "refused" for row in rows(machine, repo)) for machine in machines]
    assert sum(fetched) == 6
    assert min(fetched) >= 1, "the work is shared"
    came = [row["bytes_from_lan"] for machine in machines for row in rows(machine, repo) if row["outcome"] == "done"]
    assert came == [2 * MIB] * 12


def test_a_slow_line_keeps_the_lease_though_the_library_writes_in_steps(lan: Lan, machines: list[Machine], repo: str) -> None:
    wanted = files(1, 3 * MIB // 2)
    lan.hub.add(repo, wanted)
    lan.hub.mode.throttle_bytes_s = 300_000  # five seconds, in which the library's own step would bring nothing
    for process in [machine.start_download(repo) for machine in machines[:2]]:
        result(process, wanted)
    assert lan.hub.gets("0.safetensors") == 1


def test_the_second_program_of_a_machine_waits_for_the_first_and_copies(lan: Lan, machines: list[Machine], repo: str) -> None:
    wanted = files(1)
    lan.hub.add(repo, wanted)
    lan.hub.mode.throttle_bytes_s = MIB
    first = machines[0].start_download(repo)
    eventually(lambda: fetching(machines[0], lan, repo), what="the first to fetch")
    code = f"from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}, cache_dir='other'))"
    out = machines[0].script(code)
    assert (machines[0].root / out.splitlines()[-1] / "0.safetensors").read_bytes() == wanted["0.safetensors"]
    result(first, wanted)
    assert lan.hub.gets("0.safetensors") == 1


@pytest.mark.parametrize("trouble", ["killed", "stalled", "429"])
def test_a_fetcher_in_trouble_passes_the_lease_on(lan: Lan, machines: list[Machine], repo: str, trouble: str) -> None:
    wanted = files(1, 4 * MIB)
    lan.hub.add(repo, wanted)
    ann, bob, _ = machines
    code = f"from huggingface_hub import snapshot_download; snapshot_download({repo!r})"
    with FakeHub() as hub:  # the same, but for its trouble
        hub.add(repo, wanted)
        hub.mode.throttle_bytes_s = MIB // 2
        with ann.start("-c", code, HF_ENDPOINT=hub.url) as fetcher:
            try:
                eventually(lambda: fetching(ann, lan, repo), what="ann to fetch")
                waiting = bob.start_download(repo)
                eventually(lambda: rows(bob, repo), what="bob to ask")
                eventually(lambda: rows(bob, repo)[0]["waits"], what=f"bob to wait; {bob.agent_log()[-2000:]}")
                assert lan.hub.gets("0.safetensors") == 0
                if trouble == "killed":
                    fetcher.kill()
                elif trouble == "stalled":
                    hub.mode.stall_after_bytes = MIB // 2
                else:
                    hub.mode.fail_gets_status, hub.mode.retry_after_s, hub.mode.cut_after_bytes = 429, 600, 0
                result(waiting, wanted)
            finally:
                fetcher.kill()
    assert lan.hub.gets("0.safetensors") == 1
    assert [row["outcome"] for row in rows(bob, repo)] == ["refused"], "it fetched the file itself"


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_what_the_hub_does_not_show_to_everybody_is_fetched_by_each_for_itself(
    lan: Lan, machines: list[Machine], repo: str, kind: str
) -> None:
    wanted = files(1)
    lan.hub.add(repo, wanted, gated=kind == "gated", private=kind == "private")
    for machine in machines[:2]:
        code = f"from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}, token='hf_secret'))"
        result(machine.start("-c", code), wanted)
        (row,) = rows(machine, repo)
        assert "on the Hub" in row["reason"]
    assert lan.hub.gets("0.safetensors") == 2
    assert not lan.torrents(repo)
    etag = lan.hub.file(repo, "0.safetensors").etag
    assert not lan.catalogue.get_torrents(etag=etag), "nothing of it was published"


def test_what_it_shows_to_everybody_is_fetched_once_also_by_who_shows_a_token(
    lan: Lan, machines: list[Machine], repo: str
) -> None:
    wanted = files(3)
    lan.hub.add(repo, wanted)
    code = f"from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}, token='hf_secret'))"
    for machine in machines[:2]:
        result(machine.start("-c", code), wanted)
    assert [lan.hub.gets(name) for name in wanted if name != "config.json"] == [1, 1, 1]
    unasked = [r for r in lan.hub.requests if r.raw_path == f"/api/models/{repo}" and not r.authorized]
    assert len(unasked) == 1, "ann's agent has asked once, bob's had nothing to ask"


def test_where_sharing_takes_an_invitation_each_fetches_for_itself_until_it_has_one(lan: Lan, repo: str, tmp_path: Path) -> None:
    wanted = files(1)
    lan.hub.add(repo, wanted)
    with (
        TrackerProcess(tmp_path / "data", settings={"LLMPT_SHARING": "invited"}) as tracker,
        lan.machine("ann", LLMPT_TRACKER=tracker.url) as ann,
    ):
        result(ann.start_download(repo), wanted)
        assert "llmpt join URL --code CODE" in ann.llmpt("status")
        command = [sys.executable, "-m", "llmpt_tracker", "invite"]
        invited = subprocess.run(command, env=tracker.environ, capture_output=True, text=True, timeout=60, check=True)
        ann.llmpt("join", tracker.url, "--code", invited.stdout.strip())
        lan.hub.add(f"{repo}-2", more := files(1))
        result(ann.start_download(f"{repo}-2"), more)
        assert ann.status()["sharing"]["why_not"] == ""
        published = TrackerClient(tracker.url)
        eventually(lambda: published.get_torrents(etag=lan.hub.file(f"{repo}-2", "0.safetensors").etag), what="it on the LAN")
        assert not published.get_torrents(etag=lan.hub.file(repo, "0.safetensors").etag)


def test_a_tracker_that_is_away_for_a_moment_sends_no_machine_past_the_lease(
    lan: Lan, machines: list[Machine], repo: str
) -> None:
    lan.hub.mode.throttle_bytes_s = MIB
    with (
        Relay((lan.tracker.host, lan.tracker.http_port)) as way,
        Machine("dora", tracker=f"http://127.0.0.1:{way.port}", hub=lan.hub.url) as dora,
    ):
        dora.llmpt("agent", "start")
        eventually(lambda: dora.status().get("tracker_answers"), what="the tracker's first answer")
        for how in ("refused", "500"):
            wanted = files(1, 4 * MIB)
            lan.hub.add(f"{repo}-{how}", wanted)
            first = machines[0].start_download(f"{repo}-{how}")
            eventually(lambda how=how: fetching(machines[0], lan, f"{repo}-{how}"), what="the first to fetch")  # type: ignore[misc]
            before = lan.hub.gets("0.safetensors")
            way.breaks(how)
            second = dora.start_download(f"{repo}-{how}")
            eventually(lambda how=how: rows(dora, f"{repo}-{how}"), what="the second to ask")  # type: ignore[misc]
            way.is_mended()
            result(second, wanted)
            result(first, wanted)
            assert lan.hub.gets("0.safetensors") == before, dora.agent_log()[-2000:]


@pytest.mark.slow
def test_what_was_fetched_while_the_tracker_was_away_is_fetched_once(lan: Lan, machines: list[Machine], repo: str) -> None:
    wanted = files(1, 4 * MIB)
    lan.hub.add(repo, wanted)
    lan.hub.mode.throttle_bytes_s = MIB
    first = machines[0].start_download(repo)
    eventually(lambda: fetching(machines[0], lan, repo), what="the first to fetch")
    second = machines[1].start_download(repo)
    eventually(lambda: waits(machines[1], repo), what="the second to wait")
    lan.tracker.stop()
    stopped_at = time.monotonic()
    result(first, wanted)
    eventually(
        lambda: time.monotonic() - stopped_at > AWAY_S, timeout_s=2 * AWAY_S, what="the tracker to have been away for long"
    )
    lan.tracker.start()
    result(second, wanted)
    assert lan.hub.gets("0.safetensors") == 1


def test_when_the_tracker_goes_everybody_fetches(lan: Lan, machines: list[Machine], repo: str) -> None:
    """The last one: the tracker is not started again."""
    wanted = files(1, 4 * MIB)
    lan.hub.add(repo, wanted)
    lan.hub.mode.throttle_bytes_s = MIB // 2
    first = machines[0].start_download(repo)
    eventually(lambda: fetching(machines[0], lan, repo), what="the first to fetch")
    second = machines[1].start_download(repo)
    eventually(lambda: waits(machines[1], repo), what="the second to wait")
    lan.tracker.stop()
    lan.hub.mode.throttle_bytes_s = None
    result(second, wanted)
    result(first, wanted)
    assert lan.hub.gets("0.safetensors") == 2
