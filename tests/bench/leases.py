"""Polls of machines that wait for the Hub's files, per second, beside the look-up of a torrent in the same run.

A hundred machines wait for eight files each; one of a hundred fetches. Both routes are asked over eight connections that are
kept, by threads of this process, which shares the machine's cores with the tracker: read the ratio.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from llmpt.tracker.client import TrackerClient
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import packed, torrent

MACHINES, WANTS, CONNECTIONS, SECONDS = 100, 8, 8, 5.0


def main() -> None:
    """Print both rates and the load that so many machines are."""
    with tempfile.TemporaryDirectory() as folder, TrackerProcess(Path(folder) / "data") as tracker:
        TrackerClient(tracker.url, token=tracker.token).publish({"torrents": packed(torrent("known"))})
        tokens = [TrackerClient(tracker.url).share_token(f"machine {number}") for number in range(MACHINES)]
        wants = [
            {"etag": f"{number:064x}", "size": 10**9, "repo_type": "model", "repo_id": "org/name"} for number in range(WANTS)
        ]
        path = f"/api/v1/torrents?etag={torrent('known').etag}&include=metainfo,peers"
        for name, send in (
            ("look-up", lambda one, number: one.request("GET", path)),
            ("poll", lambda one, number: one.request("POST", "/api/v1/leases", *_poll(tokens[number % MACHINES], wants))),
        ):
            rate, slow_ms, pause_s = _measure(tracker, send)
            print(f"{name:8} {rate:6.0f} per second, 99 of 100 within {slow_ms:.0f} ms", flush=True)
        print(f"{MACHINES} machines that ask every {pause_s:g} s are {MACHINES / pause_s:.0f} polls per second")


def _poll(token: str, wants: list[dict[str, object]]) -> tuple[str, dict[str, str]]:
    body = json.dumps({"machine": "life", "stall_timeout_s": 60.0, "wants": wants})
    return body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _measure(tracker: TrackerProcess, send: Callable[[http.client.HTTPConnection, int], None]) -> tuple[float, float, float]:
    """Return requests per second, the time of the slowest of a hundred in ms, and the last `poll_s`."""
    times: list[float] = []
    pause_s = 1.0
    ends = time.monotonic() + SECONDS

    def ask(first: int) -> None:
        nonlocal pause_s
        connection = http.client.HTTPConnection(tracker.host, tracker.http_port, timeout=10)
        number = first
        while (begun := time.monotonic()) < ends:
            send(connection, number)
            answer = connection.getresponse()
            body = json.load(answer)
            assert answer.status == 200, body
            times.append(time.monotonic() - begun)
            pause_s = body.get("poll_s", pause_s)
            number += CONNECTIONS
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(times) / SECONDS, sorted(times)[len(times) * 99 // 100] * 1000, pause_s


if __name__ == "__main__":
    main()
