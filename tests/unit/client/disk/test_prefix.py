"""Hashing a file while it grows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch
from llmpt.disk.prefix import PrefixHasher

CONTENT = os.urandom(1_000_000)
SHA256 = Etag(hashlib.sha256(CONTENT).hexdigest())
SHA1 = Etag(hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "partial"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("etag", [SHA256, SHA1])
def test_what_was_hashed_on_the_way_is_not_read_again_at_the_end(file: Path, etag: Etag) -> None:
    with PrefixHasher(file, etag, len(CONTENT), slice_bytes=100_000) as hasher:
        assert hasher.advance(250_000)
        assert hasher.hashed_bytes == 100_000, "a slice at a time"
        assert hasher.advance(250_000)
        assert not hasher.advance(250_000)
        assert hasher.hashed_bytes == 250_000
        file.write_bytes(b"?" * 250_000 + CONTENT[250_000:])
        hasher.finish(on_read=lambda: None)


def test_content_that_is_not_the_etags_is_found(file: Path) -> None:
    with PrefixHasher(file, Etag("0" * 64), len(CONTENT)) as hasher:
        hasher.advance(500_000)
        with pytest.raises(ContentMismatch, match="not that of etag"):
            hasher.finish(on_read=lambda: None)


def test_a_file_that_is_too_long_or_too_short_is_found(file: Path) -> None:
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        os.truncate(file, size)
        with PrefixHasher(file, SHA256, len(CONTENT)) as hasher, pytest.raises(ContentMismatch):
            hasher.finish(on_read=lambda: None)


def test_what_cannot_be_read_yet_is_left_for_later(file: Path) -> None:
    os.truncate(file, 50_000)
    with PrefixHasher(file, SHA256, len(CONTENT), slice_bytes=100_000) as hasher:
        assert not hasher.advance(100_000)
        file.write_bytes(CONTENT)
        while hasher.advance(len(CONTENT)):
            pass
        hasher.finish(on_read=lambda: None)


def test_whoever_waits_hears_of_the_end(file: Path) -> None:
    heard = 0

    def on_read() -> None:
        nonlocal heard
        heard += 1

    with PrefixHasher(file, SHA256, len(CONTENT)) as hasher:
        hasher.finish(on_read=on_read)
    assert heard


def test_a_slice_is_sixteen_mebibytes_unless_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 40 << 20)
    with PrefixHasher(path, SHA256, 40 << 20) as hasher:
        assert hasher.advance(40 << 20)
        assert hasher.hashed_bytes == 16 << 20


def test_nothing_beyond_what_is_verified_is_read_before_its_time(file: Path) -> None:
    with file.open("r+b") as rest:
        rest.seek(1000)
        rest.write(bytes(len(CONTENT) - 1000))  # a hole, as a transfer leaves it
    with PrefixHasher(file, SHA256, len(CONTENT)) as hasher:
        assert not hasher.advance(1000)
        file.write_bytes(CONTENT)
        hasher.finish(on_read=lambda: None)
