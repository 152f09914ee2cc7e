"""Where a user's agent keeps its state on this host, and the note in it of the folder that it serves from.

Sessions of one user may have different runtime folders, or none (a login, cron, `su`, `docker exec`); they have the same state,
and so find the one agent. What a note says is believed of a folder that only this user can enter, and that an agent lives in.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

FALLBACK = Path("/var/tmp")  # noqa: S108 - survives a reboot; our folder in it is private, and its owner is checked
TRIES = 10  # a user may take some names from us, and none of those that we have
NOTE = "run-at"  # a link, since that changes as a whole
_LONGEST_NAME = 32  # of a host: the path of a socket is short


def at_home(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of this host in the user's state, e.g. ~/.local/state/llmpt/<host>; None where there is no home.

    A home may be that of many hosts, so each has a folder of its own.
    """
    base, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    try:
        found = Path(base) if base.startswith("/") else (Path(home) if home.startswith("/") else Path.home()) / ".local" / "state"
    except RuntimeError:  # a user without a home
        return None
    return found / "llmpt" / _host() if found.is_absolute() else None


def elsewhere() -> list[Path]:
    """Return the folders that may hold it where the home cannot: the first that is not taken by another user."""
    return [FALLBACK / f"llmpt-{os.getuid()}{more}" for more in ("", *(f".{n}" for n in range(1, TRIES)))]


def note(state: Path, folder: Path) -> None:
    """Note in `state` that an agent serves from `folder`. A disk that takes no note costs no more than a second agent."""
    made = state / f".{NOTE}-{secrets.token_hex(4)}"
    with suppress(OSError):
        made.symlink_to(folder)
        try:
            made.replace(state / NOTE)
        except OSError:
            made.unlink()


def noted(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders that agents of this user have served from, and may serve from still."""
    for state in filter(None, (at_home(environ), *elsewhere())):
        with suppress(OSError):
            link = state / NOTE
            if link.lstat().st_uid != os.getuid():
                continue
            folder = link.readlink()
            found = folder.lstat()
            if folder.is_absolute() and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                yield folder


def _host() -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname()).strip(".") or "localhost"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
