"""Addresses of blobs that the tracker signs, where only holders of a token may read: `/blobs/<until>.<signature>/<etag>`.

Tracker and blob server share a key; the signature (HMAC-SHA256) binds the blob and a moment in seconds since 1970. A download
that began before that moment goes on. It stands in front of the etag, since a web seed ends with that (BEP 19).
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

LASTS_S = 900  # as long as between two announces
_PATH = re.compile(r"/blobs/(?:([0-9]{1,12})\.([0-9a-f]{64})/)?([^/?]+)")


def signed_path(key: str, etag: str, *, until: int) -> str:
    """Return the path at which a blob may be had until that moment by all that have the path."""
    return f"/blobs/{until}.{_signature(key, etag, until)}/{etag}"


def etag_of(path: str) -> str | None:
    """Return of which blob this is a path, signed or not; None: it is none of a blob."""
    match = _PATH.fullmatch(path)
    return match[3] if match else None


def is_signed(key: str, path: str, *, now: float) -> bool:
    """Say whether a path was made with `key`, and its moment has not passed."""
    match = _PATH.fullmatch(path)
    if match is None or match[1] is None or int(match[1]) < now:
        return False
    return hmac.compare_digest(match[2], _signature(key, match[3], int(match[1])))


def _signature(key: str, etag: str, until: int) -> str:
    return hmac.new(key.encode(), f"{etag} {until}".encode(), sha256).hexdigest()
