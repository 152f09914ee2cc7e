"""A disk of a few hundred kilobytes that a test can fill and free: a tmpfs of its own, where that can be mounted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INODES = 200


class SmallDisk:
    """A disk at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler, self._files = root / "filler", root / "files"

    def fill(self) -> None:
        """Leave not one block free, nor room for one more file."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        self._files.mkdir(exist_ok=True)
        try:
            for number in range(INODES):
                (self._files / str(number)).touch()
        except OSError:
            pass

    def free(self) -> None:
        """Have room again."""
        self._filler.unlink(missing_ok=True)
        shutil.rmtree(self._files, ignore_errors=True)


@contextmanager
def small_disk(root: Path, *, kib: int = 2048) -> Iterator[SmallDisk]:
    """Mount a disk at `root` for as long as the block lasts; skips the test where that is not allowed."""
    root.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,nr_inodes={INODES},mode=0755", "tmpfs", str(root)]
    if subprocess.run(mount, capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True, timeout=10)
