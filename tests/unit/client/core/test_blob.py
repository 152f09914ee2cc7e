from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from llmpt.core.blob import Etag, EtagHasher
from llmpt.core.errors import ContentMismatch, InvalidName
from llmpt.disk.verification import verify_file

CONTENT = b"hello\n"
SHA256 = Etag("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
GIT_SHA1 = Etag("ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object


@pytest.mark.parametrize("etag", [SHA256, GIT_SHA1])
def test_a_file_whose_content_is_what_its_etag_says_passes(tmp_path: Path, etag: Etag) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    verify_file(path, etag, len(CONTENT))


@pytest.mark.parametrize("etag", [SHA256, GIT_SHA1])
@pytest.mark.parametrize("content", [b"hellO\n", b"hello", b"hello\n\n", b""])
def test_any_other_content_is_a_mismatch(tmp_path: Path, etag: Etag, content: bytes) -> None:
    path = tmp_path / "blob"
    path.write_bytes(content)
    with pytest.raises(ContentMismatch, match=f"{len(content)} bytes.*{etag}"):
        verify_file(path, etag, len(CONTENT))


@pytest.mark.parametrize("etag", [SHA256, GIT_SHA1])
def test_the_right_content_under_a_wrong_size_is_a_mismatch(tmp_path: Path, etag: Etag) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    with pytest.raises(ContentMismatch):
        verify_file(path, etag, len(CONTENT) + 1)


def test_a_hasher_takes_its_content_in_any_portions() -> None:
    content = bytes(range(256)) * 100
    hasher = EtagHasher(Etag(hashlib.sha256(content).hexdigest()), len(content))
    for start in range(0, len(content), 999):
        assert not hasher.matches()
        hasher.update(memoryview(content)[start : start + 999])
    assert hasher.matches()


@pytest.mark.parametrize(
    "text", ["", "a" * 39, "a" * 41, "a" * 63, "a" * 65, "A" * 40, "g" * 64, '"' + "a" * 40 + '"', "a" * 40 + "\n"]
)
def test_what_the_hub_would_never_use_is_no_etag(text: str) -> None:
    with pytest.raises(InvalidName, match="not an etag"):
        Etag(text)


def test_an_etag_knows_which_hash_it_is() -> None:
    assert SHA256.is_sha256
    assert not GIT_SHA1.is_sha256
    assert str(GIT_SHA1) == GIT_SHA1.value
