"""Addresses of blobs that the tracker signs, where only holders of a token may read: `/blobs/<until>.<signature>/<etag>`.

Tracker and blob server share a key; the signature (HMAC-SHA256) binds the blob and a moment in seconds since 1970. A download
that began before that moment goes on. It stands in front of the etag, since a web seed ends with that (BEP 19).

An address may be good for a HEAD alone: the tracker asks seeders by such ones, which give nothing to one that listens between.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

LASTS_S = 900  # as long as between two announces
_PATH = re.compile(r"/blobs/(?:([0-9]{1,12})\.([0-9a-f]{64})/)?([^/?]+)")


def signed_path(key: str, etag: str, *, until: int, to_look: bool = False) -> str:
    """Return the path at which a blob may be had until that moment by all that have the path; `to_look`: or only be asked for, by
    HEAD."""
    return f"/blobs/{until}.{_signature(key, etag, until, to_look=to_look)}/{etag}"


def etag_of(path: str) -> str | None:
    """Return of which blob this is a path, signed or not; None: it is none of a blob."""
    match = _PATH.fullmatch(path)
    return match[3] if match else None


def is_signed(key: str, path: str, *, now: float, looks: bool = False) -> bool:
    """Say whether a path was made with `key`, and its moment has not passed. `looks`: for a HEAD those that are good for no more
    count, too."""
    match = _PATH.fullmatch(path)
    if match is None or match[1] is None or int(match[1]) < now:
        return False
    good = [_signature(key, match[3], int(match[1]), to_look=to_look) for to_look in ((False, True) if looks else (False,))]
    return any(hmac.compare_digest(match[2], one) for one in good)


def _signature(key: str, etag: str, until: int, *, to_look: bool) -> str:
    what = f"{etag} {until} HEAD" if to_look else f"{etag} {until}"
    return hmac.new(key.encode(), what.encode(), sha256).hexdigest()
