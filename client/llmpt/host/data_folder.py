"""The folder of a server's state: its owner's alone."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from llmpt.core.errors import SettingError

log = logging.getLogger("llmpt")

OURS = frozenset({"tracker.db", "seeder.db", "publish.token", "seeder.alive", "mirror", "backups"})
_EMPTY = frozenset({"lost+found"})


def make_private(folder: Path, *, setting: str = "LLMPT_DATA") -> None:
    """Make the folder with mode 0700, or give that mode to one that others may enter.

    A folder that holds other things keeps its mode, which is said; raises `SettingError` when others may write there as well.
    Raises `OSError` when it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & 0o077:
        return
    names = {entry.name for entry in folder.iterdir()}
    is_its_own = bool(names & OURS) or names <= _EMPTY
    if is_its_own and not mode & stat.S_ISVTX and _tightened(folder):
        log.warning("others could look into %s, the folder of this server's state: its mode is 0700 now", folder)
    elif not is_its_own and mode & 0o022:
        raise SettingError(
            f"{setting}={str(folder)!r} cannot be used: other users may write there, and it holds other things;"
            f" name a folder of its own, or `chmod 700 {folder}`"
        )
    else:
        log.warning("other users may look into %s, the folder of this server's state: it should be of mode 0700", folder)


def _tightened(folder: Path) -> bool:
    try:
        folder.chmod(0o700)
    except OSError:  # it is another user's
        return False
    return not stat.S_IMODE(folder.stat().st_mode) & 0o077  # some file systems take a mode and have none
