"""`paths-info` with as many paths as it takes, of a revision with 20,000 files: files, folders, and what is not there.

In-process, without a network: milliseconds of CPU for each kind, beside the listing of the whole revision in the same run.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from llmpt_tracker.app import create_app
from llmpt_tracker.control.client import AnnouncerClient
from llmpt_tracker.database import schema
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import publication, publish, tokens
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import manifest, small

FILES, FOLDERS = 20_000, 5_000
ASKED = (1_000, 10_000)


def main() -> None:
    """Print what each question costs."""
    logging.disable()
    now = datetime.now(timezone.utc)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrackerSettings.read({"LLMPT_DATA": folder, "XDG_CONFIG_HOME": folder})
        with Database(settings.database_location) as database:
            schema.migrate(database, backups=Path(folder), now=now)
            lines = [small(f"folder {number % FOLDERS}/{number}.json") for number in range(FILES)]
            body = publication.PublishBody.model_validate(manifest(*lines)).model_dump_json(exclude_none=True).encode()
            with database.writing() as session:
                by = tokens.add(session, tokens.new_secret(), name="bench", now=now)
                publish.publish(session, publication.read(body), by=by, min_blob_bytes=1 << 20, now=now)
        client = create_app(settings, lambda: now, AnnouncerClient(Path(folder) / "none")).test_client()
        whole = _cpu_s(lambda: client.get("/api/models/org/name/tree/main?recursive=true"))
        print(f"the listing of {FILES} files: {whole * 1e3:.0f} ms")
        for count in ASKED:
            for kind, paths in (
                ("files", [line["path"] for line in lines[:count]]),
                ("folders", [f"folder {number}" for number in range(min(count, FOLDERS))]),
                ("nothing", [f"nothing {number}" for number in range(count)]),
            ):
                took = _cpu_s(lambda asked=paths: client.post("/api/models/org/name/paths-info/main", json={"paths": asked}))  # type: ignore[misc]
                print(f"{len(paths):6} paths, {kind:8}: {took * 1e3:6.0f} ms, {took / whole:.2f} × the listing", flush=True)


def _cpu_s(ask: Callable[[], object]) -> float:
    ask()
    began = time.process_time()
    ask()
    return time.process_time() - began


if __name__ == "__main__":
    main()
