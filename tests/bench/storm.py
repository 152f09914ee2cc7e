"""Machines that start within a second and look up the files of one repo: how many questions are answered in time, and the CPU.

Each machine has an address of its own, and asks for each file (`one by one`, as clients of old do), or for all in one question
(`at once`). The time of an answer counts from the moment when its connection was wanted; the kernel says how many connections it
dropped (of all processes of this machine). The reference is the cost of a question to the health check in the same run: read the
ratios and the growth. Then they ask all that agents ask when they start, as patiently (`_asking`). The bar: each of 500
has every answer, so that none goes to the Hub. At last 100 of them run the agent's own modules (`_machines`), where the LAN has
all files and where it has none: what became of each file, how many questions a machine asks, and what it costs. More of those
would need more processors than this machine has: they would give up for want of one.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from llmpt.core.metainfo import Metainfo
from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from tests.bench._asking import Site
from tests.bench._machines import MACHINES, REPO, own_address
from tests.support import network
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import COMMIT, MIB, OTHER_COMMIT, big, manifest, packed, torrent

STORMS = ((100, 8), (500, 8), (500, 30))
AGENTS, PROCESSES, MOST_MACHINES = 100, 4, 500
QUIET_S = 7.0  # a tracker that has just started lends nothing that has a torrent
TOGETHER_S = 10.0  # in which the processes of so many machines are there
ANSWER_S, WITHIN_S, SOON_S = 20.0, 1.0, 2.0
FILES = [torrent(f"file {number}", 300 * MIB) for number in range(30)]

Question = bytes


def main() -> None:
    """Print how each storm went."""
    if not network.is_apart("tests.bench.storm"):
        return
    network.open_own(MACHINES)
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as folder, TrackerProcess(Path(folder) / "data") as tracker:
        client = TrackerClient(tracker.url, token=tracker.token, timeout_s=30)
        client.publish({"torrents": packed(*FILES)})
        client.publish(manifest(*(big(f"{number}.bin", meta) for number, meta in enumerate(FILES))))
        health = _storm(tracker, [[_get("/healthz")]] * 200)[1] / 200
        print(f"a question to the health check costs {health * 1e3:.2f} ms of CPU")
        for machines, files in STORMS:
            for name, ask in (("one by one", _one_by_one), ("at once", _at_once)):
                questions = [ask(files)] * machines
                asked = sum(map(len, questions))
                drops = _dropped()
                times, cpu_s = _storm(tracker, questions)
                done = sorted(took for took in times if took is not None)
                tail = f"half within {done[len(done) // 2]:.2f} s, the last after {done[-1]:.2f} s" if done else "-"
                cost = f"a question {cpu_s / asked * 1e3:.2f} ms of CPU, {cpu_s / asked / health:.1f} × health"
                lost = f"{sum(took < SOON_S for took in done)} within {SOON_S:g} s, {_dropped() - drops} connections dropped"
                went = f"{len(done)} of {asked} answered ({lost}), {tail}; {cost}; a machine {cpu_s / machines * 1e3:.1f} ms"
                print(f"{machines} × {files:2} {name:10}: {went}", flush=True)

        _as_agents(tracker)
        time.sleep(QUIET_S)
        assert all(announce(tracker, meta, source=own_address(MOST_MACHINES)) for meta in FILES)
        there = [(meta.etag.value, meta.size) for meta in FILES]
        lacking = [(f"{number:064x}", 300 * MIB) for number in range(1, len(FILES) + 1)]
        for name, commit, wanted in (("there", COMMIT, there), ("lacking", OTHER_COMMIT, lacking)):
            _agents(tracker, AGENTS, name, {"commit": commit, "files": wanted})


def _as_agents(tracker: TrackerProcess) -> None:
    """Let machines ask all that their agents ask, and print what was answered."""
    commit = {"repo_type": REPO.type, "repo_id": str(REPO.id), "commit": COMMIT}
    site = Site((tracker.host, tracker.http_port), (tracker.host, tracker.announce_port), commit, FILES)
    before, began = _cpu_s(tracker.pid), time.monotonic()
    asyncio.run(site.start([own_address(number) for number in range(MOST_MACHINES)], within_s=WITHIN_S))
    cost_s, asked = _cpu_s(tracker.pid) - before, site.asked
    slowest = ", ".join(f"{kind} {took:.2f} s" for kind, took in asked.slowest_s.items())
    each = f"{cost_s / sum(asked.answers.values()) * 1e3:.1f} ms of the tracker's CPU a question"
    served = f"{asked.served} of {MOST_MACHINES} machines had every answer, after {time.monotonic() - began:.1f} s"
    print(
        f"{MOST_MACHINES} × {len(FILES)} as agents ask: {served}; {dict(asked.answers)}; slowest: {slowest}; {each}", flush=True
    )


def _agents(tracker: TrackerProcess, machines: int, name: str, wanted: dict[str, Any]) -> None:
    """Let machines look the files of a commit up as agents do, and print what became of them."""
    drops, before, each = _dropped(), _cpu_s(tracker.pid), machines // PROCESSES
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        asked = {"tracker": tracker.url, "machines": each, **wanted, "at": time.time() + TOGETHER_S, "within_s": WITHIN_S}
        running = [_begin({**asked, "folder": folder, "first": number * each}) for number in range(PROCESSES)]
        said = [json.loads(process.communicate()[0]) for process in running]
    cost_s, ended = _cpu_s(tracker.pid) - before, resource.getrusage(resource.RUSAGE_CHILDREN)
    own_s = ended.ru_utime + ended.ru_stime - own.ru_utime - own.ru_stime
    outcomes, questions = Counter[str](), Counter[str]()
    for one in said:
        for outcome, count in one["files"].items():
            outcomes[outcome.partition(";")[0].replace(tracker.url, "it")] += count  # asked again in so many seconds
        questions.update(one["questions"])
    first, last = (sorted(when for one in said for when in one[which]) for which in ("first_s", "all_s"))
    asks = ", ".join(f"{count / machines:.1f} × {what}" for what, count in questions.most_common())
    went = f"the first file known after {first[-1]:.2f} s at most, all after {last[-1]:.2f} s"
    cost = f"a machine {cost_s / machines * 1e3:.0f} ms of the tracker's CPU, {own_s / machines * 1e3:.0f} of its own"
    all_asked = sum(questions.values())
    cost = f"{cost}, {cost_s / all_asked * 1e3:.1f} ms a question of any kind, {_dropped() - drops} dropped"
    print(f"{machines} agents × {len(wanted['files'])} {name:8}: {dict(outcomes)}; {went}; {cost}: {asks}", flush=True)


def _begin(asked: dict[str, object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench._machines", json.dumps(asked)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def announce(tracker: TrackerProcess, meta: Metainfo, *, source: str = "127.0.0.1") -> bool:
    """Be the one seeder of a file, at an address; say whether the tracker takes it."""
    connection = http.client.HTTPConnection(tracker.host, tracker.announce_port, timeout=10, source_address=(source, 0))
    swarm = "".join(f"%{byte:02x}" for byte in meta.info_hash.truncated)
    about = "port=6881&uploaded=0&downloaded=0&left=0&event=started"
    connection.request("GET", f"/announce?info_hash={swarm}&peer_id=-LT2110-000000000000&{about}")
    said = connection.getresponse().read()
    connection.close()
    return b"failure" not in said


def _one_by_one(files: int) -> list[Question]:
    return [_get(f"/api/v1/torrents?etag={meta.etag}&include=metainfo,peers") for meta in FILES[:files]]


def _at_once(files: int) -> list[Question]:
    etags = [meta.etag.value for meta in FILES[:files]]
    body = json.dumps({"etags": etags, "metainfo_of": etags}).encode()
    return [b"POST /api/v1/lookup HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


def _get(path: str) -> Question:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def _storm(tracker: TrackerProcess, machines: list[list[Question]]) -> tuple[list[float | None], float]:
    """Ask all that each machine asks, eight questions of it at a time; return the times and the tracker's seconds of CPU."""
    before = _cpu_s(tracker.pid)
    times = asyncio.run(_all(tracker, machines))
    return times, _cpu_s(tracker.pid) - before


async def _all(tracker: TrackerProcess, machines: list[list[Question]]) -> list[float | None]:
    draw = random.Random(1)
    found: list[float | None] = []

    async def machine(address: str, questions: list[Question]) -> None:
        await asyncio.sleep(draw.uniform(0, WITHIN_S))
        turns = asyncio.Semaphore(8)

        async def one(question: Question) -> None:
            async with turns:
                found.append(await _ask(tracker, address, question))

        await asyncio.gather(*map(one, questions))

    await asyncio.gather(*(machine(own_address(number), questions) for number, questions in enumerate(machines)))
    return found


async def _ask(tracker: TrackerProcess, address: str, question: Question) -> float | None:
    began = time.monotonic()
    try:
        opening = asyncio.open_connection(tracker.host, tracker.http_port, limit=1 << 24, local_addr=(address, 0))
        reader, writer = await asyncio.wait_for(opening, ANSWER_S)
    except (OSError, asyncio.TimeoutError):
        return None
    try:
        writer.write(question)
        answer = await asyncio.wait_for(reader.read(), ANSWER_S)
        return time.monotonic() - began if answer.startswith(b"HTTP/1.1 200") else None
    except (OSError, asyncio.TimeoutError):
        return None
    finally:
        writer.close()


def _dropped() -> int:
    """Return how many connections the kernel has dropped because a listener did not take them."""
    names, values = (line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2])
    return int(dict(zip(names, values, strict=True))["ListenOverflows"])


def _cpu_s(pid: int) -> float:
    """Return the seconds of CPU of a process and all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_s(int(child)) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


if __name__ == "__main__":
    main()
