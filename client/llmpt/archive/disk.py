"""What both ways do with a disk: whole files or none, and its refusals in a sentence."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.disk.opening import open_file

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


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """Open a folder that is no symbolic link: a prepared disk leads to nowhere else. Raises `DiskRefused` for one that is."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if path.is_symlink():
            raise DiskRefused(f"{path} is a symbolic link, and leads out of here: remove it") from None
        raise
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def file_below(folder: Path, name: str) -> Iterator[int]:
    """Open a file, which is no link and no pipe. Raises `OSError`."""
    with directory(folder) as above:
        descriptor = open_file(name, follow=False, folder=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_whole(path: Path, most: int) -> bytes:
    """Read a small file of `most` bytes, which is no link and no pipe. Raises `InvalidInput` for a larger one, or `OSError`."""
    with directory(path.parent) as folder, os.fdopen(open_file(path.name, follow=False, folder=folder), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InvalidInput("too large")
    return content


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a small file so that others see all of it or none; `mode` instead of what the umask gives.

    A link in its place is replaced, and not followed.
    """
    temporary = f".{path.name[:200]}.{secrets.token_hex(4)}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    with directory(path.parent) as folder:
        try:
            with os.fdopen(make_file(temporary, folder=folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            remove_file(temporary, folder=folder)


def make_file(name: str, *, folder: int) -> int:
    """Return a descriptor of a new file, which no other program can have open."""
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)


def remove_file(name: str, *, folder: int) -> None:
    """Remove a file or a link, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
