"""`GET /metrics`: the tracker, its announcer and its seeders as Prometheus reads them. No machine, file or token is named."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, g, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmpt_tracker.control.messages import SeederReport
from llmpt_tracker.errors import AnnouncerUnavailable, DatabaseUnavailable, Refused
from llmpt_tracker.rules import mirrors, reports, tokens, traffic
from llmpt_tracker.rules.catalogue import repos
from llmpt_tracker.state import state
from llmpt_tracker.version import VERSION
from llmpt_tracker.views.hub.request import target
from llmpt_tracker.views.readers import sees_all

blueprint = Blueprint("metrics", __name__)

MOST_COUNTED = 10_000  # leases, problems
_OF_THE_ANNOUNCER = {
    "announces": "Announces, over HTTP and UDP, since the announcer's start.",
    "scrapes": "Scrapes, over HTTP and UDP, since the announcer's start.",
    "refusals": "Announces and scrapes that were refused, since the announcer's start.",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
# What a seeder's report says, by the name of the metric: the keys on the way to a number, what it is, whether it only grows.
_OF_SEEDERS = {
    "llmpt_seeder_blobs": (("blobs",), "Blobs that a seeder seeds.", False),
    "llmpt_seeder_blob_bytes": (("bytes",), "Bytes of the blobs that a seeder seeds.", False),
    "llmpt_seeder_swarm_bytes": (("uploaded_bytes",), "Bytes that a seeder gave by BitTorrent since its start.", True),
    "llmpt_seeder_http_bytes": (("http_bytes",), "Bytes that a seeder gave over HTTP since its start.", True),
    "llmpt_seeder_swarm_bytes_per_second": (("upload_rate_bytes_s",), "What a seeder gives by BitTorrent now.", False),
    "llmpt_seeder_hashing_blobs": (("hashing", "blobs_total"), "Blobs that a seeder is verifying.", False),
    "llmpt_seeder_hashing_done_blobs": (("hashing", "blobs_done"), "Of the blobs that a seeder is verifying, those done.", False),
    "llmpt_seeder_hashing_bytes": (("hashing", "bytes_total"), "Bytes that a seeder is verifying.", False),
    "llmpt_seeder_hashing_done_bytes": (("hashing", "bytes_done"), "Of the bytes that a seeder is verifying, those done.", False),
}


def begin() -> None:
    """Note when the current request's turn began."""
    g.turn_began = time.perf_counter()


def count(response: Response) -> Response:
    """Count the current request with its answer."""
    asked = target()
    route = request.endpoint or "unknown" if asked is None else f"hub.{asked.route}"
    method = request.method if request.method in _METHODS else "other"
    state().metrics.answered(route, method, response.status_code, time.perf_counter() - g.turn_began)
    return response


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Say what was counted, and how things stand now; what cannot be asked is left out, and `llmpt_part_up` says so."""
    if not sees_all():
        raise Refused(403, "scope", "metrics are of all repos: this takes a token that may read all of them")
    text = generate_latest(state().metrics.registry(_Now()))
    return Response(text, content_type=CONTENT_TYPE_LATEST)


class _Now(Collector):
    """How things stand at the moment when they are asked for."""

    def collect(self) -> Iterator[Metric]:
        yield _gauge("llmpt_build_info", "The version of this tracker.", {"version": VERSION}, 1)
        up = GaugeMetricFamily("llmpt_part_up", "Whether a part of the tracker answers.", labels=("part",))
        for part, ask in (("database", _of_the_database), ("announcer", _of_the_announcer)):
            try:
                found = list(ask())
            except (AnnouncerUnavailable, DatabaseUnavailable):
                found = []
            up.add_metric((part,), bool(found))
            yield from found
        yield up


def _of_the_database() -> Iterator[Metric]:
    now = state().clock()
    with state().database.reading() as session:
        repo_count, blob_count, blob_bytes = repos.totals(session)
        problems = reports.open_problems(session, limit=MOST_COUNTED, now=now)
        sharers = tokens.count_sharers(session)
        wanted = mirrors.count_by_state(session)
        bytes_ = traffic.ever(session, now=now)
    yield from _of_bytes(bytes_)
    yield from _of_the_disk()
    yield _gauge("llmpt_repos", "Repos of which a seeder has files.", {}, repo_count)
    yield _gauge("llmpt_blobs", "Blobs that a seeder has, or machines of the LAN.", {}, blob_count)
    yield _gauge("llmpt_blob_bytes", "Bytes of these blobs, each counted once.", {}, blob_bytes)
    yield _gauge("llmpt_problems", "Problems of the last day that an operator should see.", {}, len(problems))
    yield _gauge("llmpt_sharers", "Machines that may share what they fetch.", {}, sharers)
    queue = GaugeMetricFamily("llmpt_mirrors", "What was wanted from upstream within a week, by state.", labels=("state",))
    for name, number in wanted.items():
        queue.add_metric((name,), number)
    yield queue


def _of_bytes(counted: traffic.ByteCounts) -> Iterator[Metric]:
    given = CounterMetricFamily("llmpt_bytes", "Bytes that were given or fetched, to a minute, by their way.", labels=("way",))
    for way, count in (("swarm", counted.swarm_bytes), ("http", counted.http_bytes), ("hub", counted.hub_bytes)):
        given.add_metric((way,), count)
    yield given
    yield CounterMetricFamily("llmpt_received_bytes", "Bytes that machines received from the LAN.", counted.received_bytes)
    yield CounterMetricFamily("llmpt_mirrored_bytes", "Bytes that the appliance fetched for others.", counted.mirrored_bytes)
    yield _gauge("llmpt_saved_bytes", "Bytes that did not come from the Internet.", {}, counted.saved_bytes)


def _of_the_disk() -> Iterator[Metric]:
    settings = state().settings
    try:
        disk = shutil.disk_usage(settings.data)
    except OSError:
        return
    yield _gauge("llmpt_disk_bytes", "Size of the disk with the tracker's data (LLMPT_DATA).", {}, disk.total)
    yield _gauge("llmpt_disk_free_bytes", "What is free on that disk.", {}, disk.free)


def _of_the_announcer() -> Iterator[Metric]:
    announcer = state().announcer
    status, seeders = announcer.status(), announcer.seeders()
    yield _gauge("llmpt_swarms", "Torrents that may be announced.", {}, status.swarms)
    yield _gauge("llmpt_peers", "Peers, each counted once in each swarm.", {}, status.peers)
    if status.reaches_replicas is not None:
        yield _gauge("llmpt_valkey_up", "Whether the replicas of this tracker know of each other.", {}, status.reaches_replicas)
    states = GaugeMetricFamily("llmpt_peers_by_state", "Peers, by whether they have all, want more, or not.", labels=("state",))
    for name, number in status.roles.items():
        states.add_metric((name,), number)
    yield states
    for name, about in _OF_THE_ANNOUNCER.items():
        yield CounterMetricFamily(f"llmpt_{name}", about, status.counts.get(name, 0))
    yield _gauge("llmpt_leases", "Files that machines fetch from the Hub for all.", {}, len(announcer.fetches(MOST_COUNTED)))
    yield from _of_seeders(seeders)


def _of_seeders(seeders: list[SeederReport]) -> Iterator[Metric]:
    age = GaugeMetricFamily("llmpt_seeder_report_age_seconds", "Since a seeder's last heartbeat.", labels=("seeder",))
    problems = GaugeMetricFamily("llmpt_seeder_problems", "What a seeder could not share.", labels=("seeder",))
    for one in seeders:
        age.add_metric((one.id,), one.age_s)
        said = one.report.get("problems")
        problems.add_metric((one.id,), len(said) if isinstance(said, list) else 0)
    yield age
    yield problems
    for name, (keys, about, only_grows) in _OF_SEEDERS.items():
        family = (CounterMetricFamily if only_grows else GaugeMetricFamily)(name, about, labels=("seeder",))
        for one in seeders:
            if (number := _number(one.report, keys)) is not None:
                family.add_metric((one.id,), number)
        yield family


def _number(report: Mapping[str, object], keys: tuple[str, ...]) -> float | None:
    """Return what a report says, if that is a number: it is the word of a holder of a token."""
    found: object = report
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) and abs(found) < 1 << 63 else None


def _gauge(name: str, about: str, labels: Mapping[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, about, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family
