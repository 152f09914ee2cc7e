"""A file that is being filled, by its descriptor."""

from __future__ import annotations

import os


def beginning(descriptor: int) -> int:
    """Return how many bytes the file holds before its first hole: an agent's download leaves gaps."""
    found = os.fstat(descriptor)
    if hasattr(os, "SEEK_HOLE") and found.st_size:
        try:
            return os.lseek(descriptor, 0, os.SEEK_HOLE)
        except OSError:
            pass  # this file system does not tell
    return found.st_size if found.st_blocks * 512 >= found.st_size else 0


def write_at(descriptor: int, data: bytes, at: int) -> None:
    """Write all of `data` from byte `at` on."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        at += written
        rest = rest[written:]
