"""How often blobs were downloaded to the end: counted by the announcer in memory, kept here over its restarts, in batches."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import Blob


def keep(session: Session, counts: Mapping[bytes, int]) -> None:
    """Enter the totals of swarms, by truncated info-hash. A total never falls: what is late changes nothing."""
    if counts:
        table = Blob.__table__
        known = (Blob.swarm == bindparam("its_swarm"), Blob.completed < bindparam("total"))
        statement = update(table).where(*known).values(completed=bindparam("total"))  # type: ignore[arg-type]
        session.connection().execute(statement, [{"its_swarm": swarm, "total": total} for swarm, total in counts.items()])
