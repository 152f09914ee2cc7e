"""What the seeder remembers over a restart, beside the inventory in the same file: LLMPT_DATA/seeder.db.

Its random id; the listings that the Hub gave; the tracker it last spoke to, and what was published there. Another tracker
instance (its database was made anew) makes all of the latter void.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.disk.inventory import Inventory
from llmpt_seeder.cache.listing import ListedFile
from llmpt_seeder.hub.listings import HubListing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published_torrents (etag TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published_manifests (
    repo TEXT NOT NULL, revision TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repo, revision)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hub_listings (
    repo TEXT NOT NULL, revision TEXT NOT NULL, files BLOB, asked_at REAL NOT NULL, PRIMARY KEY (repo, revision)
);
CREATE TABLE IF NOT EXISTS mirror_wanted (etag TEXT PRIMARY KEY, wanted_at REAL NOT NULL) WITHOUT ROWID;
"""


class SeederState(Inventory):
    """The seeder's whole memory; a context manager. Raises `StateUnavailable` when the file cannot be used."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        with self.transaction() as sql:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                sql.execute(statement)
        self.seeder_id = self.fact("seeder_id") or self._new_id()

    def _new_id(self) -> str:
        seeder_id = secrets.token_hex(8)
        self.keep_fact("seeder_id", seeder_id)
        return seeder_id

    def fact(self, name: str) -> str | None:
        row = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return row[0] if row else None

    def keep_fact(self, name: str, value: str) -> None:
        with self.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def use_instance(self, instance_id: str) -> bool:
        """Say which tracker instance is spoken to; return whether it is another, so that nothing counts as published."""
        if self.fact("instance_id") == instance_id:
            return False
        with self.transaction() as sql:
            sql.execute("DELETE FROM published_torrents")
            sql.execute("DELETE FROM published_manifests")
            sql.execute("INSERT OR REPLACE INTO facts VALUES ('instance_id', ?)", (instance_id,))
        return True

    def published_torrents(self) -> set[Etag]:
        with self.transaction() as sql:
            return {Etag(etag) for (etag,) in sql.execute("SELECT etag FROM published_torrents")}

    def keep_published(self, etags: list[Etag]) -> None:
        with self.transaction() as sql:
            sql.executemany("INSERT OR IGNORE INTO published_torrents VALUES (?)", [(etag.value,) for etag in etags])

    def drop_published(self, etags: list[Etag]) -> None:
        with self.transaction() as sql:
            sql.executemany("DELETE FROM published_torrents WHERE etag = ?", [(etag.value,) for etag in etags])

    def published_manifests(self) -> dict[tuple[RepoRef, str], str]:
        """Return the digests of what was last published, by repo and commit."""
        with self.transaction() as sql:
            rows = sql.execute("SELECT repo, revision, digest FROM published_manifests").fetchall()
        return {(_repo(repo), commit): digest for repo, commit, digest in rows}

    def keep_manifest(self, repo: RepoRef, commit: str, digest: str) -> None:
        with self.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO published_manifests VALUES (?, ?, ?)", (_key(repo), commit, digest))

    def hub_listing(self, repo: RepoRef, commit: str) -> HubListing | None:
        query = "SELECT files, asked_at FROM hub_listings WHERE repo = ? AND revision = ?"
        row = self._one(query, (_key(repo), commit))
        if row is None or row[0] is None:
            return HubListing(None, row[1]) if row else None
        files = json.loads(zlib.decompress(row[0]))
        return HubListing({path: ListedFile(Etag(etag), size) for path, (etag, size) in files.items()}, row[1])

    def keep_hub_listing(self, repo: RepoRef, commit: str, listing: HubListing) -> None:
        files = None
        if listing.files is not None:
            told = {path: (listed.etag.value, listed.size) for path, listed in listing.files.items()}
            files = zlib.compress(json.dumps(told, separators=(",", ":")).encode())
        with self.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO hub_listings VALUES (?, ?, ?, ?)", (_key(repo), commit, files, listing.asked_at))

    def hub_gave_nothing_at(self, repo: RepoRef) -> float | None:
        row = self._one("SELECT max(asked_at) FROM hub_listings WHERE repo = ? AND files IS NULL", (_key(repo),))
        return float(row[0]) if row[0] is not None else None

    def wanted(self) -> dict[Etag, float]:
        """Return when each blob of the mirror's cache was wanted last (seconds since 1970)."""
        return {Etag(etag): at for etag, at in self._all("SELECT etag, wanted_at FROM mirror_wanted")}

    def keep_wanted(self, times: Mapping[Etag, float], gone: Iterable[Etag]) -> None:
        with self.transaction() as sql:
            rows = [(etag.value, at) for etag, at in times.items()]
            sql.executemany("INSERT OR REPLACE INTO mirror_wanted VALUES (?, ?)", rows)
            sql.executemany("DELETE FROM mirror_wanted WHERE etag = ?", [(etag.value,) for etag in gone])


def _key(repo: RepoRef) -> str:
    return f"{repo.type}:{repo.id}"


def _repo(key: str) -> RepoRef:
    kind, _, repo_id = key.partition(":")
    return RepoRef(kind, repo_id)
