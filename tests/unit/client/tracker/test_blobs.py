"""A blob over plain HTTP: resumed, verified, from the next seeder when one breaks off; and never for long when none has it."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import ContentMismatch, TrackerUnavailable
from llmpt.tracker import blobs as blob_http
from llmpt.tracker.blobs import BlobHttp, BlobTimings, NotOverHttp
from llmpt.tracker.crawl import CrawlRule
from tests.support.blob_server import BlobServer

CONTENT = random.Random(1).randbytes(3_000_000)
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())
SIZE = len(CONTENT)


@pytest.fixture
def seeder() -> Iterator[BlobServer]:
    with BlobServer({ETAG.value: CONTENT}) as running:
        yield running


@pytest.fixture
def tracker(seeder: BlobServer) -> Iterator[BlobServer]:
    with BlobServer(redirect_to=lambda: seeder) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 2 * SIZE, 0)


def fetch(tracker: BlobServer, descriptor: int, *, stall_timeout_s: float = 2.0) -> tuple[int, list[int]]:
    shown: list[int] = []
    came = BlobHttp(tracker.url, stall_timeout_s=stall_timeout_s).fetch(ETAG, SIZE, descriptor, on_progress=shown.append)
    return came, shown


def test_it_comes_whole_through_the_trackers_redirect(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    came, shown = fetch(tracker, file)
    assert content(file) == CONTENT
    assert came == SIZE
    assert shown == sorted(shown)
    assert shown[-1] == SIZE
    assert len(tracker.requests) == len(seeder.requests) == 1


def test_what_is_there_is_not_asked_for_again(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    os.pwrite(file, CONTENT[:1_000_000], 0)
    came, shown = fetch(tracker, file)
    assert content(file) == CONTENT
    assert came == 2_000_000
    assert min(shown) > 1_000_000
    assert [asked.range for asked in seeder.requests] == ["bytes=1000000-"]


def test_the_gaps_that_another_way_has_left_are_filled(tracker: BlobServer, file: int) -> None:
    os.pwrite(file, CONTENT[2_000_000:], 2_000_000)
    fetch(tracker, file)
    assert content(file) == CONTENT


def test_a_wrong_beginning_is_fetched_anew(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    os.pwrite(file, b"x" * 1_000_000, 0)
    came, _ = fetch(tracker, file)
    assert content(file) == CONTENT
    assert came == SIZE
    assert [asked.range for asked in seeder.requests] == ["bytes=1000000-", ""]


def test_a_whole_file_is_only_verified(tracker: BlobServer, file: int) -> None:
    os.pwrite(file, CONTENT, 0)
    assert fetch(tracker, file) == (0, [])
    assert not tracker.requests


def test_wrong_content_is_refused_and_not_taken_for_right_the_next_time(
    tracker: BlobServer, seeder: BlobServer, file: int
) -> None:
    seeder.contents[ETAG.value] = b"x" * SIZE
    with pytest.raises(ContentMismatch):
        fetch(tracker, file)
    seeder.contents[ETAG.value] = CONTENT
    fetch(tracker, file)
    assert content(file) == CONTENT


def test_another_size_is_refused_before_a_byte_of_it(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.contents[ETAG.value] = CONTENT + b"x"
    with pytest.raises(NotOverHttp, match=f"of {SIZE} bytes") as failure:
        fetch(tracker, file)
    assert failure.value.there == 0
    assert content(file) == b""


def test_a_seeder_that_breaks_off_is_followed_by_the_next(seeder: BlobServer, file: int) -> None:
    with BlobServer({ETAG.value: CONTENT}) as dying:
        dying.cut_after = 1_200_000
        order = iter([dying, seeder])
        with BlobServer(redirect_to=lambda: next(order)) as tracker:
            came, shown = fetch(tracker, file)
    assert content(file) == CONTENT
    assert came == SIZE
    assert shown == sorted(shown)
    assert [asked.range for asked in seeder.requests] == ["bytes=1200000-"]


def test_one_that_stalls_is_left_for_the_next(seeder: BlobServer, file: int) -> None:
    with BlobServer({ETAG.value: CONTENT}) as stalling:
        stalling.stall_after = 500_000
        order = iter([stalling, seeder])
        with BlobServer(redirect_to=lambda: next(order)) as tracker:
            fetch(tracker, file)
    assert content(file) == CONTENT


def test_when_all_have_gone_it_says_how_much_is_there(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.stall_after = 700_000

    def then_gone() -> BlobServer | None:
        return seeder if not seeder.requests else None

    tracker.redirect_to = then_gone
    with pytest.raises(NotOverHttp, match="no seeder has it") as failure:
        fetch(tracker, file)
    assert failure.value.there == 700_000
    assert content(file) == CONTENT[:700_000]


def test_no_byte_for_the_stall_time_out_is_the_end(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.stall_after = 0
    with pytest.raises(NotOverHttp) as failure:
        fetch(tracker, file, stall_timeout_s=0.6)
    assert failure.value.there == 0
    assert len(seeder.requests) <= 3


def test_lines_without_end_behind_a_body_are_no_bytes_of_it(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.trailers = True
    with pytest.raises(NotOverHttp, match=r"too long|timed out") as failure:
        fetch(tracker, file, stall_timeout_s=0.4)
    assert failure.value.there == 1000


def test_crumbs_are_not_taken_for_ever(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.cut_after = 1000
    with pytest.raises(NotOverHttp) as failure:
        fetch(tracker, file)
    assert failure.value.there == 1000 * len(seeder.requests) == 1000 * blob_http.POOR_TRIES


@pytest.mark.parametrize(("ordinary_bytes_s", "is_taken"), [(0, False), (10**9, False), (1000, True)])
def test_a_seeder_that_trickles_is_given_up_where_there_is_another_way(
    tracker: BlobServer, seeder: BlobServer, file: int, ordinary_bytes_s: int, is_taken: bool
) -> None:
    seeder.slow = 200 if not is_taken else 500_000
    rule = CrawlRule(window_s=0.2, long_s=5, least_bytes_s=1 << 20)
    blobs = BlobHttp(tracker.url, stall_timeout_s=5, timings=BlobTimings(crawl=rule))

    def fetch() -> int:
        return blobs.fetch(ETAG, SIZE, file, on_progress=blobs.unless_it_crawls(lambda _done: None, SIZE, ordinary_bytes_s))

    if is_taken:
        assert fetch() == SIZE
        return
    with pytest.raises(NotOverHttp, match="kB/s") as failure:
        fetch()
    there = failure.value.there
    assert content(file)[:there] == CONTENT[:there] != b"", "what has come is kept"
    with pytest.raises(NotOverHttp, match="did not answer"):
        fetch()
    assert len(seeder.requests) == 1, "and the next file does not wait as long"


def test_what_nobody_has_costs_one_question(tracker: BlobServer, seeder: BlobServer, file: int) -> None:
    seeder.contents.clear()
    with pytest.raises(NotOverHttp, match="no seeder has it"):
        fetch(tracker, file)
    assert len(tracker.requests) == 1


def test_a_tracker_that_does_not_answer_is_left_alone(tracker: BlobServer, file: int) -> None:
    tracker.status = 500
    now = 0.0
    blobs = BlobHttp(tracker.url, stall_timeout_s=1, clock=lambda: now)
    for _ in range(3):
        with pytest.raises(NotOverHttp, match=r"did not answer|no answer"):
            blobs.fetch(ETAG, SIZE, file, on_progress=lambda _: None)
    assert len(tracker.requests) == 1
    tracker.status, now = None, blob_http.BlobTimings().quiet.longest_s + 1
    assert blobs.fetch(ETAG, SIZE, file, on_progress=lambda _: None) == SIZE


def test_proxies_of_the_environment_are_for_the_internet(tracker: BlobServer, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(tracker, file)[0] == SIZE


def test_redirects_end(file: int) -> None:
    with BlobServer({ETAG.value: b""}) as tracker:
        tracker.redirect_to = lambda: tracker
        with pytest.raises(NotOverHttp, match="without end"):
            fetch(tracker, file)
        assert len(tracker.requests) == blob_http.MAX_HOPS


def test_where_a_blob_is_can_be_asked_without_taking_it(tracker: BlobServer, seeder: BlobServer) -> None:
    blobs = BlobHttp(tracker.url, stall_timeout_s=1)
    assert blobs.locate(ETAG) == f"{seeder.url}/blobs/{ETAG}"
    assert blobs.locate(Etag("0" * 64)) is None
    assert not seeder.requests
    with BlobServer() as gone:
        url = gone.url
    with pytest.raises(TrackerUnavailable):
        BlobHttp(url, stall_timeout_s=1).locate(ETAG)


def test_a_tracker_whose_seeder_is_busy_is_asked_again_and_not_left_alone(tracker: BlobServer, file: int) -> None:
    tracker.status = 503
    blobs = BlobHttp(tracker.url, stall_timeout_s=5)
    with pytest.raises(TrackerUnavailable, match="busy"):
        blobs.locate(ETAG)
    free_again = threading.Timer(0.2, lambda: setattr(tracker, "status", None))
    free_again.start()
    assert blobs.fetch(ETAG, SIZE, file, on_progress=lambda _: None) == SIZE
    free_again.join()
