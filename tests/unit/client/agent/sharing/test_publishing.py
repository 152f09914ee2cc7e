"""Publishing what was fetched: together, patiently, and one by one when one of them is to blame."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmpt.agent.sharing.publishing import AWAY_TRIES, TRIES, Publishing
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerError, TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.metainfo import Metainfo
from tests.support.waiting import eventually

TORRENTS = [Metainfo.from_leaves(Etag(f"{number:064x}"), 1000, bytes([number]) * 32) for number in range(8)]
BUSY = TrackerRefused("too often", status=429, code="slow_down", retry_after_s=3)


class Tracker:
    def __init__(self) -> None:
        self.posted: list[list[Etag]] = []
        self.answers: list[TrackerError] = []
        self.bad: Etag | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.pauses: list[float] = []

    def call(self, ask: Callable[[Any], Any]) -> Any:
        return ask(self)

    def publish(self, body: dict[str, list[str]]) -> dict[str, int]:
        etags = [Metainfo.parse(base64.b64decode(text)).etag for text in body["torrents"]]
        self.posted.append(etags)
        self.go_on.wait(10)
        if self.answers:
            raise self.answers.pop(0)
        if self.bad in etags:
            raise TrackerRefused("one is bad", status=422, code="torrent")
        return {"torrents": len(etags)}

    def publishing(self) -> Publishing:
        sharing: Any = self
        return Publishing(sharing, pause=self.pauses.append, chance=lambda: 0.0)


def publish_all_while_one_is_under_way(tracker: Tracker) -> list[TrackerError | None]:
    publishing, waiting = tracker.publishing(), tracker.go_on
    waiting.clear()
    with ThreadPoolExecutor(len(TORRENTS)) as pool:
        first = pool.submit(publishing.publish, TORRENTS[0])
        eventually(lambda: tracker.posted, what="the first to be under way")
        others = [pool.submit(publishing.publish, torrent) for torrent in TORRENTS[1:]]
        eventually(lambda: len(publishing._waiting) == len(others), what="the others to wait")
        waiting.set()
        found = [future.exception(10) for future in (first, *others)]
    assert all(error is None or isinstance(error, TrackerError) for error in found)
    return found  # type: ignore[return-value]


def test_what_comes_while_one_is_under_way_goes_together() -> None:
    tracker = Tracker()
    assert publish_all_while_one_is_under_way(tracker) == [None] * len(TORRENTS)
    assert [len(etags) for etags in tracker.posted] == [1, len(TORRENTS) - 1]


def test_one_that_the_tracker_does_not_take_does_not_hurt_the_others() -> None:
    tracker = Tracker()
    tracker.bad = TORRENTS[3].etag
    errors = publish_all_while_one_is_under_way(tracker)
    assert [number for number, error in enumerate(errors) if error is not None] == [3]


def test_a_tracker_that_is_busy_or_away_is_asked_again() -> None:
    tracker = Tracker()
    tracker.answers = [TrackerUnavailable("restarting"), BUSY]
    tracker.publishing().publish(TORRENTS[0])
    assert len(tracker.posted) == 3
    assert tracker.pauses == [1.0, 3.0]


def test_but_not_for_ever() -> None:
    tracker = Tracker()
    tracker.answers = [TrackerUnavailable("gone") for _ in range(100)]
    with pytest.raises(TrackerUnavailable):
        tracker.publishing().publish(TORRENTS[0])
    assert len(tracker.posted) == AWAY_TRIES
    assert 20 < sum(tracker.pauses) < 60
    tracker = Tracker()
    tracker.answers = [TrackerSlow("busy") for _ in range(100)]
    with pytest.raises(TrackerSlow):
        tracker.publishing().publish(TORRENTS[0])
    assert len(tracker.posted) == TRIES


def test_a_no_is_a_no() -> None:
    tracker = Tracker()
    tracker.answers = [TrackerRefused("off", status=403, code="sharing_off")]
    with pytest.raises(TrackerRefused):
        tracker.publishing().publish(TORRENTS[0])
    assert len(tracker.posted) == 1
