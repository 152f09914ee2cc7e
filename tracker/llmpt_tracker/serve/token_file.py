"""The token of the first start: a file in the data folder that the seeder reads, mode 0600, never logged.

The file is the authority: the tracker lets its holder publish, also after the database was lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from llmpt.core.files import give_name
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens
from llmpt_tracker.serve.state_files import usable

log = logging.getLogger(__name__)


def ensure_token(file: Path, database: Database, *, now: datetime) -> None:
    """Make the token file if there is none, and make sure that the database knows its token.

    A token in the file that was revoked stays revoked. Raises `StateUnavailable` when the file can be neither read nor made.
    """
    with usable(file, "the token with which the seeder publishes", "remove it, and start again: a new one is made"):
        try:
            secret = file.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # of replicas that start at once one makes it
                _write(file, tokens.new_secret(), place=give_name)
                log.info("made a publisher token: %s", file)
            secret = file.read_text(encoding="ascii").strip() if file.exists() else ""  # a link that leads nowhere is replaced
        if not secret:  # a disk that was full leaves an empty one
            secret = tokens.new_secret()
            _write(file, secret)
            log.info("made a publisher token: %s", file)
    if not secret.startswith(tokens.PREFIX):
        log.warning("%s holds no publisher token; remove it and start again to have a new one", file)
        return
    with database.writing() as session:
        known = tokens.find(session, secret)
        if known is None:
            tokens.add(session, secret, name=tokens.APPLIANCE, now=now, appliance=True)
        elif known.revoked_at is not None:
            log.warning("the token in %s was revoked; remove the file and start again to have a new one", file)


def replace_token(file: Path, secret: str) -> None:
    """Put another secret into the file. Raises `StateUnavailable` when it cannot be written."""
    with usable(file, "the token with which the seeder publishes", "make room, or give it back to the tracker's user"):
        _write(file, secret)


def _write(file: Path, secret: str, *, place: Callable[[Path, Path], object] = Path.replace) -> None:
    """Put the file there whole or not at all, readable by its owner alone from its first moment."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as out:
            out.write(secret + "\n")
            out.flush()
            os.fsync(out.fileno())
        place(draft, file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
