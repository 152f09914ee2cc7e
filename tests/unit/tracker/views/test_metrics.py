"""`/metrics` tells Prometheus what the application counted, and how the parts stand."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from llmpt.core.repo import RepoRef
from llmpt_tracker.app import create_app
from llmpt_tracker.control.messages import AnnouncerStatus, Swarm, Traffic
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.metrics import FOLDER
from llmpt_tracker.rules import traffic
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent
from tests.unit.tracker.conftest import NOW, Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer

METRICS = Path(__file__).parents[4] / "compose" / "metrics"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
REPORT = {
    "port": 6881,
    "blobs": 3,
    "bytes": 12,
    "uploaded_bytes": 1000,
    "http_bytes": 50,
    "upload_rate_bytes_s": 7,
    "hashing": {"blobs_done": 1, "blobs_total": 4, "bytes_done": 10, "bytes_total": 40},
    "problems": [{"what": "a", "reason": "b"}],
}


def samples(api: Api) -> Samples:
    """Return what `/metrics` says, by name and labels, as Prometheus' own parser reads it."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_status(api: Api) -> None:
    def counted(found: Samples, route: str, method: str, status: int) -> float:
        labels = (("method", method), ("route", route), ("status", str(status)))
        return found.get(("llmpt_http_requests_total", labels), 0)

    before = samples(api)
    api.get("/healthz")
    api.get("/api/v1/torrents?etag=nonsense&x=1")
    api.client.open("/healthz", method="BREW")
    api.get("/no/such/resolve/main/config.json")
    after = samples(api)
    assert counted(after, "health.healthz", "GET", 200) == counted(before, "health.healthz", "GET", 200) + 1
    assert counted(after, "torrents.list_torrents", "GET", 400) == counted(before, "torrents.list_torrents", "GET", 400) + 1
    assert sum(value for (name, labels), value in after.items() if ("method", "other") in labels and "total" in name) >= 1
    assert any(dict(labels).get("route", "").startswith("hub.") for _, labels in after)
    took = ("llmpt_http_request_seconds_count", (("route", "health.healthz"),))
    assert after[took] == before.get(took, 0) + 1


def test_the_catalogue_the_announcer_and_the_seeders_are_told_of(api: Api, announcer: FakeAnnouncer) -> None:
    one, other = torrent("one", 2 * MIB), torrent("other", 3 * MIB)
    assert api.publish({"torrents": packed(one, other), **manifest(big("a.bin", one), big("b.bin", other))}).status_code == 200
    announcer.beats["5eed"] = ("key", REPORT)
    found = samples(api)
    assert found["llmpt_blob_bytes", ()] == 5 * MIB
    assert (found["llmpt_repos", ()], found["llmpt_blobs", ()], found["llmpt_swarms", ()]) == (1, 2, 2)
    seeder = (("seeder", "5eed"),)
    assert found["llmpt_seeder_swarm_bytes_total", seeder] == 1000
    assert found["llmpt_seeder_http_bytes_total", seeder] == 50
    assert found["llmpt_seeder_hashing_done_bytes", seeder] == 10
    assert found["llmpt_seeder_problems", seeder] == 1
    assert found["llmpt_mirrors", (("state", "queued"),)] == 0
    assert found["llmpt_part_up", (("part", "announcer"),)] == found["llmpt_part_up", (("part", "database"),)] == 1


def test_bytes_and_what_was_saved_are_told(api: Api, database: Database, announcer: FakeAnnouncer) -> None:
    one = torrent("one", 2 * MIB)
    api.publish(manifest(big("a.bin", one), torrents=packed(one)))
    with database.writing() as session:
        traffic.keep(
            session, Traffic({one.info_hash.truncated: 3}, 5, {RepoRef("model", "org/name"): 4}), (), since=None, now=NOW
        )
    found = samples(api)
    assert found["llmpt_bytes_total", (("way", "hub"),)] == 5
    assert found["llmpt_received_bytes_total", ()] == 6 * MIB
    assert found["llmpt_saved_bytes", ()] == 6 * MIB - 4
    assert found["llmpt_disk_bytes", ()] >= found["llmpt_disk_free_bytes", ()] > 0
    assert found["llmpt_peers_by_state", (("state", "leecher"),)] == 0


def test_files_that_are_looked_for_are_counted_by_whether_they_were_there(api: Api, announcer: FakeAnnouncer) -> None:
    one, other = torrent("one"), torrent("other")
    api.publish({"torrents": packed(one, other)})
    announcer.live[one.info_hash.truncated.hex()] = Swarm(1, 0, 0)
    before = samples(api)
    api.post("lookup", {"etags": [one.etag.value, other.etag.value, "e" * 64]})
    api.get(f"/blobs/{one.etag}")
    after = samples(api)
    counted = {
        found: after["llmpt_lookups_total", (("found", found),)] - before.get(("llmpt_lookups_total", (("found", found),)), 0)
        for found in ("yes", "no")
    }
    assert counted == {"yes": 1, "no": 3}


@pytest.mark.parametrize("wrong", [{"blobs": "many"}, {"hashing": [1]}, {"problems": 7}, {"bytes": 10**400}, {"blobs": None}])
def test_a_report_of_nonsense_is_left_out(api: Api, announcer: FakeAnnouncer, wrong: dict[str, object]) -> None:
    announcer.beats["5eed"] = ("key", REPORT | wrong)
    assert ("llmpt_seeder_swarm_bytes_total", (("seeder", "5eed"),)) in samples(api)


def test_an_announcer_that_is_down_is_said_to_be(api: Api, announcer: FakeAnnouncer) -> None:
    announcer.down = True
    found = samples(api)
    assert found["llmpt_part_up", (("part", "announcer"),)] == 0
    assert ("llmpt_blobs", ()) in found
    assert ("llmpt_swarms", ()) not in found


def test_where_reading_takes_a_token_so_do_metrics(settings: TrackerSettings) -> None:
    ensure_key(settings.key_file)
    app: Flask = create_app(dataclasses.replace(settings, require_read_token=True), lambda: NOW, FakeAnnouncer())
    assert app.test_client().get("/metrics").status_code == 401
    state_of(app).database.engine.dispose()


def test_counts_of_the_announcer_cross_its_socket() -> None:
    status = AnnouncerStatus("b", True, 1, 2, 3, counts={"announces": 4}, roles={"seeder": 1})
    assert AnnouncerStatus.parse(json.loads(json.dumps(status.as_json()))) == status


def test_all_processes_count_together(tmp_path: Path) -> None:
    code = (
        "from llmpt_tracker.metrics import RequestMetrics as R; from prometheus_client import generate_latest\n"
        "one = R(); one.answered('r', 'GET', 200, 0.003); print(generate_latest(one.registry()).decode())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {FOLDER: str(tmp_path)}, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert 'llmpt_http_requests_total{method="GET",route="r",status="200"} 2.0' in said[-1]


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_what_compose_asks_for_is_there(api: Api, announcer: FakeAnnouncer, file: str) -> None:
    announcer.beats["5eed"] = ("key", REPORT)
    api.get("/healthz")
    found = torrent("found")
    api.publish({"torrents": packed(found)})
    announcer.live[found.info_hash.truncated.hex()] = Swarm(1, 0, 0)
    api.post("lookup", {"etags": [found.etag.value]})
    samples(api)  # which is counted itself
    names = {name for name, _ in samples(api)}
    asked = set(re.findall(r"\bllmpt_[a-z_]+", (METRICS / file).read_text()))
    assert asked
    assert asked <= names


def test_routes_that_an_alert_names_are_routes(shared_app: Flask) -> None:
    [pattern] = re.findall(r'route=~"([^"]+)"', (METRICS / "alerts.yaml").read_text())
    for part in pattern.split("|"):
        assert any(re.fullmatch(part, rule.endpoint) for rule in shared_app.url_map.iter_rules()), part


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_prometheus_takes_the_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", METRICS / "alerts.yaml"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """Panels with an id of their own, each with queries, that do not lie on each other."""
    panels = json.loads((METRICS / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered: set[tuple[int, int]] = set()
    for panel in panels:
        assert all(target["expr"] and target["refId"] for target in panel["targets"]), panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & covered, panel["title"]
        covered |= cells
