"""The path by which the session reads and writes one file, whatever becomes of the file's own path.

libtorrent opens a file by its path each time. If a cleaner removed it, it would be made anew, and if another program put its
own there, that would be written to. So the session is given a link to the open descriptor instead; when the file has come to
rest, the link leads to a descriptor that the session's owner keeps.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from llmpt.core.files import FileId

DESCRIPTORS = Path("/proc/self/fd")


class Door:
    """A link in `folder`, which is this agent's alone, to the file that is open as `descriptor`.

    `path`: the link; where none can be had (no /proc, no folder) the file's own path `plain`, and `is_plain` is True.
    """

    def __init__(self, folder: Path | None, descriptor: int, plain: Path) -> None:
        self.path, self.is_plain, self._descriptor = plain, True, descriptor
        if folder is None:
            return
        link = folder / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            link.symlink_to(DESCRIPTORS / str(descriptor))
            if FileId.of(link.stat()) == FileId.of(os.fstat(descriptor)):
                self.path, self.is_plain = link, False
        except OSError:
            link.unlink(missing_ok=True)

    def leads_there(self) -> bool:
        """Whether the path leads to the open file now."""
        try:
            return FileId.of(self.path.stat()) == FileId.of(os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Nothing goes through it any more."""
        if not self.is_plain:
            self.path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what an earlier agent has left in `folder`."""
    try:
        for entry in folder.iterdir():
            entry.unlink()
    except OSError:
        pass  # there is none
