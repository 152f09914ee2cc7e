"""The client's wheels that this server hands out: what lies in the folder of LLMPT_DIST.

The image has its own (`/opt/dist`); `make dist` makes such a folder for a server without Docker. Only wheels are served, only
under their own names, and nothing that a name could lead to elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

# PEP 427: distribution-version(-build)?-python-abi-platform.whl
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*-[A-Za-z0-9_.!+]+(-[0-9][A-Za-z0-9_.]*)?(-[A-Za-z0-9_.]+){3}\.whl")
_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of the folder; `size` in bytes."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def sha256(self) -> str:
        """The SHA-256 in hex; read once as long as the file stays as it is."""
        return _digest(self.path, self.size, self.mtime_ns)


def wheels(folder: Path | None) -> list[Wheel]:
    """Return the wheels of a folder, by name; none when there is no folder."""
    found = []
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
        if _WHEEL.fullmatch(path.name) and path.is_file():
            status = path.stat()
            found.append(Wheel(path, status.st_size, status.st_mtime_ns))
    return found


def wheel(folder: Path | None, name: str) -> Wheel | None:
    """Return one wheel by its file name; None when it is not there."""
    return next((one for one in wheels(folder) if one.name == name), None)


def client(folder: Path | None) -> Wheel | None:
    """Return the newest wheel of llmpt itself; None when there is none."""
    ours = [one for one in wheels(folder) if one.name.startswith("llmpt-")]
    return max(ours, key=lambda one: [int(number) for number in _NUMBERS.findall(one.name.split("-")[1])], default=None)


@lru_cache(maxsize=1024)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    hasher = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
