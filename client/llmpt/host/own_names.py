"""The names that this machine has by its own settings. No name server is asked: it may be out of reach, or a stranger's."""

from __future__ import annotations

import socket
from pathlib import Path


def own_names(resolv_conf: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """Return this machine's name, and patterns of those below the domains in which it looks short names up.

    These are its owner's; a container knows them, and not its machine's name. One of a single label (`com`) is not taken.
    """
    domains = (one for one in _domains(resolv_conf) if "." in one)
    return (socket.gethostname(), *(f"*.{one}" for one in domains))


def _domains(resolv_conf: Path) -> list[str]:
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [one.strip(".") for line in words if line and line[0] in ("search", "domain") for one in line[1:]]
