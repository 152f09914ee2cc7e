"""Which file a path names: what tells one file of this machine from another, whatever it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class FileId:
    """One file of one machine.

    `dev`: the device (`st_dev`).
    `ino`: the inode on it (`st_ino`).
    """

    dev: int
    ino: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileId:
        """Return the identity of the file that `stat` was asked about."""
        return cls(stat.st_dev, stat.st_ino)
