"""Files are opened without waiting, and without touching what is no file: a pipe, a device, a socket under a file's name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_file(path: Path | str, *, follow: bool = True, folder: int | None = None) -> int:
    """Return a descriptor to read the file at `path` from; with `follow` off its last name is not a symbolic link.

    `folder` is open, and `path` goes from there. Raises `OSError` when there is none, or something else than a file.
    """
    descriptor = os.open(path, os.O_RDONLY | _FLAGS | (0 if follow else NO_LINK), dir_fd=folder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def open_own(path: Path | str, *, any_mode: bool = False, folder: int | None = None) -> int:
    """Return a descriptor of an unfinished file that an earlier try of this user's left at `path`, in `folder` as above.

    Raises `OSError`, `FileExistsError` where something lies there that another user made, may write to (unless `any_mode`: a disk
    for many machines knows no modes), or knows by another name: what is written there could be changed after it was checked.
    """
    descriptor = os.open(path, os.O_RDWR | _FLAGS | NO_LINK, dir_fd=folder)
    found = os.fstat(descriptor)
    is_ours = found.st_uid == os.geteuid() and found.st_nlink == 1 and (any_mode or not found.st_mode & stat.S_IWOTH)
    if stat.S_ISREG(found.st_mode) and is_ours:
        return descriptor
    os.close(descriptor)
    raise FileExistsError(errno.EEXIST, "another user could change what is written there", str(path))


def is_private(path: Path) -> bool:
    """Whether no other user can put another file under this name: no folder on the way can be written by others.

    `path` is a real one: a symbolic link on the way says no. Root may do anything, and does not count.
    """
    mine = (0, os.geteuid())
    try:
        folder = os.lstat("/")
        for step in (*reversed(path.parents[:-1]), path):
            entry = step.lstat()
            is_sticky = bool(folder.st_mode & stat.S_ISVTX) and entry.st_uid in mine
            if folder.st_uid not in mine or (folder.st_mode & 0o022 and not is_sticky):
                return False
            folder = entry
            if step is not path and not stat.S_ISDIR(entry.st_mode):
                return False
        return stat.S_ISREG(folder.st_mode)
    except OSError:
        return False
