"""The server's key: made at the first start, mode 0600, never logged. Its fingerprint is what people compare."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from llmpt.core.errors import InvalidInput, StateUnavailable
from llmpt.identity.keys import ServerKey
from llmpt_tracker.serve.state_files import usable

log = logging.getLogger(__name__)

MEND = "put a copy of yours in its place; or remove it, and start again: a new one is made, and every machine has to join again"


def ensure_key(file: Path) -> ServerKey:
    """Return the key in `file`, which is made if there is none; of replicas that start at once one makes it.

    Raises `StateUnavailable`.
    """
    with usable(file, "the key by which this server is known", MEND):
        try:
            key = ServerKey.read(file)
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                ServerKey.generate().write(file)
                log.info("made the key of this server: %s", file)
            key = ServerKey.read(file)
        except InvalidInput as error:
            raise StateUnavailable(f"{error}. It is to hold the key by which this server is known; {MEND}") from None
    return key
