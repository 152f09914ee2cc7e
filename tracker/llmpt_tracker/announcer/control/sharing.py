"""What the control socket is asked about sharing: polls of machines, the fetches under way, and who asks too often."""

from __future__ import annotations

import dataclasses
from typing import Any

from llmpt.core.metainfo import truncated_hex
from llmpt_tracker.announcer.leases.terms import Poll, Progress, Want
from llmpt_tracker.announcer.peers import swarms
from llmpt_tracker.announcer.tracker import Tracker

Reply = dict[str, Any]


def poll(tracker: Tracker, request: Reply) -> Reply:
    """Answer the poll of a machine, a line for each want. `swarms` names the torrents of etags: one with a seeder is here."""
    said = request["poll"]
    answers, pause_s = tracker.leases.poll(
        Poll(
            token=int(said["token"]),
            name=str(said["name"]),
            machine=str(said["machine"]),
            stall_timeout_s=float(said["stall_timeout_s"]),
            wants=tuple(Want(str(want["etag"]), int(want["size"]), str(want["repo"])) for want in said["wants"]),
            fetching=tuple(Progress(str(one["etag"]), int(one["bytes"]), int(one["rate_bytes_s"])) for one in said["fetching"]),
            published=tuple(map(str, said["published"])),
            failed=tuple(map(str, said["failed"])),
            unlimited=bool(said["unlimited"]),
        ),
        here=_here(tracker, request["swarms"]),
        now=tracker.clock(),
    )
    return {"leases": [dataclasses.asdict(answer) for answer in answers], "poll_s": round(pause_s, 3), "boot_id": tracker.boot_id}


def fetches(tracker: Tracker, request: Reply) -> Reply:
    """List what is being fetched from the Hub, the oldest first."""
    found = tracker.leases.fetches(int(request["limit"]), now=tracker.clock())
    return {"fetches": [one.as_json() for one in found]}


def take(tracker: Tracker, request: Reply) -> Reply:
    """Count one deed of somebody; `wait_s` is 0, or how long it is too early."""
    name, per_s, burst = str(request["name"]), float(request["per_s"]), float(request["burst"])
    return {"wait_s": tracker.limiter.take(name, per_s=per_s, burst=burst, now=tracker.clock())}


def _here(tracker: Tracker, named: dict[str, str]) -> set[str]:
    now = tracker.clock()
    return {
        etag
        for etag, text in named.items()
        if swarms.count(tracker.store, truncated_hex(text), visibility=tracker.visibility, now=now).seeders
    }
