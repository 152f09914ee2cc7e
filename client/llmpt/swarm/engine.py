"""The swarm engine: one libtorrent session, one thread that reads its alerts, a few verbs.

Seeding is in place and never writes: `have_pieces + no_verify_files + upload_mode`, without piece layers, so that 20,000
blobs cost seconds and a rotten piece can never make libtorrent write into a user's cache. A download (`Downloads`) is
written into a file that exists; when it is whole the owner flushes it, verifies it, and lets the engine move it: it goes on
seeding.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.core.networks import Address
from llmpt.host.loops import Health
from llmpt.swarm.alerts import Alerts
from llmpt.swarm.depth import Depth
from llmpt.swarm.doorkeeper import Doorkeeper
from llmpt.swarm.downloads import Downloads
from llmpt.swarm.held import Holder
from llmpt.swarm.params import names_of
from llmpt.swarm.sampling import receivers
from llmpt.swarm.session import await_listening, limits, listening, open_session, peer_filter
from llmpt.swarm.shares import make_peer_id
from llmpt.swarm.torrent import SessionTorrent
from llmpt.swarm.torrents import Torrents
from llmpt.swarm.types import EngineSettings, EngineTimings, Given, Receiver, SeededBlob, Totals, free_port


class Engine:
    """A context manager that owns the session; `downloads` is the half for what comes in. Safe to call from any thread.

    Raises `SwarmError` on entry when it cannot listen on its port.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        user_agent: str = "llmpt",
        timings: EngineTimings | None = None,
        health: Health | None = None,
        holder: Holder | None = None,
    ) -> None:
        """`health` hears of what the session's thread strikes on; `holder` opens what is seeded."""
        timings = timings or EngineTimings()
        self._settings = settings
        self._user_agent, self._peer_id = user_agent, make_peer_id()
        self._session: Any = None
        self._torrents = Torrents(
            holder, Depth(lambda depth: self._session.apply_settings({"max_allowed_in_request_queue": depth}))
        )
        self._alerts = Alerts(
            self._torrents,
            timings,
            on_limits=lambda: self.apply_limits(datetime.datetime.now().time()),
            door=Doorkeeper(
                lambda shut: self._session.set_ip_filter(peer_filter(self._settings, shut)), exempt=settings.gateways
            ),
            health=health or Health(),
        )
        self.downloads = Downloads(self._torrents, timings, peer_id=self._peer_id, shares=settings.shares)

    def __enter__(self) -> Engine:
        wanted = self._settings
        while True:
            if wanted.or_another_port or not wanted.port:
                self._settings = replace(wanted, port=free_port(wanted.port))
            self._session = self._torrents.session = open_session(
                self._settings, user_agent=self._user_agent, peer_id=self._peer_id
            )
            try:
                await_listening(self._session, self._settings)
            except SwarmError:
                self._session = self._torrents.session = None
                if self._settings is wanted or free_port(self._settings.port) == self._settings.port:
                    raise
                continue  # another process has taken it meanwhile
            self._alerts.start()
            return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._alerts.stop()
        self._torrents.end("the agent is stopping")
        # Its destructor announces `stopped` and waits for that, at most stop_tracker_timeout.
        self._session = self._torrents.session = None
        self._torrents.release()

    @property
    def port(self) -> int:
        """The TCP port that peers connect to."""
        return int(self._session.listen_port())

    @property
    def shares(self) -> bool:
        """Whether anything is given to others."""
        return self._settings.shares

    @property
    def came_at(self) -> float:
        """When bytes of any download were last seen to have come (monotonic seconds)."""
        return self._alerts.came_at

    # Seeding

    def seed(self, blob: SeededBlob, *, announce_url: str | None = None) -> Given:
        """Seed a verified blob from where it lies; again: from where it lies now. Not at all when nothing is shared."""
        with self._torrents.lock:
            known = self._torrents.find(blob.etag)
            if known is not None:
                if known.running:
                    return Given.YES
                if not self._settings.shares:
                    self._torrents.remove(known)
            return self._torrents.seed(blob, announce_url=announce_url) if self._settings.shares else Given.YES

    def withdraw(self, etag: Etag) -> None:
        """Stop seeding or downloading a blob; announces `stopped`. Nothing is written afterwards. Unknown ones are fine."""
        self._torrents.withdraw(etag)

    def let_go(self, etag: Etag, path: Path) -> None:
        """The file at `path` was removed: its room is free when this returns. Its owner finds the blob `unreadable`."""
        self._torrents.let_go(etag, path)

    def seeding(self) -> frozenset[Etag]:
        """Return the blobs that are seeded now."""
        return frozenset(torrent.etag for torrent in self._torrents.all() if torrent.download is None or torrent.moved.is_set())

    def unreadable(self) -> frozenset[Etag]:
        """Return the blobs that gave file errors since the last call; their owner looks whether they are still there."""
        with self._torrents.lock:
            found = [torrent for torrent in self._torrents.all() if torrent.unreadable]
            for torrent in found:
                torrent.unreadable = False
            return frozenset(self._torrents.lost()).union(torrent.etag for torrent in found)

    # The tracker

    def set_announce_url(self, url: str) -> None:
        """Announce every torrent, present and future, to this URL."""
        if self._torrents.announce_to(url):
            self.reannounce()

    def know_announce_keys(self, keys: Mapping[Etag, str]) -> None:
        """Announce these torrents behind these keys from now on."""
        for etag, key in keys.items():
            self._torrents.know_key(etag, key)

    def doubt_announce_keys(self) -> None:
        """Count every torrent as without a key, until there is another; it is announced as before meanwhile."""
        self._torrents.doubt_keys()

    def without_announce_key(self) -> list[Etag]:
        """Return what is seeded and has no key, or one that is doubted."""
        return self._torrents.without_key(self.seeding())

    def reannounce(self) -> None:
        """Announce every torrent now: the tracker lost its peers (a new boot id)."""
        with self._torrents.lock:
            for torrent in self._torrents.all():
                torrent.handle.force_reannounce(0, -1, lt.torrent_handle.ignore_min_interval)

    # What goes on

    def totals(self) -> Totals:
        """Return what was moved since the start, at most one second old."""
        return self._alerts.totals

    def uploaded(self) -> dict[Etag, int]:
        """Return the payload bytes uploaded of each torrent of which any were."""
        found = self._statuses(lambda status: bool(status.total_payload_upload))
        return {torrent.etag: int(status.total_payload_upload) for torrent, status in found}

    def receivers(self, of: Collection[Etag] | None = None) -> dict[Etag, tuple[Receiver, ...]]:
        """Return the peers that take bytes at this moment, for each blob; `of`: of these blobs only."""
        found: dict[Etag, tuple[Receiver, ...]] = {}
        for torrent, _ in self._statuses(lambda status: bool(status.num_peers), of):
            with suppress(RuntimeError):  # it was withdrawn at this moment
                found[torrent.etag] = receivers(torrent.handle)
        return found

    def _statuses(self, wanted: Callable[[Any], bool], of: Collection[Etag] | None = None) -> list[tuple[SessionTorrent, Any]]:
        """Return the torrents (`of`: of these blobs) whose status is `wanted`; without the lock, however many there are.

        The session's own `get_torrent_status` calls a predicate on its thread, which Python from 3.12 on does not outlive.
        """
        found = []
        for torrent in self._torrents.all() if of is None else filter(None, map(self._torrents.find, of)):
            with suppress(RuntimeError):  # it was withdrawn at this moment
                status = torrent.handle.status(0)
                if wanted(status):
                    found.append((torrent, status))
        return found

    def session_settings(self) -> dict[str, Any]:
        """Return the settings that libtorrent runs with, under its own names."""
        return dict(self._session.get_settings())

    def torrent_flags(self, etag: Etag) -> frozenset[str]:
        """Return the flags of a blob's torrent, under libtorrent's own names."""
        return names_of(self._torrents.get(etag).handle.flags())

    # The session

    def apply_limits(self, now: datetime.time) -> None:
        """Take the limits of the local time `now`; the session's own thread does so twice a minute."""
        self._session.apply_settings(limits(self._settings, now))

    def listen_on(self, hosts: tuple[str, ...], announce_address: Address | None) -> None:
        """Listen on these addresses from now on, at the same port, and announce from there. Connections stay."""
        self._settings = replace(
            self._settings, listen=hosts, port=self.port or self._settings.port, announce_address=announce_address
        )
        self._session.apply_settings(listening(self._settings))
