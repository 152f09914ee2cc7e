"""Copy a blob that is here already: a reflink where the file system can, and verified as it passes in any case."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable

from llmpt.core.blob import READ_BYTES, Etag, EtagHasher
from llmpt.core.errors import ContentMismatch

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied on write


def copy_blob(source: int, target: int, etag: Etag, size: int, *, on_copied: Callable[[int], None]) -> None:
    """Fill the file that is open as `target` with the content of the one that is open as `source`.

    `on_copied` is told the bytes done. The target has at most `size` bytes, and nothing of it is cut off.

    Several may copy from one descriptor at once: where it stands does not matter, and stays as it is.

    Raises `ContentMismatch` when the content is not that of `etag`, `OSError` when it cannot be read or written. The
    target is never a hard link: people edit files in a `local_dir`.
    """
    hasher = EtagHasher(etag, size)
    buffer = memoryview(bytearray(READ_BYTES))
    cloned = _clone(source, target)
    read = target if cloned else source  # what is hashed is what was taken: the source may be written to meanwhile
    while hasher.seen <= size and (count := os.preadv(read, [buffer], hasher.seen)):  # a file that grows has no end
        written = count if cloned else 0
        while written < count:
            written += os.pwrite(target, buffer[written:count], hasher.seen + written)
        hasher.update(buffer[:count])
        on_copied(hasher.seen)
    if not hasher.matches():
        raise ContentMismatch(f"what was to be copied is no longer what its etag {etag} says")


def _clone(source: int, target: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
