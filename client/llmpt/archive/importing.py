"""Put what an export folder holds into a Hub cache: every name checked, every blob held against its etag.

What is wrong is named and left out, and all else is imported. What is there already and right is kept, so an import that
was interrupted is simply run again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.archive.disk import read_whole, written_below
from llmpt.archive.folder import ExportFolder, read_manifest
from llmpt.archive.hub_cache import CachedRepo, Occupied
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, InvalidInput
from llmpt.core.metainfo import MAX_METAINFO_BYTES, Metainfo
from llmpt.core.repo import RefName, RepoRef
from llmpt.tracker.catalogue import File, Manifest


@dataclass
class Imported:
    """What came of one revision.

    `manifest`: the revision's files.
    `files`: how many are in the snapshot now.
    `copied_bytes`: bytes that were not there before.
    `moved_refs`: refs that named another commit before, each with that commit.
    """

    manifest: Manifest
    files: int = 0
    copied_bytes: int = 0
    moved_refs: list[tuple[RefName, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """What was not imported (`what`: a path, a ref or a manifest), and the `reason`."""

    what: str
    reason: str


class Import:
    """From `folder` into the Hub cache at `cache`."""

    def __init__(self, folder: ExportFolder, cache: Path) -> None:
        self._folder, self._cache = folder, cache
        self.problems: list[Problem] = []
        self._here: dict[tuple[RepoRef, Etag], bool] = {}

    def manifests(self) -> list[Manifest]:
        """Read what the folder says it holds."""
        found = []
        for path in self._folder.manifests():
            try:
                found.append(read_manifest(path))
            except InvalidInput as error:
                self._problem(path.name, str(error))
            except OSError as error:
                self._problem(path.name, error.strerror or str(error))
        return found

    def revision(self, manifest: Manifest, on_bytes: Callable[[str, int], None]) -> Imported:
        """Import a revision; `problems` grows by what of it could not be. Raises `DiskRefused`.

        `on_bytes` is told of each file's name and of the bytes of it that are done.
        """
        result = Imported(manifest)
        repo = CachedRepo(self._cache, manifest.ref)
        with written_below(self._cache):
            for file in manifest.files:
                if not self._place(repo, file, result, on_bytes):
                    continue
                try:
                    repo.link(manifest.commit, file.path, file.etag)
                    result.files += 1
                except Occupied as error:
                    self._problem(file.path.value, str(error))
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:
                        raise
                    self._problem(f"{file.path.value[:100]}…", "no path here can be as long as that")
            if result.files:
                if manifest.complete:
                    repo.list_files(manifest)
                for ref in manifest.refs:
                    self._point(repo, ref, manifest, result)
        return result

    def _place(self, repo: CachedRepo, file: File, result: Imported, on_bytes: Callable[[str, int], None]) -> bool:
        """See the blob of a file into the cache, once per repo; whether it is there."""
        key = result.manifest.ref, file.etag
        if key not in self._here:
            self._here[key] = self._put(repo, file, result, on_bytes)
        return self._here[key]

    def _put(self, repo: CachedRepo, file: File, result: Imported, on_bytes: Callable[[str, int], None]) -> bool:
        path, source = file.path.value, self._folder.blob(file.etag)
        self._check_torrent(file)
        if repo.holds(file.etag, file.size_bytes):
            on_bytes(path, file.size_bytes)
            return True
        try:
            facts = source.lstat()
            if not stat.S_ISREG(facts.st_mode) or facts.st_size != file.size_bytes:
                raise ContentMismatch(f"{source} is not a file of {file.size_bytes} bytes")
            if not os.access(source, os.R_OK):
                raise ContentMismatch(f"{source} cannot be read by this user")
        except ContentMismatch as error:
            self._problem(path, str(error))
            return False
        except OSError as error:
            if file.here:
                self._problem(path, f"{source}: {error.strerror}")
            return False
        done = 0

        def copied(count: int) -> None:
            nonlocal done
            on_bytes(path, count - done)
            done = count

        try:
            repo.put(file.etag, file.size_bytes, source, copied)
        except ContentMismatch:
            self._problem(path, f"{source} is not what its name says: damaged on the way, or forged; it was left out")
            return False
        result.copied_bytes += file.size_bytes
        return True

    def _check_torrent(self, file: File) -> None:
        path = self._folder.torrent(file.etag)
        try:
            metainfo = Metainfo.parse(read_whole(path, MAX_METAINFO_BYTES))
        except FileNotFoundError:
            return
        except (InvalidInput, OSError) as error:
            self._problem(f"torrents/{path.name}", str(error))
            return
        if (metainfo.etag, metainfo.size) != (file.etag, file.size_bytes):
            self._problem(f"torrents/{path.name}", f"it is the torrent of {metainfo.etag}, {metainfo.size} bytes")

    def _point(self, repo: CachedRepo, ref: RefName, manifest: Manifest, result: Imported) -> None:
        try:
            before = repo.point(ref, manifest.commit)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self._problem(f"refs/{ref}", "another ref of the cache is in its way")
            return
        if before is not None:
            result.moved_refs.append((ref, before))

    def _problem(self, what: str, reason: str) -> None:
        self.problems.append(Problem(what, reason))
