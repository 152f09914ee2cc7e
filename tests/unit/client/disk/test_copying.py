"""A blob is copied, and what was copied is what is verified."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.disk import copying

GOOD, BAD = b"right" * 1000, b"wrong" * 1000
ETAG = Etag(hashlib.sha256(GOOD).hexdigest())


def test_a_source_that_is_put_right_after_it_was_cloned_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(BAD)

    def clone(_from: int, to: int) -> bool:
        os.pwrite(to, source.read_bytes(), 0)
        source.write_bytes(GOOD)
        return True

    monkeypatch.setattr(copying, "_clone", clone)
    read, write = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(ContentMismatch):
            copying.copy_blob(read, write, ETAG, len(GOOD), on_copied=lambda _count: None)
    finally:
        os.close(read)
        os.close(write)
