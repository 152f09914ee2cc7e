"""Pages: a limit, and an opaque cursor that says where the next one begins (keyset, never OFFSET)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TypeVar

from llmpt.core.errors import InvalidName
from llmpt.core.repo import check_path
from llmpt_tracker.errors import Refused

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def read_limit(text: str | None, *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
    """Read `limit`; raise `Refused` (400) unless it is a whole number from 1 to `most`."""
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= most:
        raise Refused(400, "bad_request", f"limit: a whole number from 1 to {most}")
    return int(text)


def write_cursor(key: int) -> str:
    """Return the cursor of a page that ended with row `key`."""
    return base64.urlsafe_b64encode(b"%d" % key).rstrip(b"=").decode()


def read_cursor(text: str | None) -> int | None:
    """Return the row that a cursor stands for; None when there is no cursor. Raises `Refused` (400) for any other text."""
    if text is None:
        return None
    key = _decoded(text)
    if not re.fullmatch(rb"[0-9]{1,18}", key):
        raise _not_ours()
    return int(key)


def write_path_cursor(path: str) -> str:
    """Return the cursor of a page of files that ended with the one at `path`."""
    return base64.urlsafe_b64encode(path.encode()).rstrip(b"=").decode()


def read_path_cursor(text: str | None) -> str | None:
    """Return the path that a cursor stands for; None when there is no cursor. Raises `Refused` (400) for any other text."""
    if text is None:
        return None
    try:
        return check_path(_decoded(text).decode())
    except (UnicodeDecodeError, InvalidName):
        raise _not_ours() from None


_Key = TypeVar("_Key", str, int)


def write_pair_cursor(value: str | int, key: int) -> str:
    """Return the cursor of a page in an order of values that ended with row `key`, which has `value`."""
    return base64.urlsafe_b64encode(json.dumps([value, key]).encode()).rstrip(b"=").decode()


def read_pair_cursor(text: str, kind: type[_Key]) -> tuple[_Key, int]:
    """Return the value, which is of a `kind`, and the row that a cursor stands for. Raises `Refused` (400) for any other text."""
    try:
        value, key = json.loads(_decoded(text))
    except (ValueError, TypeError):
        raise _not_ours() from None
    if type(value) is not kind or type(key) is not int or not all(abs(one) < 1 << 63 for one in (key, value) if type(one) is int):
        raise _not_ours()
    return value, key


def _decoded(text: str) -> bytes:
    """Return what a cursor is made of; nothing where it cannot be one."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _not_ours() -> Refused:
    return Refused(400, "bad_request", "cursor: not one that this tracker gave")
