"""The engine's thread: reads the session's alerts, and looks ten times a second at what is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import libtorrent as lt

from llmpt.core.breaker import Pauses
from llmpt.host import loops
from llmpt.host.loops import Health, Rhythm
from llmpt.swarm.doorkeeper import Doorkeeper
from llmpt.swarm.sampling import count, sample
from llmpt.swarm.torrent import SessionTorrent
from llmpt.swarm.torrents import Torrents
from llmpt.swarm.types import EngineTimings, Totals

AT_ONCE = Rhythm(interval_s=0, pauses=Pauses(first_s=0.1, longest_s=1.0))  # a step waits for the session by itself


class Alerts:
    """A thread from `start` to `stop`. A bug ends the download that it struck, is a trouble of `health`, and no more.

    totals: what was moved since the start, at most one second old
    came_at: when bytes of any download were last seen to have come (monotonic seconds)
    """

    def __init__(
        self,
        torrents: Torrents,
        timings: EngineTimings,
        *,
        on_limits: Callable[[], None],
        health: Health,
        door: Doorkeeper | None = None,
    ) -> None:
        """`on_limits` is called when the limits of the hour may have changed."""
        self._door = door or Doorkeeper()
        self.totals = Totals()
        self.came_at = time.monotonic()
        self._torrents, self._timings, self._on_limits = torrents, timings, on_limits
        self._counted_at = self._next_sample = self._next_count = self._next_limits = time.monotonic()
        self._health = health
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = loops.start("swarm-alerts", self._step, AT_ONCE, stop=self._stopping, health=self._health)

    def stop(self) -> None:
        """Return when the thread has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._torrents.session.post_session_stats()  # it waits for an alert
            self._thread.join()

    def _step(self) -> None:
        session, timings = self._torrents.session, self._timings
        running = self._torrents.running()
        session.wait_for_alert(int(1000 * (timings.busy_tick_s if running else timings.idle_tick_s / 2)))
        bugs = [bug for alert in session.pop_alerts() if (bug := self._take(alert)) is not None]
        self._door.judge()
        with self._torrents.lock:
            self._torrents.depth.judge()
        now = time.monotonic()
        if running and now >= self._next_sample:
            self._next_sample = now + timings.busy_tick_s
            bugs += [bug for torrent in self._torrents.running() if (bug := self._sample(torrent)) is not None]
        self._torrents.announce_crossed(now)
        if now >= self._next_count:
            self._next_count = now + timings.idle_tick_s
            session.post_session_stats()
            self._torrents.release()
        if now >= self._next_limits:
            self._next_limits = now + timings.limits_interval_s
            self._on_limits()
        if bugs:
            raise bugs[0]  # to the loop, which logs it

    def _take(self, alert: Any) -> Exception | None:
        """Take note of an alert; return what it struck on, so that those behind it are not lost."""
        torrent: SessionTorrent | None = None
        with self._torrents.lock:  # no torrent is withdrawn while it is looked at
            try:
                if isinstance(alert, lt.session_stats_alert):
                    self._count(alert)
                    return None
                self._door.take(alert)
                self._torrents.depth.take(alert)
                if (torrent := self._torrents.of(alert)) is not None:
                    torrent.on(alert)
            except Exception as bug:  # noqa: BLE001  (the loop logs it)
                return _struck(torrent, bug)
        return None

    def _count(self, alert: Any) -> None:
        now = time.monotonic()
        self.totals = count(alert.values, self.totals, elapsed_s=max(now - self._counted_at, 0.001))
        self._counted_at = now

    def _sample(self, torrent: SessionTorrent) -> Exception | None:
        """Look at what is on its way; return what that struck on."""
        with self._torrents.lock:
            if torrent.download is None or self._torrents.find(torrent.etag) is not torrent:
                return None
            before = torrent.download.bytes_done
            try:
                sample(torrent.handle, torrent.download)
            except Exception as bug:  # noqa: BLE001  (the loop logs it)
                return _struck(torrent, bug)
            if torrent.download.bytes_done > before:
                self.came_at = time.monotonic()
        return None


def _struck(torrent: SessionTorrent | None, bug: Exception) -> Exception:
    if torrent is not None and torrent.download is not None:
        torrent.download.fail(f"a bug of llmpt: {bug or type(bug).__name__}")
    return bug
