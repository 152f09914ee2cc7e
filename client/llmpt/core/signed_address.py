"""Addresses of blobs that the tracker signs, where only holders of a token may read: `/blobs/<etag>?until=…&sig=…`.

Tracker and blob server share a key; the signature (HMAC-SHA256) binds the blob and a moment in seconds since 1970. A download
that began before that moment goes on.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

LASTS_S = 900  # as long as between two announces
_QUERY = re.compile(r"until=([0-9]{1,12})&sig=([0-9a-f]{64})")


def signed_query(key: str, etag: str, *, until: int) -> str:
    """Return the query that lets anybody who has it get a blob until that moment."""
    return f"until={until}&sig={_signature(key, etag, until)}"


def is_signed_query(query: str) -> bool:
    """Say whether a query has the form of such a one."""
    return _QUERY.fullmatch(query) is not None


def is_good(key: str, etag: str, query: str, *, now: float) -> bool:
    """Say whether a query was made with `key` for this blob, and its moment has not passed."""
    match = _QUERY.fullmatch(query)
    if match is None or int(match[1]) < now:
        return False
    return hmac.compare_digest(match[2], _signature(key, etag, int(match[1])))


def _signature(key: str, etag: str, until: int) -> str:
    return hmac.new(key.encode(), f"{etag} {until}".encode(), sha256).hexdigest()
