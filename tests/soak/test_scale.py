"""Three replicas behind nginx, under load: one is killed, then Valkey, then PostgreSQL is restarted (`make scale`).

Machines publish, announce and share fetches through the proxy all the while. What was answered yes must be there, no file
may be two machines' to fetch for longer than a lease lasts, and each peer is answered again long before its next announce.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmpt.core import bencode
from llmpt.core.leases import STALL_TIMEOUT_S
from llmpt_tracker.announcer.peers.wire import MIN_INTERVAL_S
from tests.support.replicas import ARE_HERE, MISSING, Replicas
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import big, manifest, packed, torrent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.skipif(not ARE_HERE, reason=MISSING)]

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PEERS, MACHINES, FETCH_S = 20, 6, 8.0
CALM_S = 12.0  # after each fault


class Load:
    """What machines do, and what came of it. Each deed is a thread; `stop` ends them all."""

    def __init__(self, lan: Replicas) -> None:
        self.lan, self.token = lan, lan.trackers[0].token
        self.published: dict[str, bytes] = {}  # repo → info-hash, of what was answered 200
        self.failed: Counter[str] = Counter()
        self.answered: defaultdict[int, list[float]] = defaultdict(list)  # peer → when
        self.held: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)  # etag → machine → from, to
        self._done: set[str] = set()
        self._ending = threading.Event()
        deeds: list[tuple[Callable[..., None], Any]] = [(self._publish, "p"), *((self._fetch, f"m{n}") for n in range(MACHINES))]
        deeds += [(self._announce, number) for number in range(PEERS)]
        self._threads = [threading.Thread(target=deed, args=(name,)) for deed, name in deeds]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        for one in self._threads:
            one.join()

    def _publish(self, _: str) -> None:
        number = 0
        while not self._ending.wait(0.1):
            number += 1
            one = torrent(f"scale {number}")
            body = manifest(big("m.bin", one), repo_id=f"org/scale-{number}", torrents=packed(one))
            while not self._ending.is_set() and self._post("publish", body) is None:
                self._ending.wait(0.5)  # as the seeder does: again, until it is answered
            else:
                self.published[f"org/scale-{number}"] = one.info_hash.digest[:20]

    def _announce(self, number: int) -> None:
        while not self._ending.wait(0.5):
            if not self.published:
                continue
            info_hash = list(self.published.values())[number % min(len(self.published), 5)]
            said = {"info_hash": info_hash, "peer_id": b"p" * 18 + b"%02d" % number, "port": 7000 + number, "left": 0}
            url = f"{self.lan.announce_url}?{urllib.parse.urlencode(said)}"
            try:
                with DIRECT.open(url, timeout=5) as answer:
                    read = bencode.decode(answer.read())
            except OSError:
                self.failed["announce"] += 1
                continue
            if isinstance(read, dict) and b"peers" in read:
                self.answered[number].append(time.monotonic())
            else:
                self.failed[f"announce: {read!r:.90}"] += 1

    def _fetch(self, machine: str) -> None:
        """Want three files at a time, each of which takes a while to fetch; and go on to the next when it was fetched."""
        fetching: dict[str, float] = {}
        ended: list[str] = []
        while not self._ending.wait(0.5):
            now = time.monotonic()
            ended += [etag for etag, since in fetching.items() if now - since >= FETCH_S]
            for etag in ended:
                fetching.pop(etag, None)
                self._done.add(etag)
            wants = [etag for etag in map(_etag, range(1000)) if etag not in self._done][:3]
            want = {"size": 10**9, "repo_type": "model", "repo_id": "org/absent"}
            body = {
                "machine": machine,
                "stall_timeout_s": STALL_TIMEOUT_S,
                "wants": [{"etag": etag, **want} for etag in wants],
                "fetching": [
                    {"etag": etag, "bytes": int(1e6 * (now - since)) + 1, "rate_bytes_s": 10**6}
                    for etag, since in fetching.items()
                ],
                "ended": [{"etag": etag, "outcome": "published"} for etag in ended],
            }
            answer = self._post("leases", body)
            if answer is None:
                continue
            ended = []
            for grant in answer["leases"]:
                if grant["role"] == "fetch" and grant["etag"] not in fetching:
                    fetching[grant["etag"]] = time.monotonic()
            for etag in fetching:
                self.held[etag].setdefault(machine, [time.monotonic()] * 2)[1] = time.monotonic()

    def _post(self, what: str, body: Any) -> Any:
        """Return the answer of 200; None: another one, or none."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.lan.url}/api/v1/{what}", json.dumps(body).encode(), headers)
        try:
            with DIRECT.open(request, timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                self.failed[f"{what} {error.code}"] += 1
        except OSError:
            self.failed[what] += 1
        return None

    def held_twice_s(self) -> float:
        """Return for how long the worst etag was two machines' to fetch."""
        worst = 0.0
        for holders in self.held.values():
            spans = sorted(holders.values())
            for (_, end), (start, other_end) in pairwise(spans):
                worst = max(worst, min(end, other_end) - start)
        return worst

    def longest_silence_s(self) -> float:
        return max(later - one for times in self.answered.values() for one, later in pairwise(times))


def test_no_publish_is_lost_no_lease_is_two_machines_and_peers_are_answered_again(tmp_path: Path) -> None:
    with Replicas(tmp_path, count=3) as lan:
        with Load(lan) as load:
            eventually(lambda: len(load.published) > 10 and load.held and len(load.answered) == PEERS, timeout_s=60, what="load")
            killed = lan.deciding()
            killed.kill()
            _calm(load)
            killed.start()
            _calm(load)
            lan.valkey.kill()
            _calm(load)
            lan.valkey.start()  # which has kept nothing
            _calm(load)
            lan.postgresql.stop()
            time.sleep(2)
            lan.postgresql.start()
            _calm(load)
        found = {tracker: _repos(tracker.url) for tracker in lan.trackers}
        for tracker, repos in found.items():
            assert load.published.keys() <= repos, (tracker.log, load.published.keys() - repos)
        print(
            f"{len(load.published)} publishes, {sum(map(len, load.answered.values()))} announces, {len(load.held)} fetches; "
            f"held twice for {load.held_twice_s():.1f} s, longest silence {load.longest_silence_s():.1f} s; "
            f"no: {dict(load.failed)}"
        )
        assert load.held_twice_s() <= STALL_TIMEOUT_S
        assert load.longest_silence_s() <= MIN_INTERVAL_S


def _calm(load: Load) -> None:
    """Let the load go on, and see that all of it is answered again."""
    published, fetched, since = len(load.published), len(load.held), time.monotonic()
    eventually(
        lambda: (
            time.monotonic() - since > CALM_S
            and len(load.published) > published
            and len(load.held) > fetched
            and all(times[-1] > since for times in load.answered.values())
        ),
        timeout_s=60,
        what="all is answered again",
    )


def _etag(number: int) -> str:
    return hashlib.sha256(b"absent %d" % number).hexdigest()


def _repos(url: str) -> set[str]:
    found, cursor = set(), ""
    while True:
        with DIRECT.open(f"{url}/api/v1/repos?limit=100{cursor}", timeout=30) as answer:
            page = json.load(answer)
        found |= {repo["repo_id"] for repo in page["repos"]}
        if not page["next"]:
            return found
        cursor = f"&cursor={urllib.parse.quote(str(page['next']))}"
