"""Where the agent keeps what must survive a restart: one folder per host, never on a network's file system."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import platformdirs

from llmpt.host.mounts import Mounts
from llmpt.link import paths

DATABASE = "agent.db"
FALLBACK = Path("/var/tmp")  # noqa: S108 - survives a reboot; our folder in it is private, and its owner is checked


def state_dir(mounts: Mounts | None = None) -> Path:
    """Return the folder of this user's state on this host, made with mode 0700: e.g. ~/.local/state/llmpt/<host>.

    A home that lies on a network's file system, is missing or is read-only gives way to /var/tmp/llmpt-<uid>. Raises
    `AgentUnavailable` when that cannot be had either.
    """
    wanted = _user_state() / _host()
    if wanted.is_absolute() and (mounts or Mounts.read()).network_kind(wanted) is None and _usable(wanted):
        return wanted
    return paths.private_folder(FALLBACK / f"llmpt-{os.getuid()}")


def _user_state() -> Path:
    try:
        return platformdirs.user_state_path("llmpt")
    except RuntimeError:  # a user without a home
        return Path()


def database_path(mounts: Mounts | None = None) -> Path:
    """Return the file of the agent's inventory. Raises as `state_dir`."""
    return state_dir(mounts) / DATABASE


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        return False


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname()).strip(".")[:64] or "localhost"
