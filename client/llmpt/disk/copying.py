"""Copy a blob that is here already: a reflink where the file system can, and verified as it passes in any case."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied on write


def copy_blob(source: FileIO, target: Path, etag: Etag, size: int, *, on_copied: Callable[[int], None]) -> None:
    """Fill the existing file `target` with the content of the open `source`; `on_copied` is told the bytes done so far.

    Raises `ContentMismatch` when the content is not that of `etag`, `OSError` when it cannot be read or written. The
    target is never a hard link: people edit files in a `local_dir`.
    """
    hasher = EtagHasher(etag, size)
    buffer = memoryview(bytearray(READ_BYTES))
    source.seek(0)
    with target.open("r+b", buffering=0) as writer:
        writer.truncate(0)
        cloned = _clone(source.fileno(), writer.fileno())
        while count := source.readinto(buffer):
            hasher.update(buffer[:count])
            written = count if cloned else 0
            while written < count:
                written += writer.write(buffer[written:count])
            on_copied(hasher.seen)
    if not hasher.matches():
        raise ContentMismatch(f"{source.name!s} is no longer what its etag {etag} says")


def _clone(source: int, target: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
