"""A seeder's HTTP as one more source of a running download (BEP 19): for whom BitTorrent gives nothing.

It is taken when nobody can be connected, and when nothing comes any more. It is let go of when other machines want the same
and a seeder sends it by BitTorrent: then they trade, and shall not all pull from the one server.
"""

from __future__ import annotations

import logging
import time

from llmpt.agent.directory import Directory
from llmpt.core.blob import Etag
from llmpt.swarm import Download, Engine

log = logging.getLogger("llmpt.agent")

RENEW_S = 2.5


class WebSeed:
    """The web seed of one download. `used`: it is one of its sources now; `taken_at` (monotonic seconds): since when."""

    def __init__(self, engine: Engine, directory: Directory, etag: Etag, url: str | None = None) -> None:
        """`url`: where the download takes it from already."""
        self._engine, self._directory, self._etag = engine, directory, etag
        self._url = url
        self._seeder_bytes = 0
        self.taken_at = 0.0

    @property
    def used(self) -> bool:
        return self._url is not None

    def take(self, download: Download) -> bool:
        """Take the blob over HTTP, by a new connection if need be; False when no seeder gives it so."""
        url = self._directory.blob_url(self._etag)
        if self._url is not None and self._url != url:
            self._engine.downloads.drop_web_seed(self._etag, self._url)
        self._url, self._seeder_bytes, self.taken_at = url, download.seeder_bytes, time.monotonic()
        if url is None:
            return False
        log.info("%s: over HTTP from %s", self._etag, url.partition("/blobs/")[0])
        self._engine.downloads.add_web_seed(self._etag, url)
        return True

    def renew(self, download: Download) -> bool:
        """Nothing comes: take it, unless that has just been done; whether it was."""
        return (self._url is None or time.monotonic() - self.taken_at > RENEW_S) and self.take(download)

    def spare(self, download: Download) -> None:
        """Let go of it where it is not needed."""
        if self._url is not None and download.leechers and download.seeder_bytes > self._seeder_bytes:
            log.info("%s: no more over HTTP, since a seeder sends it to %d leechers", self._etag, download.leechers + 1)
            self._engine.downloads.drop_web_seed(self._etag, self._url)
            self._url = None
