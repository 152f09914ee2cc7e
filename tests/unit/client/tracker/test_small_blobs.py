"""A small blob into memory: verified, over connections that are kept, and soon given up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmpt.core.blob import Etag
from llmpt.tracker.blobs import NotOverHttp
from llmpt.tracker.small_blobs import LARGEST_BYTES, SmallBlobs
from tests.support.blob_server import BlobServer

CONTENT = b'{"a": 1}'
SHA256 = Etag(hashlib.sha256(CONTENT).hexdigest())
GIT = Etag(hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest())


@pytest.fixture
def seeder() -> Iterator[BlobServer]:
    with BlobServer({SHA256.value: CONTENT, GIT.value: CONTENT}) as running:
        yield running


@pytest.fixture
def tracker(seeder: BlobServer) -> Iterator[BlobServer]:
    with BlobServer(redirect_to=lambda: seeder) as running:
        yield running


@pytest.mark.parametrize("etag", [SHA256, GIT], ids=["sha256", "git"])
def test_it_comes_through_the_trackers_redirect(tracker: BlobServer, etag: Etag) -> None:
    blobs = SmallBlobs(tracker.url)
    assert [blobs.read(etag, len(CONTENT)) for _ in range(3)] == [CONTENT] * 3


def test_the_seeder_that_gave_one_is_asked_for_the_next(tracker: BlobServer, seeder: BlobServer) -> None:
    blobs = SmallBlobs(tracker.url)
    for etag in (SHA256, GIT, SHA256):
        blobs.read(etag, len(CONTENT))
    assert (len(tracker.requests), len(seeder.requests)) == (1, 3)


def test_another_seeder_is_found_when_that_one_does_not_have_it(seeder: BlobServer) -> None:
    with BlobServer({SHA256.value: CONTENT}) as other:
        where = {"now": other}
        with BlobServer(redirect_to=lambda: where["now"]) as tracker:
            blobs = SmallBlobs(tracker.url)
            assert blobs.read(SHA256, len(CONTENT)) == CONTENT
            where["now"] = seeder
            assert blobs.read(GIT, len(CONTENT)) == CONTENT


def test_many_threads_share_it(tracker: BlobServer) -> None:
    blobs = SmallBlobs(tracker.url)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: blobs.read(SHA256, len(CONTENT)), range(40))) == {CONTENT}


@pytest.mark.parametrize("wrong", [b'{"a": 2}', b'{"a": 1} and more', b"{"])
def test_other_bytes_than_its_etag_says_are_never_given(tracker: BlobServer, seeder: BlobServer, wrong: bytes) -> None:
    seeder.contents[SHA256.value] = wrong
    with pytest.raises(NotOverHttp):
        SmallBlobs(tracker.url).read(SHA256, len(CONTENT))


def test_what_no_seeder_has_is_no_reason_to_leave_the_lan_alone(tracker: BlobServer, seeder: BlobServer) -> None:
    blobs, absent = SmallBlobs(tracker.url), Etag("0" * 40)
    with pytest.raises(NotOverHttp, match="404"):
        blobs.read(absent, 10)
    assert blobs.read(GIT, len(CONTENT)) == CONTENT


def test_a_lan_that_does_not_answer_is_waited_for_once(tracker: BlobServer, seeder: BlobServer) -> None:
    seeder.stall_after = 2
    blobs = SmallBlobs(tracker.url, answer_s=0.2)
    for _ in range(5):
        with pytest.raises(NotOverHttp):
            blobs.read(SHA256, len(CONTENT))
    assert len(seeder.requests) == 1


def test_large_ones_have_another_way(tracker: BlobServer) -> None:
    with pytest.raises(NotOverHttp):
        SmallBlobs(tracker.url).read(SHA256, LARGEST_BYTES + 1)
    assert tracker.requests == []
