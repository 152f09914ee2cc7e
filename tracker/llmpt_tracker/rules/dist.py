"""The client's wheels that this server hands out: what lies in the folder of LLMPT_DIST.

The image has its own (`/opt/dist`); `make dist` makes such a folder for a server without Docker. Only wheels are served, only
under their own names, and nothing that a name could lead to elsewhere.

What is installed over plain HTTP is held to a hash that was copied with the line: of the client's wheel, whose dependencies
then come from the index that pip has, or, without the Internet, of a list with the hash of every wheel.
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
REQUIREMENTS = "requirements.txt"
MAX_REQUIREMENTS = 4 << 20


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


def requirements(folder: Path | None) -> bytes | None:
    """Return the list of all that the client needs, each by its hashes, and of the client; None where no lock lies there."""
    wheel = client(folder)
    if folder is None or wheel is None:
        return None
    try:
        with (folder / REQUIREMENTS).open("rb") as file:
            lock = file.read(MAX_REQUIREMENTS)
    except OSError:
        return None
    version = wheel.name.split("-")[1]
    return lock.rstrip() + f"\nllmpt=={version} --hash=sha256:{wheel.sha256}\n".encode()


@dataclass(frozen=True, slots=True)
class Lines:
    """What to paste on a workstation.

    online: the client by its hash, its dependencies from pip's index
    offline: all from this server, by the hash of the list of hashes; none where there is no such list
    """

    online: str
    offline: tuple[str, ...]


def lines(folder: Path | None, url: str, host: str) -> Lines | None:
    """Return the lines for a server at `url`, whose host is `host`; None when there is no client to hand out."""
    wheel = client(folder)
    if wheel is None:
        return None
    listed = requirements(folder)
    offline: tuple[str, ...] = ()
    if listed is not None:
        here = f"--find-links {url}/dist/ --trusted-host {host}"
        offline = (
            f"curl -fsSO {url}/dist/{REQUIREMENTS}",
            f'echo "{sha256(listed).hexdigest()}  {REQUIREMENTS}" | sha256sum --check && '
            f"pip install --no-index --no-deps --require-hashes {here} -r {REQUIREMENTS}",
        )
    return Lines(f'pip install "llmpt @ {url}/dist/{wheel.name}#sha256={wheel.sha256}"', offline)


@lru_cache(maxsize=1024)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    hasher = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
