"""What is counted of the requests that the application answers, in all of its processes, in the words of Prometheus.

The processes of one tracker count into files of a folder that their parent names (`PROMETHEUS_MULTIPROC_DIR`, as
prometheus_client calls it), so that the one that is asked tells of all; without that, this process counts for itself.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class RequestMetrics:
    """Counts requests by route, method and status, their seconds by route, and what was looked for. Threads may share it."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter(
            "llmpt_http_requests", "Requests that were answered.", ("route", "method", "status"), registry=self._own
        )
        self._seconds = Histogram(
            "llmpt_http_request_seconds",
            "Seconds from a request's turn to its answer's first byte.",
            ("route",),
            buckets=BUCKETS_S,
            registry=self._own,
        )

        self._lookups = Counter(
            "llmpt_lookups", "Files that machines looked for, by whether the LAN had them.", ("found",), registry=self._own
        )

    def looked_up(self, *, found: int, missing: int) -> None:
        """Count files that a machine looked for."""
        for name, count in (("yes", found), ("no", missing)):
            if count:
                self._lookups.labels(name).inc(count)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that took so many seconds."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def registry(self, *others: Collector) -> CollectorRegistry:
        """Return what all processes have counted, and what `others` say now."""
        found = CollectorRegistry()
        if os.environ.get(FOLDER):
            MultiProcessCollector(found)  # type: ignore[no-untyped-call]
        else:
            found.register(self._own)
        for one in others:
            found.register(one)
        return found
