"""The queue as the seeder reads it: no more of it than there is room for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from llmpt.core.errors import TrackerUnavailable
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorReport, MirrorState
from llmpt.core.orders import MirrorOrders
from llmpt.core.repo import RepoRef
from llmpt_seeder.upstream.queue import MirrorQueue

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


class LongQueue:
    """A tracker with listings and files to fetch; `read` counts the mirrors that were read."""

    def __init__(self, *, listings: int, files: int) -> None:
        asks = [()] * listings + [(f"{number}",) for number in range(files)]
        self.open = [
            Mirror(
                number, MirrorAsk(RepoRef("model", "org/name"), f"r{number}", include), MirrorReport(MirrorState.QUEUED), NOW, NOW
            )
            for number, include in enumerate(asks)
        ]
        self.read = 0
        self.breaks_off_after: int | None = None

    def in_order(self) -> Iterator[Mirror]:
        for mirror in self.open:
            if self.read == self.breaks_off_after:
                raise TrackerUnavailable("no answer")
            self.read += 1
            yield mirror

    def mirrors(self, states: Collection[MirrorState] = ()) -> list[Mirror]:
        return list(reversed(self.open))

    def mirror_orders(self) -> MirrorOrders:
        return MirrorOrders()

    def report_mirror(self, mirror_id: int, report: MirrorReport) -> None:
        if not report.state.is_open:
            self.open = [mirror for mirror in self.open if mirror.id != mirror_id]


def ids(mirrors: list[Mirror]) -> list[int]:
    return [mirror.id for mirror in mirrors]


def test_a_knock_reads_as_much_of_a_long_queue_as_is_taken() -> None:
    tracker = LongQueue(listings=2, files=20_000)
    queue = MirrorQueue(lambda: tracker, read=tracker.in_order, most=10)
    assert ids(queue.take()) == list(range(12))
    tracker.read = 0
    assert queue.take() == []
    assert tracker.read <= 4, "the listings, and a look at whether there is more"


def test_what_becomes_free_is_filled_and_nothing_is_taken_twice_or_forgotten() -> None:
    tracker = LongQueue(listings=0, files=25)
    queue = MirrorQueue(lambda: tracker, read=tracker.in_order, most=10)
    seen: list[int] = []
    held = queue.take()
    while held:
        seen += ids(held)
        for mirror in held:
            queue.end(mirror, MirrorReport(MirrorState.DONE, "c" * 40))
        assert queue.wants_more == (len(seen) < 25)
        held = queue.take()
    assert seen == list(range(25))
    assert not queue.wants_more


def test_a_listing_is_taken_however_many_files_are() -> None:
    tracker = LongQueue(listings=0, files=20)
    queue = MirrorQueue(lambda: tracker, read=tracker.in_order, most=10)
    queue.take()
    listing = LongQueue(listings=1, files=0).open[0]
    tracker.open.insert(0, Mirror(99, listing.ask, listing.report, NOW, NOW))
    assert ids(queue.take()) == [99]


def test_what_was_read_before_the_tracker_went_away_is_taken() -> None:
    tracker = LongQueue(listings=0, files=20)
    tracker.breaks_off_after = 5
    assert ids(MirrorQueue(lambda: tracker, read=tracker.in_order).take()) == list(range(5))


def test_an_older_tracker_tells_all_and_is_taken_from_in_the_same_order() -> None:
    tracker = LongQueue(listings=2, files=5)
    assert ids(MirrorQueue(lambda: tracker).take()) == list(range(7))


def test_one_asker_has_half_of_what_is_taken_and_the_rest_is_for_others() -> None:
    tracker = LongQueue(listings=0, files=30)
    tracker.open = [replace(one, askers=("eve",) if one.id < 25 else ("ann",)) for one in tracker.open]
    queue = MirrorQueue(lambda: tracker, most=20)
    tracker.open.reverse()  # read as listed: by number
    assert ids(queue.take()) == [*range(10), *range(25, 30)]
    assert ids(queue.take()) == []
    queue.let_go(tracker.open[-1])
    assert ids(queue.take()) == [0]
