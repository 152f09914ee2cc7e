"""What `llmpt status` shows: the agent's state as one JSON object."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmpt.agent.directory import Directory
from llmpt.agent.host.listening import Listening
from llmpt.agent.seeding.seeds import Seeds
from llmpt.agent.sharing.right import Sharing
from llmpt.agent.transfer.jobs import Jobs
from llmpt.host.loops import Health
from llmpt.link import fields
from llmpt.swarm import Engine


@dataclass(frozen=True)
class Report:
    """Reads the parts of an agent, and changes nothing. `mode` is LLMPT_AGENT."""

    engine: Engine
    directory: Directory
    seeds: Seeds
    jobs: Jobs
    listening: Listening
    sharing: Sharing | None
    mode: str
    health: Health
    started: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        totals = self.engine.totals()
        return {
            "pid": os.getpid(),
            "mode": self.mode,
            "uptime_s": round(time.monotonic() - self.started, 1),
            "tracker": self.directory.client.url,
            "tracker_answers": self.directory.answers,
            "tracker_version": self.directory.tracker_version,
            "address": self.directory.address,
            "reachable": self.directory.reachable,
            "listen": list(self.listening.hosts),
            "port": self.engine.port,
            "uploaded_bytes": totals.uploaded_bytes,
            "downloaded_bytes": totals.downloaded_bytes,
            "upload_rate_bytes_s": totals.upload_rate_bytes_s,
            "download_rate_bytes_s": totals.download_rate_bytes_s,
            "peers": totals.peers,
            "seeding": self._seeding(),
            "restoring": self.seeds.restoring,
            "not_seeded": [{"path": fields.written(path), "reason": reason} for path, reason in self._not_seeded()],
            "troubles": [trouble.as_json() for trouble in self.health.troubles()],
            "sharing": {"why_not": "LLMPT_SHARE=off" if self.sharing is None else self.sharing.why_not},
            "fetching": self._fetching(),
            "ended": dict(self.jobs.ended),
            "downloads": [record.as_json() for record in list(self.jobs.records)],
        }

    def _fetching(self) -> list[dict[str, Any]]:
        return [{"etag": str(one.etag), "size": one.size, "bytes": one.done_bytes} for one in self.jobs.fetching()]

    def _not_seeded(self) -> list[tuple[Path, str]]:
        kept = [] if self.engine.shares else [(blob.path, "LLMPT_SHARE=off") for blob in self.seeds.all()]
        return [*kept, *self.seeds.withheld()]

    def _seeding(self) -> list[dict[str, Any]]:
        if not self.engine.shares:
            return []
        uploaded, receivers = self.engine.uploaded(), self.engine.receivers()
        return [
            {
                "etag": str(blob.etag),
                "size": blob.size,
                "path": fields.written(blob.path),
                "uploaded_bytes": uploaded.get(blob.etag, 0),
                "to": [{"address": to.address, "rate_bytes_s": to.rate_bytes_s} for to in receivers.get(blob.etag, ())],
            }
            for blob in self.seeds.all()
        ]
