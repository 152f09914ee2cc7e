"""What both ways do with a disk: whole files or none, and its refusals in a sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmpt.core.errors import LlmptError

_REASONS = {
    errno.ENOSPC: "the disk is full; make room and run this again: what is there is kept",
    errno.EDQUOT: "the quota is used up; make room and run this again: what is there is kept",
    errno.EROFS: "it is read-only",
    errno.EFBIG: "this file system cannot hold a file as large as that (FAT ends at 4 GB)",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
}


class DiskRefused(LlmptError):
    """Nothing more can be written; the sentence says why."""


@contextmanager
def written_below(folder: Path) -> Iterator[None]:
    """Raise `DiskRefused` for what ends all writing below `folder`; other errors of single files pass."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise DiskRefused(f"{folder}: {reason}") from None


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a small file so that others see all of it or none; `mode` instead of what the umask gives."""
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
