"""The inventory: what this machine knows of its blobs, so that each is hashed once in its life.

A blob at a path is known by (etag, size, mtime, inode, ctime): a program that writes a file can put its mtime back, and not
its ctime. The device number is deliberately not part of that: NFS, btrfs and container engines give out another one at each
mount, and a reboot would hash terabytes anew. For each known blob there is either the root of its Merkle tree, or the reason
why it must never be served; the piece layers, far bigger than all the rest, lie in a table of their own and are read one at
a time. The ctimes do too: earlier versions, which may share the file, know nothing of them. An agent also notes here which
files it was writing into and from which repo each blob came, and both it and the seeder what the Hub said about repos.

One SQLite file, safe to use from several threads and processes. What SQLite and the disk say against it is translated here,
once, into `StateUnavailable`: every method raises it.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import StateUnavailable
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import HubAnswer, RepoRef
from llmpt.disk.memory import Memory
from llmpt.disk.stamp import FileStamp, stamp_of

log = logging.getLogger("llmpt.disk")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS known_blobs (
    etag TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    root BLOB, problem TEXT, PRIMARY KEY (etag, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_roots ON known_blobs (root);
CREATE TABLE IF NOT EXISTS known_ctimes (
    etag TEXT NOT NULL, path BLOB NOT NULL, ctime_ns INTEGER NOT NULL, PRIMARY KEY (etag, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS piece_layers (root BLOB PRIMARY KEY, layer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS partials (path BLOB PRIMARY KEY, inode INTEGER NOT NULL, asked_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hub_answers (
    repo TEXT PRIMARY KEY, public INTEGER NOT NULL, reason TEXT NOT NULL, asked_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origins (
    etag TEXT NOT NULL, repo_type TEXT NOT NULL, repo_id TEXT NOT NULL, endpoint TEXT NOT NULL,
    PRIMARY KEY (etag, repo_type, repo_id, endpoint)
) WITHOUT ROWID;
"""

_FORGET_LAYER = "DELETE FROM piece_layers WHERE root = ? AND root NOT IN (SELECT root FROM known_blobs WHERE root = ?)"


@dataclass(frozen=True, slots=True)
class KnownBlob:
    """A file that was read once: its `root` (32 bytes) when it is what its etag says, else the `problem`."""

    etag: Etag
    path: Path
    stamp: FileStamp
    root: bytes | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class BlobOrigin:
    """A repo that a blob came from, and the URL of the Hub that names it so."""

    repo: RepoRef
    endpoint: str


class Inventory(Memory):
    """Owns the database file at `database`; a context manager. Raises `StateUnavailable` when the file cannot be used that way
    (`llmpt.disk.database.opened` finds the best)."""

    schema = _SCHEMA

    def remember(self, path: Path, stamp: FileStamp, metainfo: Metainfo) -> None:
        """Note that the file at `path`, while it had `stamp`, was read and is the blob that `metainfo` describes."""
        with self.transaction() as sql:
            self.put_good(sql, path, stamp, metainfo)

    def condemn(self, etag: Etag, path: Path, stamp: FileStamp, problem: str) -> None:
        """Note that the file at `path`, while it has `stamp`, must not be served as `etag`, and why."""
        with self.transaction() as sql:
            self.put_bad(sql, etag, path, stamp, problem)

    def put_good(self, sql: sqlite3.Connection, path: Path, stamp: FileStamp, metainfo: Metainfo) -> None:
        """Do what `remember` does, among others in one transaction."""
        self._put(sql, metainfo.etag, path, stamp, metainfo.root, None)
        if metainfo.layer:
            sql.execute("INSERT OR REPLACE INTO piece_layers VALUES (?, ?)", (metainfo.root, metainfo.layer))

    def put_bad(self, sql: sqlite3.Connection, etag: Etag, path: Path, stamp: FileStamp, problem: str) -> None:
        """Do what `condemn` does, among others in one transaction."""
        self._put(sql, etag, path, stamp, None, problem)

    def metainfo(self, etag: Etag) -> Metainfo | None:
        """Assemble the metainfo of a blob that was found good at some path; None when there is none."""
        row = self._one(
            "SELECT b.size, b.root, coalesce(p.layer, x'') FROM known_blobs b LEFT JOIN piece_layers p ON p.root = b.root"
            " WHERE b.etag = ? AND b.root IS NOT NULL LIMIT 1",
            (etag.value,),
        )
        return Metainfo(etag, row[0], row[1], row[2]) if row else None

    def blobs(self) -> Iterator[KnownBlob]:
        """Yield everything that is known, good and bad, in the order of etags."""
        rows = self._all(
            "SELECT etag, path, size, mtime_ns, inode, ctime_ns, root, problem"
            " FROM known_blobs LEFT JOIN known_ctimes USING (etag, path) ORDER BY etag, path"
        )
        for etag, path, size, mtime_ns, inode, ctime_ns, root, problem in rows:
            yield KnownBlob(Etag(etag), Path(os.fsdecode(path)), FileStamp(size, mtime_ns, inode, ctime_ns), root, problem)

    def note_ctimes(self) -> None:
        """Note the ctimes of what an earlier version has read, where the rest of the stamp is still that of the file.

        It looks at those files only, and reads none.
        """
        found = []
        for known in self.blobs():
            if known.stamp.ctime_ns is None and (now := stamp_of(known.path)) is not None and now.without_ctime == known.stamp:
                found.append((known.etag.value, os.fsencode(known.path), now.ctime_ns))
        if found:
            try:
                with self.transaction() as sql:
                    sql.executemany("INSERT OR IGNORE INTO known_ctimes VALUES (?, ?, ?)", found)
            except StateUnavailable as error:
                log.warning("%s; the ctimes are noted at the next start", error)

    def forget(self, etag: Etag, path: Path) -> None:
        """Drop what is known of the file at `path`, and the piece layer when it was the last with that content."""
        with self.transaction() as sql:
            row = (etag.value, os.fsencode(path))
            root = sql.execute("SELECT root FROM known_blobs WHERE etag = ? AND path = ?", row).fetchone()
            for table in ("known_blobs", "known_ctimes"):
                sql.execute(f"DELETE FROM {table} WHERE etag = ? AND path = ?", row)  # noqa: S608
            if root is not None:
                sql.execute(_FORGET_LAYER, root * 2)

    def remember_partial(self, path: Path, inode: int, asked_at: float) -> None:
        """Note that a download into the file at `path` was asked for at `asked_at` (Unix time), and may leave it unfinished."""
        with self.transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO partials VALUES (?, ?, ?)", (os.fsencode(path), inode, asked_at))

    def forget_partial(self, path: Path) -> None:
        """The file at `path` is finished, or gone."""
        with self.transaction() as sql:
            sql.execute("DELETE FROM partials WHERE path = ?", (os.fsencode(path),))

    def partials(self, *, asked_before: float = math.inf) -> list[Path]:
        """Return the unfinished files that lie where they lay and were not asked for since `asked_before` (Unix time)."""
        rows = self._all("SELECT path, inode FROM partials WHERE asked_at < ?", (asked_before,))
        return sorted(path for name, inode in rows if _inode(path := Path(os.fsdecode(name))) == inode)

    def hub_answer(self, repo: RepoRef, *, endpoint: str = "") -> HubAnswer | None:
        """Return what the Hub at `endpoint` last said about a repo; without `endpoint` it is the only one."""
        row = self._one("SELECT public, reason, asked_at FROM hub_answers WHERE repo = ?", (_key(repo, endpoint),))
        return HubAnswer(bool(row[0]), row[1], row[2]) if row else None

    def keep_hub_answer(self, repo: RepoRef, answer: HubAnswer, *, endpoint: str = "") -> None:
        """Note what the Hub at `endpoint` says about a repo."""
        with self.transaction() as sql:
            row = (_key(repo, endpoint), answer.public, answer.reason, answer.asked_at)
            sql.execute("INSERT OR REPLACE INTO hub_answers VALUES (?, ?, ?, ?)", row)

    def note_origin(self, etag: Etag, origin: BlobOrigin) -> None:
        """Note that a blob came from a repo, beside those that are known."""
        with self.transaction() as sql:
            row = (etag.value, origin.repo.type, origin.repo.id, origin.endpoint)
            sql.execute("INSERT OR IGNORE INTO origins VALUES (?, ?, ?, ?)", row)

    def origins(self) -> dict[Etag, list[BlobOrigin]]:
        """Return where blobs came from, and forget it of those that are known no longer."""
        with self.transaction() as sql:
            sql.execute("DELETE FROM origins WHERE etag NOT IN (SELECT etag FROM known_blobs)")
        found: dict[Etag, list[BlobOrigin]] = {}
        for etag, kind, name, endpoint in self._all("SELECT etag, repo_type, repo_id, endpoint FROM origins ORDER BY etag"):
            found.setdefault(Etag(etag), []).append(BlobOrigin(RepoRef(kind, name), endpoint))
        return found

    @staticmethod
    def _put(sql: sqlite3.Connection, etag: Etag, path: Path, stamp: FileStamp, root: bytes | None, problem: str | None) -> None:
        sql.execute(
            "INSERT OR REPLACE INTO known_blobs VALUES (?, ?, ?, ?, ?, ?, ?)",
            (etag.value, os.fsencode(path), stamp.size, stamp.mtime_ns, stamp.inode, root, problem),
        )
        if stamp.ctime_ns is not None:
            sql.execute("INSERT OR REPLACE INTO known_ctimes VALUES (?, ?, ?)", (etag.value, os.fsencode(path), stamp.ctime_ns))


def _key(repo: RepoRef, endpoint: str) -> str:
    return f"{repo.type}:{repo.id}" + (f" {endpoint}" if endpoint else "")


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None
