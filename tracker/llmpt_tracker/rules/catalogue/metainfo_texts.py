"""Metainfo as answers hold it: in base64, and kept, for a storm of machines asks for the same.

A torrent's metainfo follows from its info-hash, so that what is kept is never out of date.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from llmpt_tracker.database.models import StoredMetainfo

KEPT_BYTES = 16 << 20  # of one process
BATCH = 500  # names in one IN (…)

_STORED = StoredMetainfo.__table__.c
_METAINFO = select(_STORED.blob_id, _STORED.data).where(_STORED.blob_id.in_(bindparam("keys", expanding=True)))


class MetainfoTexts:
    """Those that were asked for last, `most_bytes` at most. Used by many threads."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def of(self, session: Session, keys: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the metainfo of torrents by key, in base64; `keys` says the info-hash of each. What has none is not in it."""
        with self._lock:
            found = {key: text for key, info_hash in keys.items() if (text := self._kept.get(info_hash)) is not None}
            for key in found:
                self._kept.move_to_end(keys[key])
        missing = [key for key in keys if key not in found]
        for start in range(0, len(missing), BATCH):
            rows: Any = session.execute(_METAINFO, {"keys": missing[start : start + BATCH]})
            for key, data in rows:
                found[key] = base64.b64encode(data)
                self._keep(keys[key], found[key])
        return found

    def _keep(self, info_hash: bytes, text: bytes) -> None:
        with self._lock:
            if info_hash not in self._kept:
                self._kept[info_hash] = text
                self._bytes += len(text)
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
