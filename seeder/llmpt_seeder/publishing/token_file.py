"""The token to publish with, in a file that the tracker made, or behind a descriptor that the seeder was started with."""

from __future__ import annotations

import os
import re
from pathlib import Path

LONGEST = 4096
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


class TokenFile:
    """Reads the token once, and again after it was refused: no other read of the seeder ever touches the file.

    `/dev/fd/N` is read from the descriptor itself, not opened: the seeder need not be able to open the file at all. A pipe can
    be read only once; what was read stays in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._secret: str | None = None
        self._is_stale = True

    def read(self) -> str | None:
        """Return the token; None: there is none yet."""
        if self._is_stale or self._secret is None:
            self._secret = self._read() or self._secret
            self._is_stale = False
        return self._secret

    def refused(self) -> None:
        """Read anew at the next question: the tracker takes this token no longer."""
        self._is_stale = True

    def _read(self) -> str | None:
        try:
            match = _DESCRIPTOR.fullmatch(str(self.path))
            if match:
                return _of_descriptor(int(match[1])).decode("ascii").strip() or None
            with self.path.open("rb") as file:
                return file.read(LONGEST).decode("ascii").strip() or None
        except (OSError, UnicodeDecodeError, OverflowError):
            return None


def _of_descriptor(fd: int) -> bytes:
    os.set_inheritable(fd, False)  # no process that the seeder starts has it
    try:
        return os.pread(fd, LONGEST, 0)
    except OSError:  # a pipe
        return os.read(fd, LONGEST)
