"""Pages: a limit, and an opaque cursor that says where the next one begins (keyset, never OFFSET)."""

from __future__ import annotations

import base64
import binascii
import re

from llmpt_tracker.errors import Refused

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def read_limit(text: str | None) -> int:
    """Read `limit`; raise `Refused` (400) unless it is a whole number from 1 to 200."""
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise Refused(400, "bad_request", f"limit: a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def write_cursor(key: int) -> str:
    """Return the cursor of a page that ended with row `key`."""
    return base64.urlsafe_b64encode(b"%d" % key).rstrip(b"=").decode()


def read_cursor(text: str | None) -> int | None:
    """Return the row that a cursor stands for; None when there is no cursor. Raises `Refused` (400) for any other text."""
    if text is None:
        return None
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not re.fullmatch(rb"[0-9]{1,18}", key):
        raise Refused(400, "bad_request", "cursor: not one that this tracker gave")
    return int(key)
