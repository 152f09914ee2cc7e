"""What the control socket is asked about sharing: polls of machines, the fetches under way, and askers that ask too often."""

from __future__ import annotations

from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.core.metainfo import truncated_hex
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.control.messages import Owner

Reply = dict[str, Any]


def poll(tracker: Tracker, request: Reply) -> Reply:
    """Answer the poll of a machine, a line for each want. `swarms` names the torrents of etags: one with a seeder is here."""
    said, owner = Poll.parse(request["poll"]), Owner.parse(request["owner"])
    here = _here(tracker, request["swarms"])
    listed = {Etag(etag) for etag in request["swarms"]}
    grants, pause_s = tracker.leases.poll(said, owner, here=here, listed=listed, now=tracker.clock())
    return LeaseAnswer(grants, round(pause_s, 3), tracker.boot_id, asks_hub_rate=True).as_json()


def fetches(tracker: Tracker, request: Reply) -> Reply:
    """List what is being fetched from the Hub, the oldest first."""
    found = tracker.leases.held(int(request["limit"]), now=tracker.clock())
    return {"fetches": [one.as_json() for one in found]}


def take(tracker: Tracker, request: Reply) -> Reply:
    """Count one deed of an asker; `wait_s` is 0, or how long it is too early."""
    name, per_s, burst = str(request["name"]), float(request["per_s"]), float(request["burst"])
    return {"wait_s": tracker.limiter.take(name, per_s=per_s, burst=burst, now=tracker.clock())}


def _here(tracker: Tracker, named: dict[str, str]) -> set[Etag]:
    at = tracker.moment()
    return {Etag(etag) for etag, text in named.items() if at.counts(truncated_hex(text)).seeders}
