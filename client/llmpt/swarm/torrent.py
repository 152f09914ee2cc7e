"""One torrent of the session: its handle, what we wait for on it, and what its alerts mean."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libtorrent as lt

from llmpt.core.blob import Etag
from llmpt.core.errors import SwarmError
from llmpt.swarm.download import RUNNING, Download
from llmpt.swarm.held import Held
from llmpt.swarm.sampling import settle

log = logging.getLogger("llmpt.swarm")


class SessionTorrent:
    """A blob in the session. `key` is its info-hash; `download` is None when it was whole from the start.

    `held`: the file that is given of it; None: by its path
    `place`: where that was found
    """

    def __init__(self, etag: Etag, key: bytes, download: Download | None) -> None:
        self.etag, self.key, self.download = etag, key, download
        self.handle: Any = None
        self.held: Held | None = None
        self.place: Path | None = None
        self.flushed = threading.Event()
        self.moved = threading.Event()
        self.move_error = ""
        self.unreadable = False  # a file error since its owner looked

    @property
    def running(self) -> bool:
        return self.download is not None and self.download.state == RUNNING

    @contextmanager
    def said_no(self) -> Iterator[None]:
        """Translate libtorrent's exceptions: the torrent was withdrawn by another thread."""
        try:
            yield
        except RuntimeError as error:
            raise SwarmError(f"{self.etag}: {error}") from None

    def on(self, alert: Any) -> None:
        """Take note of an alert."""
        if isinstance(alert, lt.cache_flushed_alert):
            self.flushed.set()
        elif isinstance(alert, lt.file_renamed_alert):
            self.moved.set()
        elif isinstance(alert, lt.file_rename_failed_alert):
            self.move_error = _message(alert)
            self.moved.set()
        elif isinstance(alert, (lt.file_error_alert, lt.torrent_error_alert)):
            log.debug("%s: %s", self.etag, _message(alert))
            if self.download is not None and self.running:
                self.download.fail(f"the disk said no: {_message(alert)}")
            else:
                self.unreadable = True
        elif isinstance(alert, lt.tracker_error_alert):
            log.debug("%s: announce failed: %s", self.etag, alert.message())
        elif self.download is not None and self.running:
            self._on_progress(alert, self.download)

    def _on_progress(self, alert: Any, download: Download) -> None:
        if isinstance(alert, lt.torrent_checked_alert):
            download.resumed_bytes = int(self.handle.status(0).total_done) if download.checking else 0
            download.checking = False
            download.touch()
        elif isinstance(alert, lt.torrent_finished_alert):
            download.checking = False
            settle(self.handle, download)
            download.finish()
        elif isinstance(alert, lt.peer_disconnected_alert):
            download.note_end(endpoint_of(alert))
            download.touch()
        elif isinstance(alert, lt.hash_failed_alert):
            log.warning("%s: piece %s from the swarm is not what the torrent says; refused", self.etag, alert.piece_index)


def _message(alert: Any) -> str:
    """Return what an alert about a file says; without the path where that is no UTF-8, which libtorrent cannot say."""
    try:
        return str(alert.message())
    except UnicodeDecodeError:
        return str(alert.error.message())


def endpoint_of(alert: Any) -> tuple[str, int]:
    """Return the address and the port of the peer that an alert is about."""
    return str(alert.endpoint[0]), int(alert.endpoint[1])


def key_of(alert: Any) -> bytes:
    """Return the info-hash of the torrent that an alert is about; nothing when it is about none, or one that is gone."""
    try:
        return bytes(alert.handle.info_hashes().v2.to_bytes())
    except (AttributeError, RuntimeError):
        return b""
