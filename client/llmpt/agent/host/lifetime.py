"""Why an agent ends without being told to: its package was uninstalled, its socket's folder has gone, its job is over.

By default an agent stays while it can seed. With LLMPT_AGENT=job it belongs to a job: the process that started it, and
every process that has had something fetched by it since. When the last of them has ended, and nothing is under way, it ends.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
from pathlib import Path

JOB = "job"  # LLMPT_AGENT: the agent ends with the processes that it was started for


class UserProcesses:
    """The processes for which an agent is there. One that ended and whose number was given out again does not count."""

    def __init__(self, starter: int) -> None:
        self._lock = threading.Lock()
        self._members: dict[int, str] = {}
        self.join(starter)

    def join(self, pid: int) -> None:
        """Note a process that uses the agent; one that cannot be seen from here (another container's) is not waited for."""
        born = _born(pid)
        if born is not None:
            with self._lock:
                self._members[pid] = born

    def over(self) -> bool:
        """Whether all of them have ended."""
        with self._lock:
            self._members = {pid: born for pid, born in self._members.items() if _born(pid) == born}
            return not self._members


class Package:
    """The installed llmpt that this process runs. `gone` when it was uninstalled, or replaced by another version."""

    def __init__(self) -> None:
        self._files = [Path(__file__)]
        try:
            installed = importlib.metadata.distribution("llmpt").files or []
        except importlib.metadata.PackageNotFoundError:
            installed = []
        self._files += [Path(str(file.locate())) for file in installed if file.name == "METADATA"]

    def gone(self) -> bool:
        return not all(file.exists() for file in self._files)


def _born(pid: int) -> str | None:
    """Return something that tells a process from an earlier one of the same number; None when it has ended (zombies have)."""
    if pid <= 0:
        return None
    if not sys.platform.startswith("linux"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "alive"
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in "ZX" else after_name[19]
