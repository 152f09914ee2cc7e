"""What of the LAN answers questions of huggingface_hub, and what the router asks of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.hook.questions.knowledge import Manifests
from llmpt.link.silence import TrackerSilence
from llmpt.tracker.blob_streams import Stretch
from llmpt.tracker.endpoint import EndpointReply


class Blobs(Protocol):
    """Where the content of small files comes from: `llmpt.tracker.small_blobs.SmallBlobs`."""

    def read(self, etag: Etag, size: int) -> bytes: ...


class Streams(Protocol):
    """Where stretches of larger files come from: `llmpt.tracker.blob_streams.BlobStreams`."""

    def part(self, etag: Etag, size: int, start: int, stop: int) -> Stretch: ...


class Endpoint(Protocol):
    """Where listings come from: `llmpt.tracker.endpoint.HubEndpoint`."""

    def standing_in_for(self, hub: str) -> Endpoint: ...

    def ask(
        self, method: str, target: str, *, program: str, part: str = "", body: bytes = b"", kind: str = ""
    ) -> EndpointReply: ...


def _say_nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Sources:
    """What of the LAN answers questions.

    manifests, endpoint, blobs: the tracker's catalogue, its endpoint of the Hub's API, and what leads to small files
    small_bytes: of files below it the content comes along with the answer; larger ones have ways of their own
    is_only: no question of a download goes to the Hub
    bridges: the last known answer stands in for a Hub that fails
    silence: what this user's other programs know of a tracker that does not answer
    doubt: is told of a file of a commit of which the Hub says something else, and what
    streams: where what a program reads of a larger file, and does not download, comes from; None: from the Hub
    """

    manifests: Manifests
    endpoint: Endpoint
    blobs: Blobs
    small_bytes: int
    is_only: bool = False
    bridges: bool = True
    silence: TrackerSilence | None = None
    streams: Streams | None = None
    doubt: Callable[[RepoRef, str, str, str], None] = _say_nothing
