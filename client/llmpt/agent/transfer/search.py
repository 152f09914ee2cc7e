"""Nothing comes: perhaps others have it by now. Looked up beside the download, one look at a time.

Neither a tracker that takes its time nor a session that stands still keeps the job from seeing.
"""

from __future__ import annotations

import logging
import threading
from functools import partial

from llmpt.agent.directory import Directory, Peer
from llmpt.agent.transfer.web_seed import WebSeed
from llmpt.core import request_id
from llmpt.core.blob import Etag
from llmpt.core.errors import LlmptError
from llmpt.swarm import Download, Engine

log = logging.getLogger("llmpt.agent")


class Search:
    """Looks for more sources of one download: peers, and a seeder's HTTP (`web`)."""

    def __init__(self, engine: Engine, directory: Directory, etag: Etag, web: WebSeed) -> None:
        self._engine, self._directory, self._etag, self._web = engine, directory, etag, web
        self._thread: threading.Thread | None = None

    @property
    def is_under_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, download: Download, *, in_vain: tuple[Peer, ...]) -> None:
        """Look, unless that is under way. `in_vain`: peers of which none has answered as yet."""
        if not self.is_under_way:
            self._thread = threading.Thread(
                target=request_id.carrying(partial(self._look, download, in_vain)), name="search", daemon=True
            )
            self._thread.start()

    def _look(self, download: Download, in_vain: tuple[Peer, ...]) -> None:
        try:
            self._engine.downloads.add_peers(self._etag, self._directory.alive(self._directory.lookup(self._etag).peers))
        except LlmptError as error:
            log.debug("%s: %s", self._etag, error)
        if self._web.renew(download):
            self._directory.bury(in_vain)  # the next file need not wait for them
