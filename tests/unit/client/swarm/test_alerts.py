"""The session's thread strikes on a bug: it is noted, and the thread goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.host.loops import Health
from llmpt.swarm import Download
from llmpt.swarm.alerts import Alerts
from llmpt.swarm.torrents import Torrents
from llmpt.swarm.types import EngineTimings
from tests.support.waiting import eventually

KEY = bytes(32)
TIMINGS = EngineTimings(busy_tick_s=0.01, idle_tick_s=0.01, limits_interval_s=0.01)


class Session:
    """A session of one torrent whose peers cannot be read, and whose alerts are as told."""

    def __init__(self) -> None:
        self.alerts: list[Any] = []
        self.asked = threading.Event()

    def add_torrent(self, _params: Any) -> Session:
        return self

    def get_peer_info(self) -> list[Any]:
        raise ValueError("a peer that makes no sense")

    def wait_for_alert(self, timeout_ms: int) -> None:
        threading.Event().wait(timeout_ms / 1000)

    def pop_alerts(self) -> list[Any]:
        alerts, self.alerts = self.alerts, []
        return alerts

    def post_session_stats(self) -> None:
        self.asked.set()


class Alert:
    """An alert that is of the torrent, or strikes."""

    def __init__(self, *, strikes: bool) -> None:
        self.strikes = strikes
        self.seen = False

    @property
    def handle(self) -> Any:
        self.seen = True
        if self.strikes:
            raise KeyError("an alert that makes no sense")
        return SimpleNamespace(info_hashes=lambda: SimpleNamespace(v2=SimpleNamespace(to_bytes=lambda: KEY)))


@contextmanager
def reading(session: Session) -> Iterator[tuple[Torrents, Health, list[float]]]:
    torrents, health, limits = Torrents(), Health(), [0.0]
    torrents.session = session

    def note() -> None:
        limits.append(1.0)

    alerts = Alerts(torrents, TIMINGS, on_limits=note, health=health)
    alerts.start()
    try:
        yield torrents, health, limits
    finally:
        alerts.stop()


def test_an_alert_that_strikes_costs_no_other_and_the_thread_goes_on() -> None:
    session = Session()
    with reading(session) as (_, _, limits):
        batch = [Alert(strikes=True), Alert(strikes=False)]
        session.alerts = list(batch)
        eventually(lambda: all(alert.seen for alert in batch), what="both alerts to be looked at")
        before = len(limits)
        eventually(lambda: len(limits) > before + 3, what="the thread to go on")


def test_a_download_that_strikes_ends_with_a_reason_and_the_thread_goes_on(tmp_path: Path) -> None:
    session, etag = Session(), Etag("a" * 64)
    download = Download(Metainfo(etag, 100_000, bytes(32), bytes(64)), tmp_path / "f")
    params = SimpleNamespace(ti=SimpleNamespace(info_hashes=lambda: SimpleNamespace(v2=SimpleNamespace(to_bytes=lambda: KEY))))
    with reading(session) as (torrents, _, limits):
        torrents.add(etag, params, announce_url=None, download=download)
        eventually(lambda: download.state == "failed", what="the download to end")
        assert download.reason == "a bug of llmpt: a peer that makes no sense"
        before = len(limits)
        eventually(lambda: len(limits) > before + 3, what="the thread to go on")


def test_a_session_that_goes_on_failing_is_a_trouble_until_it_works_again() -> None:
    session = Session()
    broken = threading.Event()
    broken.set()

    def pop_alerts() -> list[Any]:
        if broken.is_set():
            raise RuntimeError("the session is out of order")
        return []

    session.pop_alerts = pop_alerts  # type: ignore[method-assign]
    with reading(session) as (_, health, _):
        (trouble,) = eventually(health.troubles, what="the trouble")
        assert (trouble.name, trouble.error) == ("swarm-alerts", "the session is out of order")
        broken.clear()
        eventually(lambda: not health.troubles(), what="its end")
