"""Which seeders may serve what is asked for: looked up for each that may not serve all."""

from __future__ import annotations

from collections.abc import Callable

from llmpt_tracker.control.messages import BlobAddress
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import servers


def may_serve(database: Database, etag: str, place: servers.Place | None = None) -> Callable[[BlobAddress], bool]:
    """Return what says whether a seeder may serve a blob, as the file at `place`, or wherever it stands (None)."""

    def said(server: BlobAddress) -> bool:
        with database.reading() as session:
            return servers.may_serve(session, etag, token_id=server.token_id, seeder=server.seeder, place=place)

    return said
