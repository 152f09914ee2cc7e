"""A big catalogue, written into the database of a tracker that does not run: publishing so much takes minutes."""

from __future__ import annotations

import contextlib
import sqlite3
from hashlib import sha1, sha256
from pathlib import Path

from llmpt_tracker.rules import search

MOMENT = "2026-11-22 12:00:00.000000"
FOUND_BY_WORDS = 10
NAMES = ("llama", "qwen", "mistral", "gemma", "whisper", "bert", "phi", "flux")


def fill(file: Path, *, repos: int, files: int, in_one: int = 0) -> int:
    """Add `repos` repos of `files` blobs each, and where it is asked for one dataset, `big/listing`, of `in_one`; return how many
    blobs. Their torrents have no metainfo; the first ten files of each repo are found by words."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("pragma synchronous=off")
        with database:
            return _fill(database, repos, files, in_one)


def _fill(database: sqlite3.Connection, repos: int, files: int, in_one: int) -> int:
    named = [("model", f"lab-{at % 97}/{NAMES[at % len(NAMES)]}-{at}", files) for at in range(repos)]
    if in_one:
        named.append(("dataset", "big/listing", in_one))
    first = database.execute("select coalesce(max(id), 0) + 1 from blobs").fetchone()[0]
    blob = first
    for kind, name, count in named:
        head = (kind, name, name.lower())
        repo = database.execute("insert into repos (type, name, folded) values (?, ?, ?)", head).lastrowid
        commit = sha1(name.encode()).hexdigest()
        row = (repo, commit, True, MOMENT)
        insert = 'insert into revisions (repo_id, "commit", complete, published_at) values (?, ?, ?, ?)'
        revision = database.execute(insert, row).lastrowid
        database.execute("insert into refs (repo_id, name, revision_id, holders) values (?, 'main', ?, 2)", (repo, revision))
        blobs, lines, paths = [], [], []
        for at in range(count):
            digest = sha256(f"{name} {at}".encode()).digest()
            path, size = f"part-{at // 1000:02}/model-{at:05}-of-{count:05}.safetensors", 2_000_000 + 1000 * at
            blobs.append((blob, digest.hex(), size, digest, digest[:20], MOMENT))
            lines.append((revision, path, size, digest.hex(), True, 2, blob))
            if at < FOUND_BY_WORDS:
                paths.append((repo, path, search.words(name, path)))
            blob += 1
        insert = "insert into blobs (id, etag, size, info_hash, swarm, published_at) values (?, ?, ?, ?, ?, ?)"
        database.executemany(insert, blobs)
        insert = "insert into files (revision_id, path, size, etag, lfs, holders, blob_id) values (?, ?, ?, ?, ?, ?, ?)"
        database.executemany(insert, lines)
        database.executemany("insert into paths (repo_id, path, words) values (?, ?, ?)", paths)

    return int(blob - first)
