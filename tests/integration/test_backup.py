"""`llmpt-tracker backup` beside a tracker that is written to all the time, and `restore` into another one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import big, manifest, packed, torrent

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Publisher(threading.Thread):
    """Publishes one repo after the other, until it is stopped; `answered` are those that the tracker has said yes to."""

    def __init__(self, tracker: TrackerProcess) -> None:
        super().__init__()
        self.answered: list[str] = []
        self._tracker, self._ended = tracker, threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            name = f"org/n{len(self.answered)}"
            body = manifest(big("m.bin", one := torrent(name)), repo_id=name, torrents=packed(one))
            headers = {"Authorization": f"Bearer {self._tracker.token}"}
            request = urllib.request.Request(f"{self._tracker.url}/api/v1/publish", json.dumps(body).encode(), headers)
            with DIRECT.open(request, timeout=30) as answer:
                assert answer.status == 200
            self.answered.append(name)

    def __enter__(self) -> Publisher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def command(tracker: TrackerProcess, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "llmpt_tracker", *map(str, arguments)]
    return subprocess.run(line, env=tracker.environ, capture_output=True, text=True, timeout=120)


def test_a_backup_of_a_tracker_that_is_written_to_is_one_moment_of_it(tmp_path: Path) -> None:
    file = tmp_path / "llmpt.backup"
    with TrackerProcess(tmp_path / "a" / "data") as tracker:
        with Publisher(tracker) as publisher:
            eventually(lambda: len(publisher.answered) > 5, what="something is published")
            before = list(publisher.answered)
            done = command(tracker, "backup", file)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith(f"wrote {file}: a catalogue of ")
            held_up = len(publisher.answered)
            eventually(lambda: len(publisher.answered) > held_up + 5, what="more is published")
        refused = command(tracker, "restore", file)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"llmpt-tracker: a tracker uses {tracker.data}: stop it first")

    other = TrackerProcess(tmp_path / "b" / "data")
    done = command(other, "restore", file)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(other.data / "tracker.db")) as database:
        repos = {name for (name,) in database.execute("select name from repos")}
        assert repos == {name for (name,) in database.execute("select name from repos join revisions on repo_id = repos.id")}
    assert set(before) <= repos <= set(publisher.answered)
    with other:
        assert (other.data / "server.key").read_bytes() == (tracker.data / "server.key").read_bytes()
        with DIRECT.open(f"{other.url}/api/v1/torrents?etag={torrent(before[-1]).etag}", timeout=10) as answer:
            assert len(json.load(answer)["torrents"]) == 1
