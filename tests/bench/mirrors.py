"""The upstream queue with a row for each of many files: what a knock costs the seeder and the tracker, and one file more.

A real tracker; the seeder's queue holds what it may, and reads as at a knock. The reference is the reading of the whole queue, as
seeders of old do it at each knock.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import insert

from llmpt.core.mirrors import OPEN, MirrorAsk
from llmpt.core.repo import RepoRef
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.upstream.queue import MirrorQueue
from llmpt_tracker.database.mirrors import MirrorRow
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import mirrors
from tests.support.tracker import TrackerProcess

ROWS = (200, 2_000, 20_000)
TIMES = 5
COMMIT = "c" * 40


def main() -> None:
    """Print both costs for each length of the queue."""
    for rows in ROWS:
        with tempfile.TemporaryDirectory() as folder, TrackerProcess(Path(folder) / "data") as tracker:
            now = datetime.now(timezone.utc)
            with Database(f"sqlite:///{tracker.data / 'tracker.db'}") as database:
                with database.writing() as session:
                    session.execute(insert(MirrorRow), [_row(number, now) for number in range(rows)])
                client = TrackerClient(tracker.url, token=tracker.token, timeout_s=60)
                queue = MirrorQueue(lambda one=client: one, read=lambda one=client: one.mirrors_in_order(OPEN))  # type: ignore[misc]
                taken = len(queue.take())
                whole = _seconds(lambda one=client: one.mirrors(OPEN), 1)  # type: ignore[misc]
                knock = _seconds(queue.take, TIMES)
                numbers = iter(range(rows, 2 * rows))
                more = _seconds(lambda at=now, base=database, free=numbers: _ask(base, next(free), at), 20)  # type: ignore[misc]
            print(
                f"{rows:6} rows, {taken} taken: a knock {knock * 1e3:6.0f} ms, the whole queue {whole * 1e3:6.0f} ms "
                f"({whole / knock:.0f} ×); one file more {more * 1e3:.1f} ms",
                flush=True,
            )


def _row(number: int, now: datetime) -> dict[str, object]:
    wanted = _file(number)
    about = {"key": wanted.key, "repo_type": "model", "repo_name": wanted.repo.id, "revision": COMMIT}
    return {**about, "include": json.dumps(wanted.include), "state": "queued", "requested_at": now, "wanted_at": now}


def _file(number: int) -> MirrorAsk:
    return MirrorAsk(RepoRef("model", "org/name"), COMMIT, (f"{number}.json",))


def _ask(database: Database, number: int, now: datetime) -> None:
    with database.writing() as session:
        mirrors.ask(session, _file(number), now=now, most=1_000_000)


def _seconds(do: Callable[[], object], times: int) -> float:
    began = time.monotonic()
    for _ in range(times):
        do()
    return (time.monotonic() - began) / times


if __name__ == "__main__":
    main()
