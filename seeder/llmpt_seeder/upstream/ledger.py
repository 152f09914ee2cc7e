"""How many bytes lie in the cache that is fetched into, and come just now: finished blobs, and what is still written.

It is counted anew at each look, so that a file that was removed by hand is room again; a folder that did not change since the
last look is not read, and no finished blob is asked for its size twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName
from llmpt.disk.growth import SUFFIX

SETTLED_NS = 2_000_000_000  # a folder that changed no later than so long before it was read has no change that was missed


@dataclass(frozen=True, slots=True)
class LyingFile:
    """A file of a `blobs` folder.

    etag: what it is, or will be
    folder: where it lies
    name: how it is called there
    bytes: its size
    written: how many bytes of it the disk holds
    finished: whether it has its final name
    """

    etag: Etag
    folder: Path
    name: str
    bytes: int
    written: int
    finished: bool

    @property
    def path(self) -> Path:
        return self.folder / self.name


@dataclass(frozen=True, slots=True)
class Coming:
    """A blob that comes just now: its `size`, the `folder` that it comes into (None: whichever), and which clients want it."""

    etag: Etag
    size: int
    folder: Path | None
    askers: frozenset[str] = frozenset()

    def is_it(self, file: LyingFile) -> bool:
        return file.etag == self.etag and self.folder in (None, file.folder)


@dataclass(slots=True)
class _Folder:
    """What was found in a folder: by file name, its inode and the file. `settled_at`: its mtime, if that can be relied on."""

    settled_at: int = 0
    files: dict[str, tuple[int, LyingFile]] = field(default_factory=dict)


class Ledger:
    """Counts the cache at `root`. For one thread at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[Path, _Folder] = {}

    def look(self) -> list[LyingFile]:
        """Return what lies there now. A folder that cannot be read now counts as it was."""
        self._folders = {folder: self._read(folder) for folder in self._root.glob("*--*/blobs")}
        return [file for folder in self._folders.values() for _, file in folder.files.values()]

    def _read(self, folder: Path) -> _Folder:
        known = self._folders.get(folder, _Folder())
        try:
            changed_at = folder.stat().st_mtime_ns
            if known.settled_at == changed_at and all(file.finished for _, file in known.files.values()):
                return known
            settled = abs(time.time_ns() - changed_at) > SETTLED_NS
            return _Folder(changed_at if settled else 0, dict(_files(folder, known)))
        except OSError:
            return known


def _files(folder: Path, known: _Folder) -> Iterator[tuple[str, tuple[int, LyingFile]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name, inode = entry.name, entry.inode()
            before = known.files.get(name)
            if before is not None and before[0] == inode and before[1].finished:
                yield name, before
                continue
            finished = not name.endswith(SUFFIX)
            try:
                etag = Etag(name if finished else name.split(".", 1)[0])
                if not entry.is_file(follow_symlinks=False):
                    continue
                facts = entry.stat(follow_symlinks=False)
            except (InvalidName, OSError):
                continue
            written = min(facts.st_size, facts.st_blocks * 512) if facts.st_blocks else facts.st_size
            yield name, (inode, LyingFile(etag, folder, name, facts.st_size, written, finished))


def used(lying: Iterable[LyingFile], coming: Collection[Coming]) -> int:
    """Return the bytes that count: what lies there, and of what comes its size, however much of that lies there already."""
    files = list(lying)
    here = dict.fromkeys((one.etag for one in coming), 0)
    for one, file in _of(coming, files):
        here[one.etag] += file.bytes
    others = sum(file.bytes for file in files) - sum(here.values())
    return others + sum(max(one.size, here[one.etag]) for one in coming)


def left(coming: Collection[Coming], lying: Iterable[LyingFile]) -> int:
    """Return how many bytes of what comes the disk does not hold yet."""
    missing = {one.etag: one.size for one in coming}
    for one, file in _of(coming, lying):
        missing[one.etag] -= file.written
    return sum(max(0, bytes_) for bytes_ in missing.values())


def _of(coming: Iterable[Coming], lying: Iterable[LyingFile]) -> Iterator[tuple[Coming, LyingFile]]:
    """Yield the files of what comes."""
    comes = {one.etag: one for one in coming}
    for file in lying:
        one = comes.get(file.etag)
        if one is not None and one.is_it(file):
            yield one, file
