"""Publishing in batches: under the tracker's limit, and down to the item that is to blame."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.metainfo import Metainfo, piece_length_for
from llmpt.disk.stamp import FileStamp
from llmpt_seeder.publishing.manifest import PublishLimits
from llmpt_seeder.publishing.publisher import Publisher
from llmpt_seeder.state import SeederState
from tests.support.cache_builder import lfs_sha256

LIMIT_BYTES = 8 << 20


class Post:
    """Takes bodies; refuses those that hold a torrent whose etag is in `bad`."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.bad: set[str] = set()
        self.status = 422

    def __call__(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        self.bodies.append(body)
        if any(Metainfo.parse(base64.b64decode(text)).etag.value in self.bad for text in body["torrents"]):
            raise TrackerRefused("no", status=self.status, code="refused")
        return {}


@pytest.fixture
def post() -> Post:
    return Post()


def know(state: SeederState, count: int, size: int) -> list[Etag]:
    """Let the inventory know blobs of `size` bytes without there being any."""
    etags = []
    for number in range(count):
        etag = Etag(lfs_sha256(b"%d" % number))
        pieces = -(-size // piece_length_for(size))
        layer = lfs_sha256(b"node %d" % number).encode()[:32] * pieces if pieces > 1 else b""
        root = merkle.root_of_layer(layer, piece_length_for(size)) if layer else bytes([number]) * 32
        state.remember(Path(f"/blobs/{number}"), FileStamp(size, 1, number), Metainfo(etag, size, root, layer))
        etags.append(etag)
    return etags


@pytest.fixture
def publisher(state: SeederState, post: Post) -> Publisher:
    return Publisher(state, post=post, clock=lambda: 1.0)


def test_batches_stay_under_the_limit(state: SeederState, publisher: Publisher, post: Post) -> None:
    etags = know(state, 100, 4096 * (64 << 10))  # 128 KiB of piece layer each
    publisher.publish_torrents(etags)
    assert publisher.take_taken() == etags
    assert len(post.bodies) == 3
    assert all(len(json.dumps(body)) < LIMIT_BYTES for body in post.bodies)
    assert sum(len(body["torrents"]) for body in post.bodies) == 100


def test_a_batch_has_no_more_torrents_than_a_tracker_takes_in_good_time(state: SeederState, post: Post) -> None:
    publisher = Publisher(state, post=post, clock=lambda: 1.0, limits=PublishLimits(torrents=4))
    publisher.publish_torrents(know(state, 10, 1000))
    assert [len(body["torrents"]) for body in post.bodies] == [4, 4, 2]


def test_a_bad_torrent_is_singled_out(state: SeederState, publisher: Publisher, post: Post) -> None:
    etags = know(state, 16, 1000)
    post.bad = {etags[5].value}
    publisher.publish_torrents(etags)
    assert publisher.take_taken() == [etag for etag in etags if etag != etags[5]]
    assert len(post.bodies) <= 9
    assert [problem.what for problem in list(publisher.problems())] == [etags[5].value]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_that_is_not_about_the_torrents_stops_publishing(
    state: SeederState, publisher: Publisher, post: Post, status: int
) -> None:
    etags = know(state, 8, 1000)
    post.bad, post.status = {etags[0].value}, status
    with pytest.raises(TrackerRefused):
        publisher.publish_torrents(etags)
    assert len(post.bodies) == 1
    assert list(publisher.problems()) == []


def test_what_was_taken_before_the_tracker_died_is_remembered(state: SeederState) -> None:
    etags = know(state, 8, 1000)
    answers: Iterator[bool] = iter([True, False])

    def post(body: Mapping[str, object]) -> Mapping[str, object]:
        if not next(answers):
            raise TrackerUnavailable("gone")
        return {}

    with pytest.raises(TrackerUnavailable):
        Publisher(state, post=post, clock=lambda: 1.0, limits=PublishLimits(torrents=4)).publish_torrents(etags)
    assert state.published_torrents() == set(etags[:4])
