"""Many machines want at the same moment what nobody has: how often does it cross the Internet, and what if the fetcher fails?

`make once` does the same with repos of 1 GiB.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e.crowd import Crowd, Download, lay_out
from tests.e2e.worlds import MIB, Model
from tests.support.cache_builder import CacheBuilder
from tests.support.containers import Workstation
from tests.support.waiting import eventually

MACHINES = 10
REPO_BYTES = int(os.environ.get("LLMPT_TEST_ONCE_BYTES", 48 * MIB))
LINE_BYTES_S = int(os.environ.get("LLMPT_TEST_ONCE_LINE", 16 * MIB))
AT_FULL_SIZE = "LLMPT_TEST_ONCE_BYTES" in os.environ
THROUGH_THE_SERVER = {"HF_ENDPOINT": "http://tracker:8000", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
WELL = dict.fromkeys(
    ("total_rate_bytes_s", "cut_after_bytes", "stall_after_bytes", "fail_gets_status", "retry_after_s", "only_for")
)


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> CacheBuilder:
    return CacheBuilder(tmp_path_factory.mktemp("internet") / "hub")


@pytest.fixture(scope="module")
def models(internet: CacheBuilder) -> dict[str, Model]:
    """What the Hub has."""
    big = ("lease", "server", "server-without-hook")
    made = {name: lay_out(internet, f"org/{name}", files=12, size=REPO_BYTES) for name in big}
    made |= {name: lay_out(internet, f"org/{name}", files=1, size=8 * MIB) for name in ("watched", "refused", "stalled", "cut")}
    made |= {name: lay_out(internet, f"org/{name}", files=4, size=16 * MIB) for name in ("killed", "alone")}
    if AT_FULL_SIZE:
        made["killed"] = lay_out(internet, "org/killed-at-half", files=12, size=REPO_BYTES)
    return made


@pytest.fixture(scope="module")
def shared_crowd(
    docker_engine: Any, images: None, internet: CacheBuilder, models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    crowd = Crowd(docker_engine, internet.root, CacheBuilder(tmp_path_factory.mktemp("lan") / "hub").root)
    with crowd.compose:
        crowd.start(MACHINES)
        yield crowd


@pytest.fixture
def crowd(shared_crowd: Crowd) -> Iterator[Crowd]:
    yield shared_crowd
    shared_crowd.hub.behave(**WELL)


def share_the_line(crowd: Crowd, model: Model, environ: Mapping[str, str] | None = None) -> Counter[str]:
    """Have all machines download a repo at once; return what the Hub sent to whom."""
    crowd.hub.behave(total_rate_bytes_s=LINE_BYTES_S)
    finished = [future.result() for future in crowd.download(crowd.machines, model, environ=environ)]
    for one in finished:
        one.check(model)
    sent = crowd.sent(model)
    seconds = sorted(one.seconds for one in finished)
    at_best = model.swarm_bytes / LINE_BYTES_S
    print(f"\n{report(model, sent)}, in {seconds[0]:.1f} to {seconds[-1]:.1f} s (the line: {at_best:.1f} s)")
    return sent


def report(model: Model, sent: Counter[str]) -> str:
    """Say in a line what of a model the Hub has sent."""
    times = sent.total() / model.swarm_bytes
    return f"{model.repo_id}: {times:.3f} × {model.swarm_bytes / MIB:.0f} MiB from the Hub by {len(+sent)} addresses"


def result(future: Future[Download], model: Model) -> Download:
    """The download that a machine has finished, checked."""
    done = future.result(timeout=600)
    done.check(model)
    return done


def test_ten_machines_fetch_a_repo_once_and_share_the_work(crowd: Crowd, models: dict[str, Model]) -> None:
    sent = share_the_line(crowd, models["lease"])
    assert sent.total() <= 1.02 * models["lease"].swarm_bytes
    # Ten machines of one host that is full do not begin at the same moment.
    assert len(+sent) >= (4 if AT_FULL_SIZE else 6), "a few machines did all the fetching"


@pytest.mark.parametrize("hook", [True, False], ids=["with our hook", "without"])
def test_ten_machines_that_ask_the_server_have_it_fetched_once(crowd: Crowd, models: dict[str, Model], hook: bool) -> None:
    model = models["server" if hook else "server-without-hook"]
    sent = share_the_line(crowd, model, {"HF_USE_P2P": str(int(hook)), **THROUGH_THE_SERVER})
    assert sent.total() <= 1.02 * model.swarm_bytes


def test_the_bar_of_a_waiting_machine_moves_before_there_is_a_byte_for_it(crowd: Crowd, models: dict[str, Model]) -> None:
    model = models["watched"]
    crowd.hub.behave(total_rate_bytes_s=2 * MIB)
    pair = crowd.machines[:2]
    futures = crowd.download(pair, model, one_file=True)
    still_coming = 0.0  # when the Hub was last seen not to have sent everything: until then nobody had it to give
    while not all(future.done() for future in futures):
        now = time.time()
        still_coming = now if crowd.sent(model).total() < model.swarm_bytes else still_coming
    sent = crowd.sent(model)
    (waiting,) = (number for number, machine in enumerate(pair) if not sent[machine.address])
    assert [n for moment, n in result(futures[waiting], model).bar if moment < still_coming and 0 < n < model.swarm_bytes]


def fetcher_of(crowd: Crowd, model: Model, *, after_bytes: int = MIB) -> Workstation:
    """Wait until so much of a model has come from the Hub; return the machine that fetched the most of it."""
    eventually(lambda: crowd.sent(model).total() >= after_bytes, timeout_s=60, what=f"{after_bytes} bytes of {model.repo_id}")
    sent = crowd.sent(model)
    return max(crowd.machines, key=lambda machine: sent[machine.address])


def test_a_killed_fetcher_costs_no_more_than_what_it_had_fetched(crowd: Crowd, models: dict[str, Model]) -> None:
    model, machines = models["killed"], crowd.machines if AT_FULL_SIZE else crowd.machines[:4]
    crowd.hub.behave(total_rate_bytes_s=LINE_BYTES_S if AT_FULL_SIZE else 4 * MIB)
    futures = crowd.download(machines, model)
    victim = fetcher_of(crowd, model, after_bytes=model.swarm_bytes // 2)
    address = victim.address
    victim.container.kill()
    try:
        for machine, future in zip(machines, futures, strict=True):
            if machine is not victim:
                result(future, model)
        sent = crowd.sent(model)
        print(f"\n{report(model, sent)}, {sent[address] / model.swarm_bytes:.3f} × by the one that was killed")
        assert sent.total() <= 1.02 * model.swarm_bytes + sent[address]
    finally:
        victim.container.start()


def test_a_fetcher_that_the_hub_refuses_passes_it_on(crowd: Crowd, models: dict[str, Model]) -> None:
    model, machines = models["refused"], crowd.machines[4:7]
    crowd.hub.behave(total_rate_bytes_s=2 * MIB)
    futures = crowd.download(machines, model)
    fetcher = fetcher_of(crowd, model)
    crowd.hub.behave(cut_after_bytes=0, fail_gets_status=429, retry_after_s=1, only_for=fetcher.address)
    for machine, future in zip(machines, futures, strict=True):
        if machine is not fetcher:
            result(future, model)
    sent = crowd.sent(model)
    assert sent.total() <= 1.02 * model.swarm_bytes + sent[fetcher.address]
    said = futures[machines.index(fetcher)].exception(timeout=120)
    assert said is None or "429" in str(said)


def test_a_fetcher_that_stalls_passes_it_on(crowd: Crowd, models: dict[str, Model]) -> None:
    model, machines = models["stalled"], crowd.machines[4:7]
    crowd.hub.behave(total_rate_bytes_s=2 * MIB)
    futures = crowd.download(machines, model)
    fetcher = fetcher_of(crowd, model)
    crowd.hub.behave(stall_after_bytes=0, only_for=fetcher.address)
    for machine, future in zip(machines, futures, strict=True):
        if machine is not fetcher:
            result(future, model)
    sent = crowd.sent(model)
    assert sent.total() <= 1.02 * model.swarm_bytes + sent[fetcher.address]
    crowd.hub.behave(**WELL)
    result(futures[machines.index(fetcher)], model)


def test_a_fetcher_whose_connection_breaks_goes_on(crowd: Crowd, models: dict[str, Model]) -> None:
    model, machines = models["cut"], crowd.machines[4:7]
    crowd.hub.behave(total_rate_bytes_s=2 * MIB)
    futures = crowd.download(machines, model)
    fetcher = fetcher_of(crowd, model)
    crowd.hub.behave(cut_after_bytes=0, only_for=fetcher.address)
    had = crowd.sent(model).total()
    crowd.hub.behave(cut_after_bytes=None)
    for future in futures:
        result(future, model)
    assert crowd.sent(model).total() <= 1.02 * model.swarm_bytes + had


def test_without_the_tracker_everybody_fetches(crowd: Crowd, models: dict[str, Model]) -> None:
    model, machines = models["alone"], crowd.machines[7:10]
    crowd.tracker.container.kill()
    try:
        for future in crowd.download(machines, model):
            result(future, model)
    finally:
        crowd.compose.up("tracker")
    assert set(crowd.sent(model).values()) == {model.swarm_bytes}
