"""The engine's half for what comes in: begin, find more sources, flush, move; or give up what has not come."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.swarm.download import Download
from llmpt.swarm.params import into_file, native, web_seed_of
from llmpt.swarm.sampling import verified
from llmpt.swarm.shares import Shares
from llmpt.swarm.torrents import Torrents
from llmpt.swarm.types import EngineTimings, Source


class Downloads:
    """The downloads of a session, each into a file that exists. Safe to call from any thread.

    `peer_id` is what other leechers know this machine by. With `shares` off a finished blob leaves the session as soon as it is
    moved.
    """

    def __init__(self, torrents: Torrents, timings: EngineTimings, *, peer_id: str, shares: bool) -> None:
        self._torrents, self._timings, self._peer_id, self._shares = torrents, timings, peer_id.encode(), shares

    def begin(self, source: Source, path: Path, *, resume: bool) -> Download:
        """Begin to fetch a blob into the file at `path`, which exists; connect to all of `source` at once.

        With `resume` what the file holds is checked first and kept where it is right. Raises `SwarmError` when the blob
        is in the session already.
        """
        etag = source.metainfo.etag
        download = Download(source.metainfo, path, source.peers, alone_s=self._timings.alone_s)
        download.checking, download.seen_at = resume, time.monotonic()
        download.shares = Shares(self._peer_id, source.metainfo.piece_count) if self._shares else None
        with self._torrents.lock:
            if self._torrents.find(etag) is not None:
                raise SwarmError(f"{etag} is in the session already")
            params = into_file(source, path, resume=resume)
            self._torrents.know_key(etag, source.announce_key)
            self._torrents.depth.expect(params.ti.info_hashes().v2.to_bytes(), len(source.peers))
            self._torrents.add(etag, params, announce_url=source.announce_url, download=download)
        return download

    def add_peers(self, etag: Etag, peers: Iterable[tuple[str, int]]) -> None:
        """Connect a running download to more peers."""
        with self._torrents.lock:
            torrent = self._torrents.find(etag)
            if torrent is not None:
                for peer in peers:
                    torrent.handle.connect_peer(peer)

    def add_web_seed(self, etag: Etag, url: str) -> None:
        """Let a running download take bytes over HTTP from `url` (…/<etag>) too (BEP 19); once more: by a new connection."""
        self.drop_web_seed(etag, url)
        with self._torrents.lock:
            torrent = self._torrents.find(etag)
            if torrent is not None:
                torrent.handle.add_url_seed(web_seed_of(etag, url))

    def drop_web_seed(self, etag: Etag, url: str) -> None:
        """Take no more bytes over HTTP from `url`."""
        with self._torrents.lock:
            torrent = self._torrents.find(etag)
            if torrent is not None:
                torrent.handle.remove_url_seed(web_seed_of(etag, url))

    def flush(self, etag: Etag) -> None:
        """Return when every byte of a finished download can be read by others; writes nothing to it afterwards."""
        torrent = self._torrents.get(etag)
        torrent.flushed.clear()
        with torrent.said_no():
            torrent.handle.set_flags(lt.torrent_flags.upload_mode)
            torrent.handle.flush_cache()
        if not torrent.flushed.wait(self._timings.disk_timeout_s):
            raise SwarmError(f"{etag}: the disk did not take the last bytes in {self._timings.disk_timeout_s:.0f} s")

    def give_up(self, etag: Etag) -> tuple[tuple[int, int], ...]:
        """End a download that will not be whole; return the byte ranges [start, stop) of its file that are verified.

        They can be read by others when this returns, and nothing is written to the file afterwards.
        """
        torrent = self._torrents.get(etag)
        try:
            self.flush(etag)
            with torrent.said_no():
                return () if torrent.download is None else verified(torrent.handle, torrent.download)
        finally:
            self._torrents.withdraw(etag)

    def move(self, etag: Etag, destination: Path) -> None:
        """Move a finished, flushed blob to `destination` and go on seeding it there.

        When nothing is shared it is only moved. For a download that was begun with the very path of its file. Raises
        `SwarmError` when the destination exists or lies on another file system; then nothing has changed.
        """
        torrent = self._torrents.get(etag)
        torrent.moved.clear()
        torrent.move_error = ""
        with torrent.said_no():
            torrent.handle.rename_file(0, native(destination))
        if not torrent.moved.wait(self._timings.disk_timeout_s):
            raise SwarmError(f"{etag}: not moved to {destination} in {self._timings.disk_timeout_s:.0f} s")
        if torrent.move_error:
            torrent.moved.clear()
            raise SwarmError(torrent.move_error)
        self._go_on(etag)

    def moved(self, etag: Etag, descriptor: int, link: Path, place: Path) -> None:
        """A finished, flushed blob was moved to `place`: go on seeding the file that is open as `descriptor`, and no other.

        It was begun with the path `link`. When this returns nothing goes on any more that was begun before. Raises `SwarmError`
        when it is not in the session, `OSError` when it cannot be held, and another user could put another file there.
        """
        torrent = self._torrents.get(etag)
        self._torrents.hold(torrent, descriptor, link, place)
        torrent.moved.set()
        self._torrents.session.listen_port()  # the session answers after what it is at
        self._go_on(etag)

    def _go_on(self, etag: Etag) -> None:
        if not self._shares:
            self._torrents.withdraw(etag)
