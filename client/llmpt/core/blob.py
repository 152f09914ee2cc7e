"""A blob: the content of one file, named by its Hub etag.

An etag is the SHA-256 of the content (LFS and Xet files: 64 hex digits) or git's SHA-1 of it (all others: 40), so that a
blob can be verified from its name alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from llmpt.core.errors import InvalidName

READ_BYTES = 4 << 20
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Etag:
    """The Hub's name of a blob: 64 lower-case hex digits (SHA-256) or 40 (git SHA-1). Raises `InvalidName` otherwise."""

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str) or not _ETAG.fullmatch(self.value):
            raise InvalidName(f"not an etag of the Hub (40 or 64 lower-case hex digits): {self.value!r:.80}")

    @property
    def is_sha256(self) -> bool:
        return len(self.value) == 64

    def __str__(self) -> str:
        return self.value


class EtagHasher:
    """Fed the content of a blob of `size` bytes in order, says whether it is what `etag` names."""

    def __init__(self, etag: Etag, size: int) -> None:
        self.etag, self.size, self.seen = etag, size, 0
        if etag.is_sha256:
            self._hash = hashlib.sha256()
        else:
            self._hash = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        self.seen += len(data)

    def matches(self) -> bool:
        return self.seen == self.size and self._hash.hexdigest() == self.etag.value
