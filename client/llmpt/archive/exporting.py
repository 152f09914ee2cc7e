"""Write a revision of the LAN into a folder: from the user's own Hub cache what lies there, the rest over HTTP.

Every byte is verified on its way. A blob gets its name in the folder when it is whole, right and on the disk, so what has
its name is kept when the export is run again, and `<etag>.part` goes on where it stopped. A seeder that sends next to nothing
is given up.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from llmpt.archive.disk import directory, make_file, remove_file, write_whole, written_below
from llmpt.archive.folder import ExportFolder, Signed
from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, TrackerError
from llmpt.disk.copying import copy_blob
from llmpt.disk.opening import open_file, open_own
from llmpt.disk.verification import verify_open
from llmpt.identity.statement import Signature
from llmpt.tracker.blobs import BlobHttp, NotOverHttp
from llmpt.tracker.catalogue import File, Manifest
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.crawl import CrawlRule

log = logging.getLogger("llmpt")

TRICKLE = CrawlRule(least_bytes_s=64 << 10)  # there is no other way to it: what is slow is waited for


@dataclass
class Exported:
    """What came of one revision.

    `manifest`: the revision's files.
    `signatures`: of the servers that vouch for that.
    `kept`: bytes that lay in the folder already.
    `from_cache`: bytes copied out of the user's Hub cache.
    `from_lan`: bytes fetched over HTTP.
    `missing`: paths, each with the reason.
    """

    manifest: Manifest
    signatures: tuple[Signature, ...] = ()
    kept: int = 0
    from_cache: int = 0
    from_lan: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)


def chosen(signed: Signed, include: Iterable[str], exclude: Iterable[str]) -> Signed:
    """Return the manifest, as it was signed, with `here` only for the files that are wanted: patterns as in huggingface_hub."""
    include, exclude = tuple(map(_pattern, include)), tuple(map(_pattern, exclude))

    def wanted(path: str) -> bool:
        return (not include or any(fnmatch(path, one) for one in include)) and not any(fnmatch(path, one) for one in exclude)

    files = tuple(replace(file, here=file.here and wanted(file.path.value)) for file in signed.manifest.files)
    return replace(signed, manifest=replace(signed.manifest, files=files))


class Export:
    """Writes into `folder`. `on_bytes` is told of each file's name and of the bytes of it that are done."""

    def __init__(
        self,
        folder: ExportFolder,
        client: TrackerClient,
        blobs: BlobHttp,
        cache: Path,
        on_bytes: Callable[[str, int], None],
    ) -> None:
        self._folder, self._client, self._blobs, self._cache, self._on_bytes = folder, client, blobs, cache, on_bytes

    def revision(self, signed: Signed) -> Exported:
        """Export the files of a manifest that are `here`. Raises `DiskRefused`, `TrackerUnavailable`."""
        manifest = signed.manifest
        result = Exported(manifest, signed.signatures)
        with written_below(self._folder.root):
            for file in {file.etag: file for file in manifest.files if file.here}.values():
                try:
                    self._file(manifest, file, result)
                except (NotOverHttp, ContentMismatch) as error:
                    result.missing.append((file.path.value, str(error)))
            self._folder.write_manifest(signed)
            self._folder.write_index()
        return result

    def _file(self, manifest: Manifest, file: File, result: Exported) -> None:
        etag = file.etag
        if self._folder.has(etag, file.size_bytes):
            result.kept += file.size_bytes
            self._on_bytes(file.path.value, file.size_bytes)
        else:
            cached = self._cache / manifest.ref.folder / "blobs" / etag.value
            if self._copy(cached, file):
                result.from_cache += file.size_bytes
            else:
                result.from_lan += self._fetch(file)
        self._torrent(etag)

    def _copy(self, cached: Path, file: File) -> bool:
        """Copy the blob out of the Hub cache; False when it isn't there, or isn't what its name says."""
        try:
            source = os.fdopen(open_file(cached), "rb", buffering=0)
        except OSError:
            return False
        with source:
            if os.fstat(source.fileno()).st_size != file.size_bytes:
                return False
            try:
                with self._unfinished(file) as descriptor:
                    copy_blob(source.fileno(), descriptor, file.etag, file.size_bytes, on_copied=self._progress(file))
            except ContentMismatch as error:
                log.warning("llmpt: %s; it is taken from the LAN", error)
                return False
        return True

    def _fetch(self, file: File) -> int:
        with self._unfinished(file) as descriptor:
            was_there = os.fstat(descriptor).st_size > 0
            progressed = self._blobs.unless_it_crawls(self._progress(file), file.size_bytes, 0)
            came = self._blobs.fetch(file.etag, file.size_bytes, descriptor, on_progress=progressed)
            if was_there:  # another export may write to it too
                verify_open(descriptor, file.etag, file.size_bytes)
        return came

    @contextmanager
    def _unfinished(self, file: File) -> Iterator[int]:
        """Open what there is of a blob; it has its name when nothing was raised, and is removed when it is wrong."""
        blob = self._folder.blob(file.etag)
        with directory(blob.parent) as folder:
            descriptor, name = _part(folder, file.etag)
            try:
                if os.fstat(descriptor).st_size > file.size_bytes:
                    os.ftruncate(descriptor, 0)
                yield descriptor
                os.fsync(descriptor)
                os.replace(name, blob.name, src_dir_fd=folder, dst_dir_fd=folder)
            except ContentMismatch:
                remove_file(name, folder=folder)
                raise
            finally:
                os.close(descriptor)

    def _torrent(self, etag: Etag) -> None:
        target = self._folder.torrent(etag)
        if target.is_file() and not target.is_symlink():
            return
        try:
            metainfo = self._client.lookup(etag).metainfo
        except TrackerError as error:
            log.warning("llmpt: %s has no torrent in the export: %s", etag, error)
            return
        if metainfo is not None:
            write_whole(target, metainfo.encode())

    def _progress(self, file: File) -> Callable[[int], None]:
        done = 0

        def moved(there: int) -> None:
            nonlocal done
            self._on_bytes(file.path.value, there - done)
            done = there

        return moved


def _pattern(text: str) -> str:
    return f"{text}*" if text.endswith("/") else text


def _part(folder: int, etag: Etag) -> tuple[int, str]:
    """Open the unfinished file of a blob in an open folder; return the descriptor and its name.

    The one of an earlier try is taken up again, unless another user could change it after it was checked.
    """
    name = f"{etag}.part"
    try:
        return open_own(name, any_mode=True, folder=folder), name
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("llmpt: %s is not gone on with: %s", name, error.strerror)
        with suppress(OSError):
            remove_file(name, folder=folder)
    try:
        return make_file(name, folder=folder), name
    except FileExistsError:
        name = f"{etag}.{secrets.token_hex(4)}.part"
        return make_file(name, folder=folder), name
