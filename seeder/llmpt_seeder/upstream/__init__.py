"""Fetching from a Hub what the LAN asks for and does not have: into a Hub cache of our own, once, however many want it.

The tracker keeps the queue of mirrors; `MirrorQueue` takes them from it, first those that want a listing only, and `Mirroring`
does them. `UpstreamHub` asks the Hub, `Lookup` makes the catalogue know its answers, `Fetcher` fetches blobs by `FetchProcess`,
which runs huggingface_hub's own download in a process apart. `Shelf` keeps the cache within its quota, and knows which files
come in just now: clients that cannot wait are sent their beginnings. `LeaseReports` tells the LAN's machines
which one fetches what.
"""

from __future__ import annotations

from llmpt_seeder.upstream.blob import BlobState, WantedBlob
from llmpt_seeder.upstream.fetcher import Fetcher
from llmpt_seeder.upstream.hub import UpstreamHub, token_rule
from llmpt_seeder.upstream.leases import LeaseReports
from llmpt_seeder.upstream.lookup import Lookup
from llmpt_seeder.upstream.mirroring import Mirroring, Stock
from llmpt_seeder.upstream.process import FetchProcess
from llmpt_seeder.upstream.queue import MirrorQueue
from llmpt_seeder.upstream.shelf import Shelf

__all__ = [
    "BlobState",
    "FetchProcess",
    "Fetcher",
    "LeaseReports",
    "Lookup",
    "MirrorQueue",
    "Mirroring",
    "Shelf",
    "Stock",
    "UpstreamHub",
    "WantedBlob",
    "token_rule",
]
