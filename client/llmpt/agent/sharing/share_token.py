"""The token with which this machine may share with others: one per tracker, in the agent's state folder, for its user alone."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from llmpt.agent.host import places


def token_path(tracker: str) -> Path:
    """Return where the token for the tracker at the URL `tracker` is kept. Raises `AgentUnavailable` without such a place."""
    return places.state_dir() / f"share-{hashlib.sha256(tracker.encode()).hexdigest()[:16]}.token"


def read(path: Path) -> str | None:
    """Return the token that is kept at `path`; None when there is none."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write(path: Path, token: str) -> None:
    """Keep `token` at `path`, mode 0600; the file appears whole or not at all. Raises `OSError`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".share-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
