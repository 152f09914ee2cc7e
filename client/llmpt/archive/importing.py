"""Put what an export folder holds into a Hub cache: every name checked, every signature, every blob held against its etag.

First it is looked at (`offers`), and nothing changes; then what the user wants of it is imported. What is wrong is named and
left out, and all else is imported. What is there and right is kept, so an import that was interrupted is simply run again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.archive.disk import DiskRefused, file_below, read_whole, written_below
from llmpt.archive.folder import ExportFolder, Signed
from llmpt.archive.hub_cache import CachedRepo, Occupied
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, InvalidInput
from llmpt.core.metainfo import MAX_METAINFO_BYTES, Metainfo
from llmpt.core.repo import Commit, RefName, RepoRef
from llmpt.disk.verification import verify_open
from llmpt.identity.keys import Forged
from llmpt.identity.statement import Signature
from llmpt.tracker.catalogue import File

LEFT_FREE = 256 << 20  # bytes of the target disk, or a twentieth of it where that is less
BLOCK = 512  # of st_blocks

UNSIGNED = (
    "no server has signed it: it was made by an older llmpt, or by anything else. `--unsigned` takes it all the same: then it is "
    "the disk alone that says which files these are"
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose word counts.

    trusts: whether a signer's does
    unsigned: whether that of the disk does, where nobody has signed
    """

    trusts: Callable[[Signature], bool]
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A revision that may be imported.

    name: of its manifest in the folder
    ref, commit: which revision
    refs: those that are to point at it
    signer: whose word that is; None: the disk's
    files_sha256: of the list of files, by which it is known again
    bytes_here: in the folder
    bytes_needed: that the cache does not have
    """

    name: str
    ref: RepoRef
    commit: Commit
    refs: tuple[RefName, ...]
    signer: Signature | None
    files_sha256: str
    bytes_here: int
    bytes_needed: int


@dataclass
class Imported:
    """What came of one revision.

    `offer`: what was to be imported.
    `known`: how many files the revision has.
    `files`: how many are in the snapshot now.
    `copied_bytes`: bytes that were not there before.
    `moved_refs`: refs that named another commit before, each with that commit.
    """

    offer: Offer
    known: int = 0
    files: int = 0
    copied_bytes: int = 0
    moved_refs: list[tuple[RefName, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """What was not imported (`what`: a path, a ref or a manifest), and the `reason`."""

    what: str
    reason: str


@dataclass(frozen=True)
class RefChange:
    """A ref that an import makes (`before` None) or moves."""

    offer: Offer
    ref: RefName
    before: str | None


class Import:
    """From `folder` into the Hub cache at `cache`."""

    def __init__(self, folder: ExportFolder, cache: Path, policy: Policy) -> None:
        self._folder, self._cache, self._policy = folder, cache, policy
        self.problems: list[Problem] = []
        self._here: dict[Etag, bool] = {}
        self._here_of: RepoRef | None = None

    def offers(self) -> list[Offer]:
        """Look at what the folder says it holds; `problems` grows by what of it is left out. Nothing changes."""
        found = []
        for name in self._folder.manifests():
            try:
                found.append(self._offer(name, self._folder.read(name)))
            except (InvalidInput, Forged) as error:
                self._problem(name, str(error))
            except OSError as error:
                self._problem(name, error.strerror or str(error))
        return found

    def changes(self, offers: list[Offer]) -> list[RefChange]:
        """Return which refs of the cache are made or moved by importing `offers`, in this order."""
        now: dict[tuple[RepoRef, RefName], str | None] = {}
        found = []
        for offer in offers:
            repo = CachedRepo(self._cache, offer.ref)
            for ref in offer.refs:
                before = now[offer.ref, ref] if (offer.ref, ref) in now else repo.pointed(ref)
                if before != offer.commit.value:
                    found.append(RefChange(offer, ref, before))
                now[offer.ref, ref] = offer.commit.value
        return found

    def check_room(self, offers: list[Offer]) -> None:
        """Raise `DiskRefused` when the disk of the cache cannot take all of it and stay usable."""
        needed = sum(offer.bytes_needed for offer in offers)
        there = next(path for path in (self._cache, *self._cache.absolute().parents) if path.exists())
        disk = shutil.disk_usage(there)
        room = max(disk.free - min(LEFT_FREE, disk.total // 20), 0)
        if needed > room:
            raise DiskRefused(
                f"{self._cache}: the import needs {needed} bytes, and there is room for {room}; nothing was imported: make room, "
                "or name another cache with --cache"
            )

    def revision(self, offer: Offer, on_bytes: Callable[[str, int], None]) -> Imported:
        """Import a revision; `problems` grows by what of it could not be. Raises `DiskRefused`.

        `on_bytes` is told of each file's name and of the bytes of it that are done.
        """
        result = Imported(offer)
        try:
            signed = self._folder.read(offer.name)
            if signed.content.files_sha256 != offer.files_sha256 or signed.manifest.commit != offer.commit:
                raise InvalidInput("it has changed since it was looked at")
        except (InvalidInput, OSError) as error:
            self._problem(offer.name, str(error))
            return result
        manifest, repo = signed.manifest, CachedRepo(self._cache, offer.ref)
        result.known = len(manifest.files)
        with written_below(self._cache):
            for file in manifest.files:
                if self._place(repo, file, result, on_bytes):
                    self._link(repo, file, result)
            if result.files:
                if manifest.complete:
                    repo.list_files(manifest)
                if signed.signatures:
                    repo.keep_signatures(offer.commit, signed.signatures)
                for ref in offer.refs:
                    self._point(repo, ref, result)
        return result

    def _offer(self, name: str, signed: Signed) -> Offer:
        """Raises `InvalidInput` (a manifest that the policy does not take, too), `Forged`."""
        content, manifest = signed.content, signed.manifest
        for one in signed.signatures:
            try:
                one.verify(content)
            except Forged:
                raise Forged(f"not what {one.name} ({one.key.fingerprint}) has signed: changed on its way, or forged") from None
        signer = next(filter(self._policy.trusts, signed.signatures), None)
        if signer is None and signed.signatures:
            first = signed.signatures[0]
            raise InvalidInput(
                f"signed by {first.name} ({first.key.fingerprint}), which this machine does not know. `--trust "
                f"{first.key.fingerprint}` takes it, now and later: compare that with what `llmpt-tracker fingerprint` says there"
            )
        if signer is None and not self._policy.unsigned:
            raise InvalidInput(UNSIGNED)
        refs = manifest.refs if signer is None else signer.refs
        repo = CachedRepo(self._cache, manifest.ref)
        sizes = {file.etag: file.size_bytes for file in manifest.files if self._folder.has(file.etag, file.size_bytes)}
        needed = sum(size for etag, size in sizes.items() if not repo.seems_to_hold(etag, size))
        return Offer(name, manifest.ref, manifest.commit, refs, signer, content.files_sha256, sum(sizes.values()), needed)

    def _place(self, repo: CachedRepo, file: File, result: Imported, on_bytes: Callable[[str, int], None]) -> bool:
        """See the blob of a file into the cache, once per repo; whether it is there."""
        if self._here_of != result.offer.ref:
            self._here_of = result.offer.ref
            self._here.clear()
        if file.etag not in self._here:
            self._here[file.etag] = self._put(repo, file, result, on_bytes)
        return self._here[file.etag]

    def _put(self, repo: CachedRepo, file: File, result: Imported, on_bytes: Callable[[str, int], None]) -> bool:
        path, source = file.path.value, self._folder.blob(file.etag)
        self._check_torrent(file)
        if repo.holds(file.etag, file.size_bytes):
            on_bytes(path, file.size_bytes)
            return True
        done = 0

        def copied(count: int) -> None:
            nonlocal done
            on_bytes(path, count - done)
            done = count

        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(file_below(self._folder.root / "blobs", file.etag.value))
            except InvalidInput as error:
                self._problem(path, str(error))
                return False
            except OSError as error:
                if file.here or not isinstance(error, FileNotFoundError):
                    self._problem(path, f"{source}: {error.strerror}")
                return False
            facts = os.fstat(descriptor)
            if facts.st_size != file.size_bytes:
                self._problem(path, f"{source} is not a file of {file.size_bytes} bytes")
                return False
            try:
                if facts.st_blocks * BLOCK < facts.st_size:
                    verify_open(descriptor, file.etag, file.size_bytes)  # a hole costs that disk nothing, and this one all of it
                repo.put(file.etag, file.size_bytes, descriptor, copied)
            except ContentMismatch:
                self._problem(path, f"{source} is not what its name says: damaged on the way, or forged; it was left out")
                return False
        result.copied_bytes += file.size_bytes
        return True

    def _link(self, repo: CachedRepo, file: File, result: Imported) -> None:
        try:
            repo.link(result.offer.commit, file.path, file.etag)
            result.files += 1
        except Occupied as error:
            self._problem(file.path.value, str(error))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self._problem(f"{file.path.value[:100]}…", "no path here can be as long as that")

    def _check_torrent(self, file: File) -> None:
        name = f"{file.etag}.torrent"
        try:
            metainfo = Metainfo.parse(read_whole(self._folder.torrent(file.etag), MAX_METAINFO_BYTES))
        except FileNotFoundError:
            return
        except (InvalidInput, OSError) as error:
            self._problem(f"torrents/{name}", str(error))
            return
        if (metainfo.etag, metainfo.size) != (file.etag, file.size_bytes):
            self._problem(f"torrents/{name}", f"it is the torrent of {metainfo.etag}, {metainfo.size} bytes")

    def _point(self, repo: CachedRepo, ref: RefName, result: Imported) -> None:
        try:
            before = repo.point(ref, result.offer.commit)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            self._problem(f"refs/{ref}", "another ref of the cache is in its way")
            return
        if before is not None:
            result.moved_refs.append((ref, before))

    def _problem(self, what: str, reason: str) -> None:
        self.problems.append(Problem(what, reason))
