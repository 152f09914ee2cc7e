"""The torrents of the session: by etag, by info-hash, under the one lock that guards them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.swarm.depth import Depth
from llmpt.swarm.download import Download
from llmpt.swarm.held import Held, Holder
from llmpt.swarm.params import in_place
from llmpt.swarm.torrent import SessionTorrent, key_of
from llmpt.swarm.types import Given, SeededBlob

log = logging.getLogger("llmpt.swarm")

CROSSING_S = 5.0  # within which a `stopped` may overtake the `started` that was sent after it
AGAIN_S = 1.5  # after which such a torrent is announced once more


class Torrents:
    """All that is seeded and downloaded. `lock` is held where a torrent must not go away; the engine sets `session`.

    `depth`: how many requests each of their peers may make
    """

    def __init__(self, holder: Holder | None = None, depth: Depth | None = None) -> None:
        self._holder = holder or Holder()
        self.depth = depth or Depth()
        self._to_release: list[Held] = []
        self._lost: set[Etag] = set()
        self._held = 0
        self.lock = threading.RLock()
        self.session: Any = None
        self._by_etag: dict[Etag, SessionTorrent] = {}
        self._by_hash: dict[bytes, SessionTorrent] = {}
        self._announce_url: str | None = None
        self._announce_keys: dict[Etag, str] = {}
        self._doubted_keys: set[Etag] = set()
        self._stopped_at: dict[Etag, float] = {}
        self._crossed: dict[Etag, float] = {}  # when to announce it once more

    def all(self) -> list[SessionTorrent]:
        with self.lock:
            return list(self._by_etag.values())

    def running(self) -> list[SessionTorrent]:
        """Return those whose download is neither finished nor failed."""
        return [torrent for torrent in self.all() if torrent.running]

    def find(self, etag: Etag) -> SessionTorrent | None:
        with self.lock:
            return self._by_etag.get(etag)

    def get(self, etag: Etag) -> SessionTorrent:
        """Return a blob's torrent; raise `SwarmError` when it has none."""
        torrent = self.find(etag)
        if torrent is None:
            raise SwarmError(f"{etag} is not in the session")
        return torrent

    def of(self, alert: Any) -> SessionTorrent | None:
        """Return the torrent that an alert is about; None when it is about none, or one that is gone."""
        with self.lock:
            return self._by_hash.get(key_of(alert))

    def seed(self, blob: SeededBlob, *, announce_url: str | None) -> Given:
        """Put a verified blob into the session, if the very file can be given; an earlier torrent of it goes in any case."""
        with self.lock:
            held: Held | None = Held(blob.path)
            answer = Given.YES
            if blob.stamp is not None:
                try:
                    held = self._holder.hold(blob.path, blob.stamp, held=self._held)
                    answer = Given.YES if held is not None else Given.CHANGED
                except PermissionError as error:
                    log.debug("%s is not seeded: %s", blob.etag, error)
                    held, answer = None, Given.UNSAFE
            known = self.find(blob.etag)
            if known is not None:
                self.remove(known, comes_back=held is not None)
            if held is not None:
                torrent = self.add(blob.etag, in_place(blob, held.path), announce_url=announce_url)
                torrent.place = blob.path
                self._keep(torrent, held)
            return answer

    def hold(self, torrent: SessionTorrent, descriptor: int, link: Path, place: Path) -> None:
        """Go on giving the file that is open as `descriptor`, lies at `place`, and to which `link` leads.

        Raises `OSError` when it cannot be held, and another user could put another file there.
        """
        with self.lock:
            self._keep(torrent, self._holder.hold_open(descriptor, link, place, held=self._held))
            torrent.place = place

    def _keep(self, torrent: SessionTorrent, held: Held) -> None:
        torrent.held = held
        self._held += held.descriptor is not None

    def add(self, etag: Etag, params: Any, *, announce_url: str | None, download: Download | None = None) -> SessionTorrent:
        """Put a blob into the session, announced to `announce_url`, else to the URL of all."""
        url = announce_url or self._announce_url
        if url is not None:
            params.trackers = [self._keyed(url, etag)]
        torrent = SessionTorrent(etag, params.ti.info_hashes().v2.to_bytes(), download)
        with self.lock:
            self._by_hash[torrent.key] = torrent
            self._by_etag[etag] = torrent
            torrent.handle = self.session.add_torrent(params)
            if self._has_just_stopped(etag):
                self._crossed[etag] = time.monotonic() + AGAIN_S
        return torrent

    def _has_just_stopped(self, etag: Etag) -> bool:
        """Whether the tracker may hear `stopped` after the `started` that follows it: each goes over a connection of its own."""
        long_ago = time.monotonic() - CROSSING_S
        while self._stopped_at and next(iter(self._stopped_at.values())) < long_ago:
            del self._stopped_at[next(iter(self._stopped_at))]
        return self._stopped_at.pop(etag, None) is not None

    def remove(self, torrent: SessionTorrent, *, comes_back: bool = False) -> None:
        """Take a torrent out of the session; its download fails. One that `comes_back` at once is not announced as stopped."""
        with self.lock:
            if comes_back:
                torrent.handle.replace_trackers([])
            else:
                self._has_just_stopped(torrent.etag)
                self._stopped_at[torrent.etag] = time.monotonic()
            self._by_etag.pop(torrent.etag, None)
            self._by_hash.pop(torrent.key, None)
            self.depth.forget(torrent.key)
            if torrent.download is not None:
                torrent.download.fail("withdrawn")
            self.session.remove_torrent(torrent.handle)
            if torrent.held is not None:
                self._to_release.append(torrent.held)

    def withdraw(self, etag: Etag) -> None:
        """Take a blob out of the session. Nothing is written afterwards. Unknown ones are fine."""
        with self.lock:
            torrent = self.find(etag)
            if torrent is None:
                return
            self.remove(torrent)
        if torrent.download is not None:
            # A block on its way would make the file anew after its owner has deleted it. The session answers a question
            # only after the removal, and its posix disk writes within the same thread.
            self.session.listen_port()

    def let_go(self, etag: Etag, place: Path) -> None:
        """The file at `place` was removed: give nothing of it, and hold it no longer. It is among the `lost` then."""
        with self.lock:
            torrent = self.find(etag)
            if torrent is None or torrent.place != place:
                return
            self.remove(torrent)
            self._lost.add(etag)
        self.release()

    def lost(self) -> set[Etag]:
        """Return the blobs that were let go since the last call."""
        with self.lock:
            lost, self._lost = self._lost, set()
            return lost

    def release(self) -> None:
        """Let go of the files of what was removed: once the session can open none of them any more."""
        with self.lock:
            released, self._to_release = self._to_release, []
        if not released:
            return
        if self.session is not None:
            self.session.listen_port()  # it answers after the removal, and reads on the same thread
        for held in released:
            held.release()
        with self.lock:
            self._held -= sum(held.descriptor is not None for held in released)

    def announce_to(self, url: str) -> bool:
        """Announce every torrent, present and future, to this URL; return whether that is a new one."""
        with self.lock:
            if url == self._announce_url:
                return False
            self._announce_url = url
            for torrent in self._by_etag.values():
                torrent.handle.replace_trackers([{"url": self._keyed(url, torrent.etag), "tier": 0}])
            return True

    def know_key(self, etag: Etag, key: str) -> None:
        """Announce a torrent, present or future, behind this key; an empty one changes nothing."""
        with self.lock:
            if not key:
                return
            self._doubted_keys.discard(etag)
            if self._announce_keys.get(etag) == key:
                return
            self._announce_keys[etag] = key
            torrent = self._by_etag.get(etag)
            if torrent is not None and self._announce_url is not None:
                torrent.handle.replace_trackers([{"url": self._keyed(self._announce_url, etag), "tier": 0}])
                torrent.handle.force_reannounce(0, -1, lt.torrent_handle.ignore_min_interval)

    def without_key(self, etags: Iterable[Etag]) -> list[Etag]:
        """Return those of `etags` of which no key is known that is not doubted."""
        with self.lock:
            return [etag for etag in etags if etag not in self._announce_keys or etag in self._doubted_keys]

    def doubt_keys(self) -> None:
        """Count every torrent as without a key, until there is another."""
        with self.lock:
            self._doubted_keys.update(self._announce_keys)

    def _keyed(self, url: str, etag: Etag) -> str:
        key = self._announce_keys.get(etag)
        return f"{url}/{key}" if key else url

    def announce_crossed(self, now: float) -> None:
        """Announce once more what went and came within a moment: the tracker may have heard that in the other order."""
        with self.lock:
            for etag in [etag for etag, due in self._crossed.items() if due <= now]:
                del self._crossed[etag]
                if etag in self._by_etag:
                    self._by_etag[etag].handle.force_reannounce(0, -1, lt.torrent_handle.ignore_min_interval)

    def end(self, reason: str) -> None:
        """Forget all of them; what is on its way fails. The session ends then; after that `release` lets go of their files."""
        with self.lock:
            for torrent in self._by_etag.values():
                if torrent.download is not None:
                    torrent.download.fail(reason)
                if torrent.held is not None:
                    self._to_release.append(torrent.held)
            self._by_etag.clear()
            self._by_hash.clear()
