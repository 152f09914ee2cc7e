"""A stretch of a blob as it comes: no more of it is asked for, and another seeder goes on where one breaks off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from llmpt.core.blob import Etag
from llmpt.tracker.blob_streams import BlobStreams
from llmpt.tracker.blobs import BlobHttp, NotOverHttp
from tests.support.blob_server import BlobServer
from tests.support.waiting import eventually

CONTENT = bytes(range(256)) * 8192
SIZE = len(CONTENT)
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def seeder() -> Iterator[BlobServer]:
    with BlobServer({ETAG.value: CONTENT}) as running:
        yield running


@pytest.fixture
def streams(seeder: BlobServer) -> Iterator[BlobStreams]:
    with BlobServer(redirect_to=lambda: seeder) as tracker:
        yield BlobStreams(BlobHttp(tracker.url, stall_timeout_s=2))


@pytest.mark.parametrize(("start", "stop"), [(0, SIZE), (0, 1), (1000, 6000), (SIZE - 5, SIZE)])
def test_what_is_asked_for_comes_and_no_more(streams: BlobStreams, seeder: BlobServer, start: int, stop: int) -> None:
    assert b"".join(streams.part(ETAG, SIZE, start, stop)) == CONTENT[start:stop]
    shown = "" if (start, stop) == (0, SIZE) else f"bytes={start}-{stop - 1 if stop < SIZE else ''}"
    assert [one.range for one in seeder.requests] == [shown]


def test_one_that_breaks_off_is_asked_again_from_there(streams: BlobStreams, seeder: BlobServer) -> None:
    seeder.cut_after = SIZE // 3
    assert b"".join(streams.part(ETAG, SIZE, 0, SIZE)) == CONTENT
    assert len(seeder.requests) in (3, 4)


def test_what_no_seeder_has_is_known_before_a_byte_is_promised(streams: BlobStreams, seeder: BlobServer) -> None:
    seeder.contents.clear()
    with pytest.raises(NotOverHttp):
        streams.part(ETAG, SIZE, 0, SIZE)


def test_where_no_seeder_goes_on_it_ends_in_words(streams: BlobStreams, seeder: BlobServer) -> None:
    seeder.cut_after, seeder.on_cut = SIZE // 3, seeder.contents.clear
    came: list[bytes] = []
    with pytest.raises(NotOverHttp):
        came.extend(streams.part(ETAG, SIZE, 0, SIZE))
    assert came
    assert CONTENT[: SIZE // 3].startswith(b"".join(came))


def test_one_that_is_closed_takes_no_more(streams: BlobStreams, seeder: BlobServer) -> None:
    seeder.slow = 1000
    stretch = streams.part(ETAG, SIZE, 0, SIZE)
    assert next(stretch)
    stretch.close()
    assert list(stretch) == []
    eventually(lambda: seeder.is_left, what="the connection to be given up")
