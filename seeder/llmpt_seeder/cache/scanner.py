"""What lies in a Hub cache, read tolerantly and never written to.

`scan_cache_dir` of huggingface_hub drops a whole repo for one dangling link; here each file stands for itself. A partial
snapshot is the normal case, a dangling ref too; leftovers of downloads, locks and other tools' files are passed over;
what cannot be read is unknown, and said to be.

    models--org--name/snapshots/<commit>/<path>  →  ../../blobs/<etag>  [→  ../../blobs/ab/<xet hash>]
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName
from llmpt.core.files import real_path, strictly_real_path
from llmpt.core.repo import MAX_PATH_PARTS, RepoRef, check_commit, check_path, check_ref
from llmpt.disk.opening import open_file
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.cache.contents import BlobFile, CachedRepo, Problem, Snapshot
from llmpt_seeder.cache.listing import Listing, read_listing
from llmpt_seeder.errors import CacheMissing

MAX_PROBLEMS = 50  # per repo; one wrong mount option would otherwise fill the report
MAX_ABSENT = 1000  # per commit; transformers leaves a dozen


def scan(cache: Path, *, last: Mapping[RepoRef, CachedRepo] | None = None) -> Iterator[CachedRepo]:
    """Yield the repos of the Hub cache at `cache`, in the order of their names; raise `CacheMissing` without one.

    `last` is what the last look found: what did not change since then is yielded as the same object.
    """
    try:
        root = strictly_real_path(cache)
        folders = sorted(entry.name for entry in os.scandir(root) if "--" in entry.name and _may_be_folder(entry))
    except OSError as error:
        raise CacheMissing(
            f"no Hub cache can be read at {cache} ({error.strerror or error}); set HF_HUB_CACHE to the folder that holds"
            " models--… (or mount it there), or make an empty folder if nothing was downloaded yet"
        ) from None
    for folder in folders:
        try:
            ref = RepoRef.from_folder(folder)
        except InvalidName:
            continue
        yield _RepoReader(root, root / folder, ref, (last or {}).get(ref)).read()


def scan_repo(cache: Path, ref: RepoRef, *, last: CachedRepo | None = None) -> CachedRepo | None:
    """Return one repo of the cache, the same object as `last` when nothing changed in it; None when it is not there.

    Raises `OSError` when that cannot be looked at.
    """
    root = strictly_real_path(cache)
    return _RepoReader(root, root / ref.folder, ref, last).read() if (root / ref.folder).is_dir() else None


class _RepoReader:
    def __init__(self, root: Path, folder: Path, ref: RepoRef, last: CachedRepo | None) -> None:
        self.root, self.folder, self.ref, self.last = root, folder, ref, last
        self.last_blobs = {(blob.etag.value, str(blob.path)): blob for blob in last.blobs} if last else {}
        self.last_snapshots = {snapshot.commit: snapshot for snapshot in last.snapshots} if last else {}
        self.problems: list[Problem] = []
        self.unknown = False
        self.blobs: dict[str, BlobFile | None] = {}
        self.real_folders: dict[str, str] = {}
        self.ref_times: dict[str, int] = {}

    def read(self) -> CachedRepo:
        refs = self._refs()
        links_are_used = any(True for _ in self._entries(self.folder / "blobs"))
        snapshots = []
        for entry in self._entries(self.folder / "snapshots"):
            try:
                commit = check_commit(entry.name)
            except InvalidName:
                continue
            snapshot = self._snapshot(commit, tuple(refs.get(commit, ())), links_are_used)
            if snapshot.files:
                last = self.last_snapshots.get(commit)
                snapshots.append(last if last == snapshot else snapshot)
        blobs = tuple(blob for blob in self.blobs.values() if blob is not None)
        repo = CachedRepo(self.ref, tuple(snapshots), tuple(self.problems), self.unknown, self.ref_times, blobs)
        return self.last if self.last is not None and self.last == repo else repo

    def _snapshot(self, commit: str, refs: tuple[str, ...], links_are_used: bool) -> Snapshot:
        listing = read_listing(self.folder / "trees" / f"{commit}.json")
        files: dict[str, BlobFile] = {}
        unlinked = 0
        for entry, path in self._walk(self.folder / "snapshots" / commit):
            try:
                check_path(path)
                is_link = entry.is_symlink()
            except (InvalidName, OSError) as error:
                self._problem(entry.path, str(error))
                continue
            blob = self._linked(entry) if is_link else self._listed(entry, path, listing)
            if blob is not None:
                files[path] = blob
            elif not is_link and not links_are_used:
                unlinked += 1
        if unlinked:
            self._problem(
                f"{self.ref}@{commit[:12]}",
                f"{unlinked} files lie in the snapshot itself (a cache without symbolic links), and no trees/{commit[:12]}….json"
                " that can be read says which blobs they are; download the repo again with snapshot_download to share it",
            )
        return Snapshot(commit, refs, tuple(sorted(files.items())), listing, self._absent(commit))

    def _absent(self, commit: str) -> tuple[str, ...]:
        """Return the paths of which `.no_exist/<commit>/…` notes that the Hub answered 404."""
        absent = []
        for _, path in self._walk(self.folder / ".no_exist" / commit):
            try:
                absent.append(check_path(path))
            except InvalidName:
                continue
        return tuple(sorted(absent)[:MAX_ABSENT])

    def _linked(self, entry: os.DirEntry[str]) -> BlobFile | None:
        """Follow a snapshot's link to …/blobs/<etag>; None when that is missing or is no blob."""
        try:
            # Strings, not Paths: with 20,000 links per look that is most of the time.
            target = os.readlink(entry.path)  # noqa: PTH115
            if not target.startswith(os.sep):
                target = f"{entry.path[: -len(entry.name)]}{target}"
            target = os.path.normpath(target)
        except OSError as error:
            self._unreadable(entry.path, error)
            return None
        if target not in self.blobs:
            self.blobs[target] = self._blob(target)
        return self.blobs[target]

    def _blob(self, target: str) -> BlobFile | None:
        folder, name = os.path.split(target)
        try:
            etag = Etag(name)
        except InvalidName:
            return None  # a half-finished download, or another tool's file
        if os.path.basename(folder) != "blobs":  # noqa: PTH119
            return None
        try:
            real, facts = self._really(folder, name)
            if not real.startswith(f"{self.root}{os.sep}"):
                self._problem(target, f"leads out of the cache, to {real}; mount the whole hub folder, targets included")
                return None
            if not stat.S_ISREG(facts.st_mode):
                return None
        except FileNotFoundError:
            return None  # the snapshot outlived its blob: normal after a clean-up
        except OSError as error:
            self._unreadable(target, error)
            return None
        return self._blob_file(etag, real, facts)

    def _blob_file(self, etag: Etag, path: str, facts: os.stat_result) -> BlobFile:
        """Return the file of the last look if it is the same, so that nothing need be compared from here on."""
        stamp, last = FileStamp.of(facts), self.last_blobs.get((etag.value, path))
        return last if last is not None and last.stamp == stamp else BlobFile(etag, Path(path), stamp)

    def _really(self, folder: str, name: str) -> tuple[str, os.stat_result]:
        """Return a blob's real path and what `stat` says of it; the folder's own links are followed once for all in it."""
        if folder not in self.real_folders:
            self.real_folders[folder] = os.path.realpath(folder)
        real = f"{self.real_folders[folder]}{os.sep}{name}"
        facts = os.lstat(real)
        if stat.S_ISLNK(facts.st_mode):
            facts = os.stat(real)  # noqa: PTH116
            real = os.path.realpath(real)
        return real, facts

    def _listed(self, entry: os.DirEntry[str], path: str, listing: Listing | None) -> BlobFile | None:
        """Take a regular file in a snapshot for the blob that the Hub's own list names there, if any.

        Without that list it is something that a user or a tool put there (or a cache without links): not the Hub's.
        """
        expected = (listing or {}).get(path)
        if expected is None:
            return None
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._unreadable(entry.path, error)
            return None
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != expected.size:
            return None
        blob = self.blobs[entry.path] = self._blob_file(expected.etag, str(real_path(entry.path)), facts)
        return blob

    def _refs(self) -> dict[str, list[str]]:
        """Map commits to the refs that name them; a ref to a commit without a snapshot is normal."""
        refs: dict[str, list[str]] = {}
        for entry, name in self._walk(self.folder / "refs"):
            try:
                if not entry.is_file():
                    continue  # a pipe is not waited for
                with os.fdopen(open_file(entry.path), "rb") as file:
                    commit = check_commit(file.read(128).decode("ascii").strip())
                refs.setdefault(commit, []).append(check_ref(name))
                self.ref_times[name] = entry.stat().st_mtime_ns
            except (InvalidName, UnicodeDecodeError):
                continue
            except OSError as error:
                self._unreadable(entry.path, error)
        return {commit: sorted(names) for commit, names in refs.items()}

    def _walk(self, top: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Yield every file and link below `top` with its path from there; links to folders are not entered."""
        pending = [(top, "")]
        while pending:
            folder, prefix = pending.pop()
            for entry in self._entries(folder):
                path = prefix + entry.name
                try:
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError as error:  # an entry without a type has to be looked at
                    self._unreadable(entry.path, error)
                    continue
                if not is_folder:
                    yield entry, path
                elif path.count("/") < MAX_PATH_PARTS:
                    pending.append((Path(entry.path), path + "/"))

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._unreadable(str(folder), error)
            return []

    def _unreadable(self, what: str, error: Exception) -> None:
        self.unknown = True
        self._problem(what, f"cannot be read ({getattr(error, 'strerror', None) or error})")

    def _problem(self, what: str, reason: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            shown = what.removeprefix(f"{self.root}/")
            self.problems.append(Problem(shown.encode("utf-8", "replace").decode(), reason))


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder, or cannot be looked at for now: then its reader says why."""
    try:
        return entry.is_dir()
    except OSError:
        return True
