"""Fetching from a Hub what the LAN asks for and nobody here has: into a Hub cache of our own, once, however many want it.

The tracker keeps the queue; `Mirroring` takes it, first what wants a listing only. `UpstreamHub` asks the Hub, `Lookup` makes
the catalogue know its answers, `Fetcher` fetches blobs by `FetchProcess`, which runs huggingface_hub's own download in a
process apart; `Growths` are the files that come in just now (clients that cannot wait are sent their beginnings), and `Shelf`
keeps the cache within its quota. `LeaseReports` tells the LAN's machines who fetches what.
"""

from __future__ import annotations

from llmpt_seeder.upstream.fetcher import Fetcher, Want
from llmpt_seeder.upstream.growing import Growths
from llmpt_seeder.upstream.hub import UpstreamHub, token_rule
from llmpt_seeder.upstream.leases import LeaseReports
from llmpt_seeder.upstream.lookup import Lookup
from llmpt_seeder.upstream.mirroring import Mirroring
from llmpt_seeder.upstream.process import FetchProcess
from llmpt_seeder.upstream.shelf import Shelf

__all__ = [
    "FetchProcess",
    "Fetcher",
    "Growths",
    "LeaseReports",
    "Lookup",
    "Mirroring",
    "Shelf",
    "UpstreamHub",
    "Want",
    "token_rule",
]
