"""Removing all that the agent keeps on this host: its state, its socket's folder, the unfinished downloads it knows of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from llmpt.agent.host import places
from llmpt.core.errors import StateUnavailable
from llmpt.disk.inventory import Inventory
from llmpt.link import lock, paths


def purge(environ: Mapping[str, str], *, ending_s: float = lock.ENDING_TIMEOUT_S) -> list[Path]:
    """Remove everything, and return what was removed. Files in caches stay: they are the user's.

    An agent that is ending is given `ending_s`. Raises `AgentUnavailable` when one runs, or a folder is not this user's.
    """
    removed: list[Path] = []
    with lock.held(environ, ending_s=ending_s):  # and as long as it is held no other begins
        state, runtime = places.state_dir(), paths.runtime_dir(environ)
        for path in _partials(state / places.DATABASE):
            path.unlink(missing_ok=True)
            removed.append(path)
        for folder in (state, runtime):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _partials(database: Path) -> list[Path]:
    if not database.exists():
        return []
    try:
        with Inventory(database) as inventory:
            return inventory.partials()
    except StateUnavailable:
        return []  # it goes, whatever it is
