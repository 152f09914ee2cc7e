"""Look-ups of two replicas over PostgreSQL and Valkey, against those of one, in turns: per second, and per second of CPU.

A replica uses as many processors as there are (up to four), so two answer more than one only where there are more: the share
of the processors that was busy is printed, and where that is nine tenths the ratio is the processors', not the product's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.replicas import ARE_HERE, MISSING, Replicas
from tests.unit.tracker.bodies import big, manifest, packed, torrent

SECONDS, ROUNDS, CLIENTS, FILES = 4.0, 3, 4, 30
_ASK = """
import http.client, sys, time
host, path, until = sys.argv[1], sys.argv[2], time.monotonic() + float(sys.argv[3])
connection, answered = http.client.HTTPConnection(host), 0
while time.monotonic() < until:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    answered += answer.status == 200
print(answered)
"""


def main() -> None:
    if not ARE_HERE:
        print(MISSING)
        return
    with tempfile.TemporaryDirectory() as folder, Replicas(Path(folder), count=2) as lan:
        _publish(lan)
        one, two, busy = [], [], 0.0
        for _ in range(ROUNDS):
            one.append(_look_ups(lan, 1)[0])
            found, share = _look_ups(lan, 2)
            two.append(found)
            busy = max(busy, share)
        ratio = statistics.median(two) / statistics.median(one)
        print(
            f"one replica {statistics.median(one):,.0f} look-ups a second, two {statistics.median(two):,.0f}: {ratio:.2f} times"
        )
        print(f"{os.cpu_count()} processors, {busy:.0%} busy" + (": they were the limit" if busy > 0.9 else ""))


def _publish(lan: Replicas) -> None:
    from tests.support.holder import Holder

    files = [torrent(f"bench {number}") for number in range(FILES)]
    body = manifest(*(big(f"{at}.bin", one) for at, one in enumerate(files)), repo_id="org/bench", torrents=packed(*files))
    status, _ = Holder(lan.trackers[0], lan.trackers[0].token).send("POST", "/api/v1/publish", body)[:2]
    assert status == 200, status


def _look_ups(lan: Replicas, replicas: int) -> tuple[float, float]:
    """Ask `replicas` of them for the repo's torrents; return the answers per second, and the share of the processors' time."""
    path, before = "/api/v1/torrents?repo_id=org/bench&limit=30", _ticks()
    began = time.monotonic()
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK, f"127.0.0.1:{lan.trackers[number % replicas].http_port}", path, str(SECONDS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(CLIENTS)
    ]
    answered = sum(int(json.loads(client.communicate()[0])) for client in clients)
    lasted, ticks = time.monotonic() - began, [now - then for now, then in zip(_ticks(), before, strict=True)]
    return answered / lasted, ticks[0] / max(1, ticks[1])


def _ticks() -> tuple[int, int]:
    words = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(words) - words[3] - words[4], sum(words)


if __name__ == "__main__":
    main()
