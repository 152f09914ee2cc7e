"""The engine's thread: reads the session's alerts, and looks ten times a second at what is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import libtorrent as lt

from llmpt.swarm.sampling import count, sample
from llmpt.swarm.torrent import Torrent
from llmpt.swarm.torrents import Torrents
from llmpt.swarm.types import EngineTimings, Totals

ALERTS_THREAD = "swarm-alerts"


class Alerts:
    """A thread from `start` to `stop`.

    totals: what was moved since the start, at most one second old
    came_at: when bytes of any download were last seen to have come (monotonic seconds)
    """

    def __init__(self, torrents: Torrents, timings: EngineTimings, *, on_limits: Callable[[], None]) -> None:
        """`on_limits` is called when the limits of the hour may have changed."""
        self.totals = Totals()
        self.came_at = time.monotonic()
        self._torrents, self._timings, self._on_limits = torrents, timings, on_limits
        self._counted_at = self._next_sample = self._next_count = self._next_limits = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=ALERTS_THREAD, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended."""
        self._stopping.set()
        self._torrents.session.post_session_stats()  # it waits for an alert
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._step()

    def _step(self) -> None:
        session, timings = self._torrents.session, self._timings
        running = self._torrents.running()
        session.wait_for_alert(int(1000 * (timings.busy_tick_s if running else timings.idle_tick_s / 2)))
        for alert in session.pop_alerts():
            with self._torrents.lock:  # no torrent is withdrawn while it is looked at
                self._handle(alert)
        now = time.monotonic()
        if running and now >= self._next_sample:
            self._next_sample = now + timings.busy_tick_s
            for torrent in self._torrents.running():
                self._sample(torrent)
        if now >= self._next_count:
            self._next_count = now + timings.idle_tick_s
            session.post_session_stats()
        if now >= self._next_limits:
            self._next_limits = now + timings.limits_interval_s
            self._on_limits()

    def _handle(self, alert: Any) -> None:
        if isinstance(alert, lt.session_stats_alert):
            now = time.monotonic()
            self.totals = count(alert.values, self.totals, elapsed_s=max(now - self._counted_at, 0.001))
            self._counted_at = now
        elif (torrent := self._torrents.of(alert)) is not None:
            torrent.on(alert)

    def _sample(self, torrent: Torrent) -> None:
        with self._torrents.lock:
            if torrent.download is not None and self._torrents.find(torrent.etag) is torrent:
                before = torrent.download.bytes_done
                sample(torrent.handle, torrent.download)
                if torrent.download.bytes_done > before:
                    self.came_at = time.monotonic()
