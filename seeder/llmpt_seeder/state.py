"""What the seeder remembers over a restart, beside the inventory in the same file: LLMPT_DATA/seeder.db.

Its random id; the listings that the Hub gave; the tracker it last spoke to, and what was published there. Another tracker
instance (its database was made anew) makes all of the latter void.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidName, StateUnavailable
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.database import Way, opened
from llmpt.disk.inventory import Inventory
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import Problem
from llmpt_seeder.cache.listing import MAX_LISTING_BYTES, ListedFile
from llmpt_seeder.hub.listings import HubListing

log = logging.getLogger("llmpt.seeder")

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
CREATE TABLE IF NOT EXISTS mirror_askers (
    etag TEXT NOT NULL, asker TEXT NOT NULL, asked_at REAL NOT NULL, PRIMARY KEY (etag, asker)
) WITHOUT ROWID;
"""


class SeederState(Inventory):
    """The seeder's whole memory; a context manager. Raises `StateUnavailable` when the file cannot be used that way.

    What a look at the cache or at the Hub brings anew is no reason to stop: the methods `keep_…` and `drop_…` say whether they
    could, and `trouble` says why not. What must be kept before it counts (`remember`, `condemn`) raises.
    """

    schema = Inventory.schema + _SCHEMA

    def __init__(self, database: Path, way: Way = Way.ORDINARY) -> None:
        super().__init__(database, way)
        self.notice: str | None = None
        self.trouble: str | None = None
        self._is_open = False  # what is damaged from the start is for `open_state`
        try:
            self._check()
            self.seeder_id = self.fact("seeder_id") or ""
        except StateUnavailable:
            self.close()
            raise
        self._is_open = True
        if not self.seeder_id:
            self.seeder_id = secrets.token_hex(8)
            self.keep_fact("seeder_id", self.seeder_id)

    def begin_anew(self) -> None:
        super().begin_anew()
        self.notice = f"{self._database} was damaged: it is made anew, and each file is read again after the next start"
        self.keep_fact("seeder_id", self.seeder_id)

    def fact(self, name: str) -> str | None:
        row = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return row[0] if row else None

    def keep_fact(self, name: str, value: str) -> bool:
        return self._kept(("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(name, value)]))

    def keep_hub_answer(self, repo: RepoRef, answer: HubAnswer, *, endpoint: str = "") -> None:
        try:
            super().keep_hub_answer(repo, answer, endpoint=endpoint)
        except StateUnavailable as error:
            self.trouble = str(error)

    def use_instance(self, instance_id: str) -> bool:
        """Say which tracker instance is spoken to; return whether it is another, so that nothing counts as published."""
        if self.fact("instance_id") == instance_id:
            return False
        self._kept(
            ("DELETE FROM published_torrents", [()]),
            ("DELETE FROM published_manifests", [()]),
            ("INSERT OR REPLACE INTO facts VALUES ('instance_id', ?)", [(instance_id,)]),
        )
        return True

    def published_torrents(self) -> set[Etag]:
        return {Etag(etag) for (etag,) in self._all("SELECT etag FROM published_torrents")}

    def keep_published(self, etags: list[Etag]) -> bool:
        return self._kept(("INSERT OR IGNORE INTO published_torrents VALUES (?)", [(etag.value,) for etag in etags]))

    def drop_published(self, etags: list[Etag]) -> bool:
        return self._kept(("DELETE FROM published_torrents WHERE etag = ?", [(etag.value,) for etag in etags]))

    def published_manifests(self) -> dict[tuple[RepoRef, str], str]:
        """Return what was last published, by repo and commit: as it was given to `keep_manifest`."""
        rows = self._all("SELECT repo, revision, digest FROM published_manifests")
        return {(_repo(repo), commit): digest for repo, commit, digest in rows}

    def keep_manifest(self, repo: RepoRef, commit: str, said: str) -> bool:
        return self._kept(("INSERT OR REPLACE INTO published_manifests VALUES (?, ?, ?)", [(_key(repo), commit, said)]))

    def drop_manifest(self, repo: RepoRef, commit: str) -> bool:
        return self._kept(("DELETE FROM published_manifests WHERE repo = ? AND revision = ?", [(_key(repo), commit)]))

    def hub_listing(self, repo: RepoRef, commit: str) -> HubListing | None:
        query = "SELECT files, asked_at FROM hub_listings WHERE repo = ? AND revision = ?"
        row = self._one(query, (_key(repo), commit))
        if row is None or row[0] is None:
            return HubListing(None, row[1]) if row else None
        try:
            files = read_json(_unpacked(row[0]), most_bytes=MAX_LISTING_BYTES)
            return HubListing({path: ListedFile(Etag(etag), size) for path, (etag, size) in files.items()}, row[1])
        except (zlib.error, ValueError, TypeError, AttributeError, InvalidName):
            return None  # it is asked for again

    def keep_hub_listing(self, repo: RepoRef, commit: str, listing: HubListing) -> bool:
        files = None
        if listing.files is not None:
            told = {path: (listed.etag.value, listed.size) for path, listed in listing.files.items()}
            files = zlib.compress(json.dumps(told, separators=(",", ":")).encode())
        row = _key(repo), commit, files, listing.asked_at
        return self._kept(("INSERT OR REPLACE INTO hub_listings VALUES (?, ?, ?, ?)", [row]))

    def hub_gave_nothing_at(self, repo: RepoRef) -> float | None:
        row = self._one("SELECT max(asked_at) FROM hub_listings WHERE repo = ? AND files IS NULL", (_key(repo),))
        return float(row[0]) if row[0] is not None else None

    def wanted(self) -> dict[Etag, float]:
        """Return when each blob of the mirror's cache was wanted last (seconds since 1970)."""
        return {Etag(etag): at for etag, at in self._all("SELECT etag, wanted_at FROM mirror_wanted")}

    def askers(self) -> dict[Etag, dict[str, float]]:
        """Return which clients asked for each of them, and when last."""
        found: dict[Etag, dict[str, float]] = {}
        for etag, asker, at in self._all("SELECT etag, asker, asked_at FROM mirror_askers"):
            found.setdefault(Etag(etag), {})[asker] = at
        return found

    def keep_wanted(self, times: Mapping[Etag, float], gone: Iterable[Etag], askers: Mapping[Etag, Mapping[str, float]]) -> bool:
        gone, known = list(gone), [(etag.value, asker, at) for etag, all_of in askers.items() for asker, at in all_of.items()]
        return self._kept(
            ("DELETE FROM mirror_askers WHERE etag = ?", [(etag.value,) for etag in (*gone, *askers)]),
            ("INSERT INTO mirror_askers VALUES (?, ?, ?)", known),
            ("INSERT OR REPLACE INTO mirror_wanted VALUES (?, ?)", [(etag.value, at) for etag, at in times.items()]),
            ("DELETE FROM mirror_wanted WHERE etag = ?", [(etag.value,) for etag in gone]),
        )

    def remember(self, path: Path, stamp: FileStamp, metainfo: Metainfo) -> None:
        super().remember(path, stamp, metainfo)
        self.trouble = None

    def problems(self) -> list[Problem]:
        """Return what is wrong with the file: since it was opened (`notice`), and now (`trouble`)."""
        return [Problem("LLMPT_DATA/seeder.db", words) for words in (self.notice, self.trouble) if words]

    def _kept(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> bool:
        """Do all of these, or none; return whether they were done."""
        try:
            with self.transaction() as sql:
                for statement, rows in statements:
                    sql.executemany(statement, rows)
        except StateUnavailable as error:
            if self.trouble is None:
                log.warning("%s; what is seeded stays seeded", error)
            self.trouble = str(error)
            return False
        self.trouble = None
        return True

    def _check(self) -> None:
        """Raise `StateUnavailable` for a file in which something stands that cannot be."""
        try:
            for _ in self.blobs():
                pass
            self.published_torrents()
            self.published_manifests()
            self.wanted()
            self.askers()
        except (InvalidName, ValueError, TypeError, AttributeError) as error:
            odd = sqlite3.DatabaseError(f"malformed: {error}")
            raise StateUnavailable(f"the state at {self._database} cannot be used: {odd}") from odd


def open_state(database: Path) -> SeederState:
    """Open the seeder's memory as well as it can be; what is wrong with the file is its `notice`."""
    state, state_notice = opened(lambda way: SeederState(database, way), database)
    state.notice = state_notice
    return state


def _key(repo: RepoRef) -> str:
    return f"{repo.type}:{repo.id}"


def _repo(key: str) -> RepoRef:
    kind, _, repo_id = key.partition(":")
    return RepoRef(kind, repo_id)


def _unpacked(data: bytes) -> bytes:
    """Unpack a listing; raise `ValueError` for one of more bytes than any has."""
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(data, MAX_LISTING_BYTES)
    if not unpacking.eof:
        raise ValueError("no listing has so many bytes")
    return found
