"""A seeder's HTTP as one more source of a running download (BEP 19), where BitTorrent gives nothing.

It is taken when no peer can be connected, and when nothing comes any more. It is let go of when other machines want the same
and a seeder sends it by BitTorrent: then they trade, and should not all pull from the one server.
"""

from __future__ import annotations

import logging
import time

from llmpt.agent.directory import Directory
from llmpt.agent.transfer.sight import Http
from llmpt.core.blob import Etag
from llmpt.swarm import Download, Engine

log = logging.getLogger("llmpt.agent")


class WebSeed:
    """The web seed of one download: `state` now, and since when (`asked_at`, monotonic seconds) it was taken or asked for."""

    def __init__(self, engine: Engine, directory: Directory, etag: Etag, url: str | None = None, *, again_s: float = 2.5) -> None:
        """`url`: where the download takes it from already; after `again_s` without a byte it is tried anew."""
        self._engine, self._directory, self._etag = engine, directory, etag
        self._url, self._again_s = url, again_s
        self._seeder_bytes = 0
        self.asked_at = float("-inf")

    @property
    def state(self) -> Http:
        if self._url is not None:
            return Http.TAKEN
        return Http.UNTRIED if time.monotonic() - self.asked_at > self._again_s else Http.NOT_THERE

    def take(self, download: Download) -> bool:
        """Take the blob over HTTP, by a new connection if need be; False when no seeder gives it so."""
        url = self._directory.blob_url(self._etag)
        if self._url is not None and self._url != url:
            self._engine.downloads.drop_web_seed(self._etag, self._url)
        self._url, self._seeder_bytes, self.asked_at = url, download.seeder_bytes, time.monotonic()
        if url is None:
            return False
        log.info("%s: over HTTP from %s", self._etag, url.partition("/blobs/")[0])
        self._engine.downloads.add_web_seed(self._etag, url)
        return True

    def renew(self, download: Download) -> bool:
        """Nothing comes: take it, unless that has just been done; whether it was."""
        return time.monotonic() - self.asked_at > self._again_s and self.take(download)

    def is_spare(self, download: Download) -> bool:
        """Whether others want the blob too, and a seeder has sent of it by BitTorrent since HTTP was taken."""
        return self._url is not None and download.leechers > 0 and download.seeder_bytes > self._seeder_bytes

    def drop(self, download: Download) -> None:
        """Take no more over HTTP."""
        if self._url is not None:
            log.info("%s: no more over HTTP, since a seeder sends it to %d leechers", self._etag, download.leechers + 1)
            self._engine.downloads.drop_web_seed(self._etag, self._url)
            self._url = None
