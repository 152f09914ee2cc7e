"""The ways from this process to the LAN: the machine's agent, and the seeders' HTTP where no agent can be had."""

from __future__ import annotations

import os
from dataclasses import dataclass

from llmpt.link.client import AgentClient
from llmpt.link.timings import TIMINGS, LinkTimings
from llmpt.net.authorities import Trust
from llmpt.settings import ClientSettings
from llmpt.settings.known_servers import token_of, trust_of
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.reading import ReadToken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmpt.hook.questions.sources import Sources

MANIFEST_S = 1.0  # for a tracker that says nothing; one that lives, and asks its Hub where a ref points, is waited for


@dataclass(frozen=True, slots=True)
class Lan:
    """What a download asks.

    `tracker`: the tracker's URL.
    `agent`: the machine's agent, which is started if there is none.
    `blobs`: the seeders' HTTP.
    `sources`: what answers the library's questions; None: the Hub alone does.
    """

    tracker: str
    agent: AgentClient
    blobs: BlobHttp
    sources: Sources | None = None

    @classmethod
    def of(cls, settings: ClientSettings, *, timings: LinkTimings = TIMINGS) -> Lan | None:
        """Return the LAN that `settings` name; None when nothing of this process goes there."""
        if not settings.use_p2p or settings.tracker is None:
            return None
        trust = trust_of(settings.tracker, settings.ca, os.environ)
        reader = ReadToken(token_of(settings.tracker, settings.token, os.environ))
        blobs = BlobHttp(settings.tracker, stall_timeout_s=settings.stall_timeout_s, trust=trust, reader=reader)
        return cls(
            settings.tracker,
            AgentClient(settings, environ=os.environ, timings=timings),
            blobs,
            None if settings.hub == "always" else _sources(settings, settings.tracker, blobs, trust, reader),
        )


def _sources(settings: ClientSettings, tracker: str, blobs: BlobHttp, trust: Trust, reader: ReadToken) -> Sources:
    from llmpt.hook.questions.sources import Sources  # at the first question, not at an import of huggingface_hub
    from llmpt.link.silence import TrackerSilence
    from llmpt.tracker.blob_streams import BlobStreams
    from llmpt.tracker.catalogue import Catalogue
    from llmpt.tracker.client import TrackerClient
    from llmpt.tracker.endpoint import HubEndpoint
    from llmpt.tracker.small_blobs import LARGEST_BYTES, SmallBlobs

    return Sources(
        Catalogue(TrackerClient(tracker, timeout_s=MANIFEST_S, trust=trust).read_with(reader).patient()),
        HubEndpoint(tracker, trust=trust, reader=reader),
        SmallBlobs(tracker, trust=trust, reader=reader),
        small_bytes=min(settings.min_blob_bytes, LARGEST_BYTES),
        is_only=settings.hub == "never",
        bridges=settings.hub_down == "use-lan",
        silence=TrackerSilence(tracker, os.environ),
        streams=BlobStreams(blobs) if settings.streams else None,
    )
