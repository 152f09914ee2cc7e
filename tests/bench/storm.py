"""Machines that start within a second and look up the files of one repo: how many questions are answered in time, and the CPU.

Each machine asks for each file (`one by one`, as clients of old do), or for all in one question (`at once`). The time of an
answer counts from the moment when its connection was wanted; the kernel says how many connections it dropped (of all processes
of this machine). The reference is the cost of a question to the health check in the same run: read the ratios and the growth.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from pathlib import Path

from llmpt.host.listening import raise_descriptor_limit
from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent

STORMS = ((100, 8), (500, 8), (500, 30))
ANSWER_S, WITHIN_S, SOON_S = 20.0, 1.0, 2.0
FILES = [torrent(f"file {number}", 300 * MIB) for number in range(30)]

Question = bytes


def main() -> None:
    """Print how each storm went."""
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


def _one_by_one(files: int) -> list[Question]:
    return [_get(f"/api/v1/torrents?etag={meta.etag}&include=metainfo,peers") for meta in FILES[:files]]


def _at_once(files: int) -> list[Question]:
    body = json.dumps({"etags": [meta.etag.value for meta in FILES[:files]], "peers": 50}).encode()
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

    async def machine(questions: list[Question]) -> None:
        await asyncio.sleep(draw.uniform(0, WITHIN_S))
        turns = asyncio.Semaphore(8)

        async def one(question: Question) -> None:
            async with turns:
                found.append(await _ask(tracker, question))

        await asyncio.gather(*map(one, questions))

    await asyncio.gather(*map(machine, machines))
    return found


async def _ask(tracker: TrackerProcess, question: Question) -> float | None:
    began = time.monotonic()
    try:
        opening = asyncio.open_connection(tracker.host, tracker.http_port, limit=1 << 24)
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
