"""The swarm engine: one libtorrent session, one thread that reads its alerts, a few verbs.

Seeding is in place and never writes: `have_pieces + no_verify_files + upload_mode`, without piece layers, so that 20,000
blobs cost seconds and a rotten piece can never make libtorrent write into a user's cache. A download is written into a
file that exists; when it is whole the owner flushes it, verifies it, and lets the engine move it: it goes on seeding.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import Address
from llmpt.swarm.download import Download
from llmpt.swarm.params import in_place, into_file, names_of, web_seed_of
from llmpt.swarm.sampling import count, receivers, sample, verified
from llmpt.swarm.session import await_listening, limits, listening, open_session
from llmpt.swarm.torrent import Torrent, key_of
from llmpt.swarm.types import EngineSettings, Receiver, SeededBlob, Totals

ALERTS_THREAD = "swarm-alerts"
BUSY_TICK_S = 0.1
IDLE_TICK_S = 1.0
LIMITS_INTERVAL_S = 30.0
DISK_TIMEOUT_S = 60.0


class Engine:
    """A context manager that owns the session. Its methods can be called from any thread.

    Raises `SwarmError` on entry when it cannot listen on its port.
    """

    def __init__(self, settings: EngineSettings, *, user_agent: str = "llmpt") -> None:
        self._settings = settings
        self._user_agent = user_agent
        self._session: Any = None
        self._lock = threading.RLock()
        self._torrents: dict[Etag, Torrent] = {}
        self._by_hash: dict[bytes, Torrent] = {}
        self._announce_url: str | None = None
        self._totals = Totals()
        self.came_at = time.monotonic()  # when bytes of any download were last seen to have come
        self._counted_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Engine:
        self._session = open_session(self._settings, user_agent=self._user_agent)
        await_listening(self._session, self._settings)
        self._thread = threading.Thread(target=self._run, name=ALERTS_THREAD, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._session.post_session_stats()  # it waits for an alert
            self._thread.join()
        with self._lock:
            for torrent in self._torrents.values():
                if torrent.download is not None:
                    torrent.download.fail("the agent is stopping")
            self._torrents.clear()
            self._by_hash.clear()
        self._session = None  # its destructor announces `stopped` and waits for that, at most stop_tracker_timeout

    @property
    def port(self) -> int:
        """The TCP port that peers connect to."""
        return int(self._session.listen_port())

    @property
    def shares(self) -> bool:
        """Whether anything is given to others."""
        return self._settings.shares

    # Seeding

    def seed(self, blob: SeededBlob, *, announce_url: str | None = None) -> None:
        """Seed a verified blob from where it lies; again with another path: from there. Not at all when nothing is shared."""
        with self._lock:
            known = self._torrents.get(blob.etag)
            if known is not None:
                if known.running:
                    return
                self._remove(known)
            if not self._settings.shares:
                return
            self._add(blob.etag, in_place(blob), announce_url, None)

    def withdraw(self, etag: Etag) -> None:
        """Stop seeding or downloading a blob; announces `stopped`. Nothing is written afterwards. Unknown ones are fine."""
        with self._lock:
            torrent = self._torrents.get(etag)
            if torrent is None:
                return
            self._remove(torrent)
        if torrent.download is not None:
            # A block on its way would make the file anew after its owner has deleted it. The session answers a question
            # only after the removal, and its posix disk writes within the same thread.
            self._session.listen_port()

    def seeding(self) -> frozenset[Etag]:
        """Return the blobs that are seeded now."""
        with self._lock:
            return frozenset(
                etag for etag, torrent in self._torrents.items() if torrent.download is None or torrent.moved.is_set()
            )

    def set_announce_url(self, url: str) -> None:
        """Announce every torrent, present and future, to this URL."""
        with self._lock:
            if url == self._announce_url:
                return
            self._announce_url = url
            for torrent in self._torrents.values():
                torrent.handle.replace_trackers([{"url": url, "tier": 0}])
        self.reannounce()

    def reannounce(self) -> None:
        """Announce every torrent now: the tracker lost its peers (a new boot id)."""
        with self._lock:
            for torrent in self._torrents.values():
                torrent.handle.force_reannounce(0, -1, lt.torrent_handle.ignore_min_interval)

    def unreadable(self) -> frozenset[Etag]:
        """Return the blobs that gave file errors since the last call; their owner looks whether they are still there."""
        with self._lock:
            found = [torrent for torrent in self._torrents.values() if torrent.unreadable]
            for torrent in found:
                torrent.unreadable = False
            return frozenset(torrent.etag for torrent in found)

    def totals(self) -> Totals:
        """Return what was moved since the start, at most one second old."""
        return self._totals

    def uploaded(self) -> dict[Etag, int]:
        """Return the payload bytes uploaded of each torrent that is in the session."""
        with self._lock:
            return {etag: int(torrent.handle.status(0).total_payload_upload) for etag, torrent in self._torrents.items()}

    def receivers(self) -> dict[Etag, tuple[Receiver, ...]]:
        """Return who takes bytes of which blob at this moment."""
        found: dict[Etag, tuple[Receiver, ...]] = {}
        with self._lock:
            for etag, torrent in self._torrents.items():
                if torrent.handle.status(0).num_peers:
                    found[etag] = receivers(torrent.handle)
        return found

    def session_settings(self) -> dict[str, Any]:
        """Return the settings that libtorrent runs with, under its own names."""
        return dict(self._session.get_settings())

    def torrent_flags(self, etag: Etag) -> frozenset[str]:
        """Return the flags of a blob's torrent, under libtorrent's own names."""
        return names_of(self._get(etag).handle.flags())

    def apply_limits(self, now: datetime.time) -> None:
        """Take the limits of the local time `now`; the session's own thread does so twice a minute."""
        self._session.apply_settings(limits(self._settings, now))

    def listen_on(self, hosts: tuple[str, ...], announce_address: Address | None) -> None:
        """Listen on these addresses from now on, at the same port, and announce from there. Connections stay."""
        self._settings = replace(
            self._settings, listen=hosts, port=self.port or self._settings.port, announce_address=announce_address
        )
        self._session.apply_settings(listening(self._settings))

    # Downloading

    def download(
        self,
        metainfo: Metainfo,
        path: Path,
        *,
        peers: Iterable[tuple[str, int]],
        announce_url: str | None,
        resume: bool,
        web_seed: str | None = None,
    ) -> Download:
        """Begin to fetch a blob into the file at `path`, which exists; connect to `peers`, and to the web seed, at once.

        With `resume` what the file holds is checked first and kept where it is right. Raises `SwarmError` when the blob
        is in the session already.
        """
        download = Download(metainfo, path, peers)
        params = into_file(metainfo, path, peers=download.told_peers, resume=resume, web_seed=web_seed)
        download.checking, download.seen_at = resume, time.monotonic()
        with self._lock:
            if metainfo.etag in self._torrents:
                raise SwarmError(f"{metainfo.etag} is in the session already")
            self._add(metainfo.etag, params, announce_url, download)
        return download

    def add_peers(self, etag: Etag, peers: Iterable[tuple[str, int]]) -> None:
        """Connect a running download to more peers."""
        with self._lock:
            torrent = self._torrents.get(etag)
            if torrent is not None:
                for peer in peers:
                    torrent.handle.connect_peer(peer)

    def add_web_seed(self, etag: Etag, url: str) -> None:
        """Let a running download take bytes over HTTP from `url` (…/<etag>) too (BEP 19); once more: by a new connection."""
        self.drop_web_seed(etag, url)
        with self._lock:
            torrent = self._torrents.get(etag)
            if torrent is not None:
                torrent.handle.add_url_seed(web_seed_of(etag, url))

    def drop_web_seed(self, etag: Etag, url: str) -> None:
        """Take no more bytes over HTTP from `url`."""
        with self._lock:
            torrent = self._torrents.get(etag)
            if torrent is not None:
                torrent.handle.remove_url_seed(web_seed_of(etag, url))

    def flush(self, etag: Etag) -> None:
        """Return when every byte of a finished download can be read by others; writes nothing to it afterwards."""
        torrent = self._get(etag)
        torrent.flushed.clear()
        with torrent.said_no():
            torrent.handle.set_flags(lt.torrent_flags.upload_mode)
            torrent.handle.flush_cache()
        if not torrent.flushed.wait(DISK_TIMEOUT_S):
            raise SwarmError(f"{etag}: the disk did not take the last bytes in {DISK_TIMEOUT_S:.0f} s")

    def give_up(self, etag: Etag) -> tuple[tuple[int, int], ...]:
        """End a download that will not be whole; return the byte ranges [start, stop) of its file that are verified.

        They can be read by others when this returns, and nothing is written to the file afterwards.
        """
        torrent = self._get(etag)
        try:
            self.flush(etag)
            with torrent.said_no():
                return () if torrent.download is None else verified(torrent.handle, torrent.download)
        finally:
            self.withdraw(etag)

    def move(self, etag: Etag, destination: Path) -> None:
        """Move a finished, flushed blob to `destination` and go on seeding it there.

        When nothing is shared it is only moved. Raises `SwarmError` when the destination exists or lies on another file
        system; then nothing has changed.
        """
        torrent = self._get(etag)
        torrent.moved.clear()
        torrent.move_error = ""
        with torrent.said_no():
            torrent.handle.rename_file(0, str(destination))
        if not torrent.moved.wait(DISK_TIMEOUT_S):
            raise SwarmError(f"{etag}: not moved to {destination} in {DISK_TIMEOUT_S:.0f} s")
        if torrent.move_error:
            torrent.moved.clear()
            raise SwarmError(torrent.move_error)
        if not self._settings.shares:
            self.withdraw(etag)

    # The session's thread

    def _run(self) -> None:
        next_tick = next_stats = next_limits = time.monotonic()
        while not self._stopping.is_set():
            with self._lock:
                busy = any(torrent.running for torrent in self._torrents.values())
            self._session.wait_for_alert(int(1000 * (BUSY_TICK_S if busy else IDLE_TICK_S / 2)))
            for alert in self._session.pop_alerts():
                with self._lock:  # no torrent is withdrawn while it is looked at
                    self._handle(alert)
            now = time.monotonic()
            if busy and now >= next_tick:
                next_tick = now + BUSY_TICK_S
                self._sample()
            if now >= next_stats:
                next_stats = now + IDLE_TICK_S
                self._session.post_session_stats()
            if now >= next_limits:
                next_limits = now + LIMITS_INTERVAL_S
                self.apply_limits(datetime.datetime.now().time())

    def _handle(self, alert: Any) -> None:
        if isinstance(alert, lt.session_stats_alert):
            now = time.monotonic()
            self._totals = count(alert.values, self._totals, elapsed_s=max(now - self._counted_at, 0.001))
            self._counted_at = now
        elif (torrent := self._by_hash.get(key_of(alert))) is not None:
            torrent.on(alert)

    def _sample(self) -> None:
        with self._lock:
            running = [torrent for torrent in self._torrents.values() if torrent.running]
        for torrent in running:
            with self._lock:
                if torrent.download is not None and self._torrents.get(torrent.etag) is torrent:
                    before = torrent.download.bytes_done
                    sample(torrent.handle, torrent.download)
                    if torrent.download.bytes_done > before:
                        self.came_at = time.monotonic()

    # Helpers

    def _add(self, etag: Etag, params: Any, announce_url: str | None, download: Download | None) -> None:
        url = announce_url or self._announce_url
        if url is not None:
            params.trackers = [url]
        torrent = Torrent(etag, params.ti.info_hashes().v2.to_bytes(), download)
        self._by_hash[torrent.key] = torrent
        self._torrents[etag] = torrent
        torrent.handle = self._session.add_torrent(params)

    def _remove(self, torrent: Torrent) -> None:
        self._torrents.pop(torrent.etag, None)
        self._by_hash.pop(torrent.key, None)
        if torrent.download is not None:
            torrent.download.fail("withdrawn")
        self._session.remove_torrent(torrent.handle)

    def _get(self, etag: Etag) -> Torrent:
        with self._lock:
            torrent = self._torrents.get(etag)
        if torrent is None:
            raise SwarmError(f"{etag} is not in the session")
        return torrent
