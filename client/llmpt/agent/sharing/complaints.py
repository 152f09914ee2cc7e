"""What the swarm had under an etag was not its content: the tracker is told, once, so that no other machine need find out."""

from __future__ import annotations

import logging
import threading
from functools import partial

from llmpt.agent.sharing.right import Sharing
from llmpt.core import request_id
from llmpt.core.errors import TrackerError
from llmpt.core.metainfo import InfoHash, Metainfo

log = logging.getLogger("llmpt.agent")


class Complaints:
    """Tells the tracker with this machine's share token."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._made: set[InfoHash] = set()

    def make(self, torrent: Metainfo, reason: str) -> None:
        """Say that the content of `torrent` is wrong. Returns at once; the tracker is told behind our back."""
        if torrent.info_hash not in self._made:
            self._made.add(torrent.info_hash)
            threading.Thread(
                target=request_id.carrying(partial(self._make, torrent, reason)), name="complaint", daemon=True
            ).start()

    def _make(self, torrent: Metainfo, reason: str) -> None:
        try:
            self._sharing.call(lambda client: client.report(torrent.etag, str(torrent.info_hash), reason[:500]))
        except TrackerError as error:
            log.info("the tracker was not told that the torrent of %s is wrong: %s", torrent.etag, error)
