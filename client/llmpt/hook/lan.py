"""The ways from this process to the LAN: the machine's agent, and the seeders' HTTP where no agent can be had."""

from __future__ import annotations

import os
from dataclasses import dataclass

from llmpt.link.client import AgentClient
from llmpt.link.timings import TIMINGS, LinkTimings
from llmpt.settings import ClientSettings
from llmpt.settings.known_servers import token_of, trust_of
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.reading import ReadToken


@dataclass(frozen=True, slots=True)
class Lan:
    """What a download asks.

    `tracker`: the tracker's URL.
    `agent`: the machine's agent, which is started if there is none.
    `blobs`: the seeders' HTTP.
    """

    tracker: str
    agent: AgentClient
    blobs: BlobHttp

    @classmethod
    def of(cls, settings: ClientSettings, *, timings: LinkTimings = TIMINGS) -> Lan | None:
        """Return the LAN that `settings` name; None when nothing of this process goes there."""
        if not settings.use_p2p or settings.tracker is None:
            return None
        return cls(
            settings.tracker,
            AgentClient(settings, environ=os.environ, timings=timings),
            BlobHttp(
                settings.tracker,
                stall_timeout_s=settings.stall_timeout_s,
                trust=trust_of(settings.tracker, settings.ca, os.environ),
                reader=ReadToken(token_of(settings.tracker, settings.token, os.environ)),
            ),
        )
