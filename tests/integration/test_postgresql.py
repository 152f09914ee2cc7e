"""The tracker over PostgreSQL: what it has said yes to is there, also after PostgreSQL was restarted under it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgresql import PostgresProcess, programs
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import big, manifest, packed, torrent

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

pytestmark = pytest.mark.skipif(
    programs() is None, reason="PostgreSQL is not installed here (Debian: apt-get install postgresql)"
)


def publish(tracker: TrackerProcess, name: str) -> int:
    """Publish a repo of one file; return the status."""
    body = manifest(big("m.bin", one := torrent(name)), repo_id=f"org/{name}", torrents=packed(one))
    headers = {"Authorization": f"Bearer {tracker.token}"}
    request = urllib.request.Request(f"{tracker.url}/api/v1/publish", json.dumps(body).encode(), headers)
    try:
        with DIRECT.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def listed(tracker: TrackerProcess, words: str) -> Any:
    with DIRECT.open(f"{tracker.url}/api/v1/torrents?q={words}", timeout=30) as answer:
        return json.load(answer)["torrents"]


def test_a_restart_of_postgresql_is_a_503_and_nothing_is_lost(tmp_path: Path) -> None:
    with PostgresProcess() as postgresql:
        settings = {"LLMPT_DATABASE_URL": postgresql.create("llmpt").replace("+psycopg", "")}
        with TrackerProcess(tmp_path / "data", settings=settings) as tracker:
            assert publish(tracker, "before") == 200
            postgresql.stop()
            assert publish(tracker, "meanwhile") == 503
            postgresql.start()
            eventually(lambda: publish(tracker, "after") == 200, what="the tracker publishes again")
            assert {one["appears_in"][0]["repo_id"] for one in listed(tracker, "org")} == {"org/before", "org/after"}
            assert not (tracker.data / "tracker.db").exists()
