"""A catalogue of 1,000,000 files, on SQLite: look-ups by repo and by etag, searches, publishing, and how long other writers wait.

10,000 repos of one revision with 100 files each, each with a torrent, are written by SQL; then the application is asked, in this
process, by its own routes. Of other writers one writes a row of the audit log every 20 ms while a manifest of 100,000 files is
published in the parts in which a seeder does. A floor is measured beside: a row by its key, from the same file.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Flask

from llmpt_tracker.app import create_app
from llmpt_tracker.clock import utc_now
from llmpt_tracker.database import schema
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import audit, publication, publish, tokens
from llmpt_tracker.rules.search import words
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import big, manifest, packed, torrent
from tests.unit.tracker.conftest import Api, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

REPOS, FILES = 10_000, 100
ASKED = 300
NAMES = ("llama", "qwen", "mistral", "gemma", "phi", "falcon", "bert", "whisper", "clip", "t5")
PART = 5000  # of a manifest: what a seeder publishes at once
MANY = 100_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = TrackerSettings.read({"LLMPT_DATA": folder, "XDG_CONFIG_HOME": folder})
        file = Path(folder) / "tracker.db"
        with Database(settings.database_location) as database:
            schema.migrate(database, backups=Path(folder), now=utc_now())
            with database.writing() as session:
                by = tokens.new_secret()
                tokens.add(session, by, name="bench", now=utc_now(), appliance=True)
        began = time.perf_counter()
        _fill(file)
        size = file.stat().st_size / 1e6
        print(f"{REPOS * FILES:,} files in {REPOS:,} repos: {size:.0f} MB, written in {time.perf_counter() - began:.0f} s")
        app = create_app(settings, utc_now, FakeAnnouncer(), blobs=FakeBlobs())
        _look_up(app, file)
        _publish(Api(app, by))
        _others_wait(state_of(app).database)
        state_of(app).database.engine.dispose()


def _etag(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def _repo(number: int) -> str:
    return f"org{number % 500}/{NAMES[number % len(NAMES)]}-{number}-{number % 70}b"


def _path(number: int) -> str:
    return f"model-{number:05}-of-{FILES:05}.safetensors"


def _fill(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        for table, rows in _rows():
            connection.executemany(f"insert into {table} values ({','.join('?' * len(rows[0]))})", rows)
        connection.execute("analyze")
    connection.close()


def _rows() -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    now = "2026-11-01 00:00:00.000000"
    for repo in range(1, REPOS + 1):
        name, commit = _repo(repo), f"{repo:040x}"
        keys = range((repo - 1) * FILES + 1, repo * FILES + 1)
        hashes = [hashlib.sha256(b"info%d" % key).digest() for key in keys]
        yield "repos (id, type, name, folded)", [(repo, "model", name, name)]
        yield 'revisions (id, repo_id, "commit", complete, published_at)', [(repo, repo, commit, 1, now)]
        yield "refs (repo_id, name, revision_id, holders)", [(repo, "main", repo, 4)]
        yield (
            "blobs (id, etag, size, info_hash, swarm, published_at, token_id, metainfo_bytes)",
            [(key, _etag(key), 1 << 30, info, info[:20], now, 1, 200) for key, info in zip(keys, hashes, strict=True)],
        )
        yield "metainfo (blob_id, data)", [(key, bytes(200)) for key in keys]
        yield (
            "files (revision_id, path, size, etag, lfs, holders, blob_id)",
            [(repo, _path(key - keys.start), 1 << 30, _etag(key), 1, 4, key) for key in keys],
        )
        yield (
            "paths (repo_id, path, words)",
            [(repo, _path(key - keys.start), words(name, _path(key - keys.start))) for key in keys],
        )


def _look_up(app: Flask, file: Path) -> None:
    chance, client = random.Random(7), app.test_client()

    def ask(path: str) -> None:
        assert client.get(path).status_code == 200, path

    def some() -> int:
        return chance.randrange(1, REPOS + 1)

    connection = sqlite3.connect(file)
    floor = _times(lambda: connection.execute("select * from blobs where id = ?", (some() * FILES,)).fetchone())
    connection.close()
    _show("a row by its key (floor)", floor, bar_ms=None)
    _show("by etag", _times(lambda: ask(f"/api/v1/torrents?etag={_etag(some() * FILES)}")), bar_ms=20)
    _show("by repo", _times(lambda: ask(f"/api/v1/torrents?repo_type=model&repo_id={_repo(some())}")), bar_ms=20)
    _show("by repo and path", _times(lambda: ask(f"/api/v1/torrents?repo_id={_repo(some())}&path={_path(7)}")), bar_ms=20)
    for what, question in _QUESTIONS.items():
        for route in ("torrents", "repos"):
            times = _times(lambda at=f"/api/v1/{route}?q={question}": ask(at), count=ASKED // 10)  # type: ignore[misc]
            _show(f"search {route}, {what} ({question})", times, bar_ms=100)
    _show("the front page", _times(lambda: ask("/"), count=20), bar_ms=100)


_QUESTIONS = {
    "one repo": "qwen+1231",
    "a tenth of all": "llama",
    "all": "safetensors",
    "a file of each": "00007",
    "the beginning of many": "mo",
    "two that all have": "model+safetensors",
    "what is nowhere": "nothing",
}


def _publish(api: Api) -> None:
    torrents = [torrent(f"new{number}") for number in range(1000)]
    body = manifest(*(big(f"f{number}", one) for number, one in enumerate(torrents)), torrents=packed(*torrents))
    for what, bar_ms in (("publish a revision of 1,000 files with torrents", 1000), ("the same again", 50)):
        began = time.perf_counter()
        assert api.publish(body).status_code == 200
        _show(what, [time.perf_counter() - began], bar_ms=bar_ms)


def _others_wait(database: Database) -> None:
    done, waits = threading.Event(), list[float]()

    def write() -> None:
        while not done.wait(0.02):
            began = time.perf_counter()
            with database.writing() as session:
                audit.note(session, "bench", audit.Actor(), now=utc_now())
            waits.append(time.perf_counter() - began)

    other = threading.Thread(target=write)
    other.start()
    began = time.perf_counter()
    files = [{"path": f"data/{n:06}.parquet", "size": 5, "etag": f"{n:040x}", "lfs": False} for n in range(MANY)]
    for start in range(0, MANY, PART):
        _enter(database, files[start : start + PART], more=start + PART < MANY)
    done.set()
    other.join()
    _show(f"another writer, while {MANY:,} files are published in {time.perf_counter() - began:.1f} s", waits, bar_ms=500)


def _enter(database: Database, files: list[dict[str, Any]], *, more: bool) -> None:
    body = {"repo_type": "dataset", "repo_id": "org/many", "commit": "f" * 40, "refs": ["main"], "files": files, "more": more}
    said = publication.read(_json(body))
    with database.writing() as session:
        publish.publish(session, said, by=tokens.get(session, 1), min_blob_bytes=1 << 20, now=utc_now())


def _json(body: dict[str, Any]) -> bytes:
    import json

    return json.dumps(body).encode()


def _times(ask: Callable[[], object], *, count: int = ASKED) -> list[float]:
    for _ in range(3):
        ask()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return times


def _show(what: str, times: Sequence[float], *, bar_ms: float | None) -> None:
    ordered = sorted(times)
    p99 = 1000 * ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    bar = "" if bar_ms is None else f" (bar {bar_ms:g} ms: {'held' if p99 <= bar_ms else 'MISSED'})"
    print(f"  {what}: p50 {1000 * statistics.median(ordered):.2f} ms, p99 {p99:.2f} ms{bar}", flush=True)


if __name__ == "__main__":
    main()
